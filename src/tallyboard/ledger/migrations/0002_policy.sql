-- Limits: what one user may consume in an account day, and what is set aside for requests under way.
-- What was in force is kept with the instants between which it was; what was used is the day table's alone.

CREATE TABLE policy (
    account_id    $int   NOT NULL,
    policy_id     $int   NOT NULL,
    default_units $int  ,           -- the limit of who has none of their own; none at all where it is NULL
    from_us       $int   NOT NULL,  -- in force from then on, until the next one
    actor         $text  NOT NULL,
    PRIMARY KEY (account_id, policy_id)
) $table;

CREATE TABLE policy_override (
    account_id    $int   NOT NULL,
    user_key      $text  NOT NULL,
    override_id   $int   NOT NULL,
    limit_units   $int  ,           -- NULL: this user has no limit
    reason        $text  NOT NULL,
    expires_us    $int  ,
    from_us       $int   NOT NULL,
    until_us      $int  ,           -- when it was replaced or removed
    actor         $text  NOT NULL,
    PRIMARY KEY (account_id, user_key, override_id)
) $table;
CREATE UNIQUE INDEX policy_override_current ON policy_override (account_id, user_key) WHERE until_us IS NULL;
CREATE INDEX policy_override_due ON policy_override (account_id, expires_us) WHERE until_us IS NULL AND expires_us IS NOT NULL;

CREATE TABLE hold (
    account_id    $int   NOT NULL,
    hold_id       $text  NOT NULL,
    user_key      $text  NOT NULL,
    units         $int   NOT NULL,
    granted_us    $int   NOT NULL,  -- the hold belongs to the account day of that instant, in whatever zone
    expires_us    $int   NOT NULL,
    ended_us      $int  ,
    ended_how     $text ,           -- settled, released, expired
    actor         $text  NOT NULL,
    PRIMARY KEY (account_id, hold_id)
) $table;
CREATE INDEX hold_outstanding ON hold (account_id, user_key, granted_us, units) WHERE ended_us IS NULL;
CREATE INDEX hold_due ON hold (account_id, expires_us) WHERE ended_us IS NULL;
CREATE INDEX hold_ended ON hold (account_id, ended_us) WHERE ended_us IS NOT NULL;

-- The history of the policy is what the audit log says of it.
CREATE INDEX audit_action ON audit (account_id, action, audit_id);
