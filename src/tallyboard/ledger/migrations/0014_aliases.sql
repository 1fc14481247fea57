-- One user, several keys: an email, an id and a device may be the same person. Nothing that is kept of usage moves when users are
-- merged; readers add up (ledger/aliases.py).

ALTER TABLE account ADD COLUMN aliases $int NOT NULL DEFAULT 0;
-- the user whom this one is an alias of now: never itself an alias
ALTER TABLE app_user ADD COLUMN alias_of $int;
-- with the key, so that all that is asked of aliases is in the index: SQLite would else go through all users of the account
CREATE INDEX app_user_alias ON app_user (account_id, alias_of, key) WHERE alias_of IS NOT NULL;

CREATE TABLE user_alias (
    account_id    $int   NOT NULL,
    user_id       $int   NOT NULL,  -- the alias
    alias_id      $int   NOT NULL,
    alias_of      $int   NOT NULL,  -- the user it was read as
    merged_into   $int   NOT NULL,  -- whom somebody merged it into: that user may have become an alias since, and takes it along
    from_us       $int   NOT NULL,
    until_us      $int  ,           -- when it was undone, or the user it was read as became an alias
    actor         $text  NOT NULL,
    PRIMARY KEY (account_id, user_id, alias_id)
) $table;
