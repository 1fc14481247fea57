-- Which calls of a model were told, and by which source: what another source tells of the same call is set aside.
CREATE TABLE call_told (
    account_id    $int   NOT NULL,
    day           $int   NOT NULL,  -- days of UTC since 1970, of the event's time
    call_key      $bytes NOT NULL,  -- 16 bytes of BLAKE2b over the id that the model's provider gave the call
    source        $int   NOT NULL,  -- digest of the source that told it first
    PRIMARY KEY (account_id, day, call_key)
) $clustered;

-- The only source that counts: of an account's users, of one user. NULL: every source, for a user: as the account says. A user's '': every source.
ALTER TABLE account ADD COLUMN record_source $text;
ALTER TABLE app_user ADD COLUMN record_source $text;

-- of how many users it is said
ALTER TABLE account ADD COLUMN own_record_sources $int NOT NULL DEFAULT 0;

ALTER TABLE arrival ADD COLUMN set_aside $int NOT NULL DEFAULT 0;
