-- Who signs in may be a member of several accounts: members with the same person are one person, with one password and one list of
-- sessions. Without a default: processes of the release before go on writing their rows.

-- none: a person of their own, whose number is the member's
ALTER TABLE member ADD COLUMN person_id $int;
CREATE INDEX member_person ON member (coalesce(person_id, member_id));
