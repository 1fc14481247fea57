-- How people get in: passwords, what slows down who guesses them, and what is known of a session.
-- Columns are added without a default: processes of the release before go on writing their rows.

-- Argon2id as PHC text; none as long as no password was chosen
ALTER TABLE member ADD COLUMN password_hash $text;
ALTER TABLE member ADD COLUMN deactivated_us $int;
CREATE INDEX member_email ON member (email);

-- none: to sign in; else where it leads to: invitation, set_up
ALTER TABLE sign_in_link ADD COLUMN purpose $text;
CREATE INDEX sign_in_link_member ON sign_in_link (member_id);

-- when it was last used, to a few minutes
ALTER TABLE session ADD COLUMN seen_us $int;
-- in short words
ALTER TABLE session ADD COLUMN browser $text;
CREATE INDEX session_member ON session (member_id);

-- Failures to sign in, counted by email and by address, each hashed to one of a bounded number of places (people/throttle.py).
CREATE TABLE sign_in_attempt (
    place         $int   NOT NULL PRIMARY KEY,
    failures      $int   NOT NULL,
    last_us       $int   NOT NULL,
    free_us       $int   NOT NULL  -- until then no further try is looked at
) $table;
CREATE INDEX sign_in_attempt_last ON sign_in_attempt (last_us);

-- A member's own usage is that of the user with the same email, however it is written.
CREATE INDEX app_user_email ON app_user (account_id, lower(email)) WHERE email IS NOT NULL;
