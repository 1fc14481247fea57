-- What was counted of every line of a report that a later report of the same window replaces (ledger/buckets.py).
CREATE TABLE bucket (
    account_id    $int   NOT NULL,
    window_key    $bytes NOT NULL,  -- 16 bytes of BLAKE2b over what a report replaces together: its source, scope and stretch of time
    user_key      $text  NOT NULL,
    line          $bytes NOT NULL,  -- 16 bytes of BLAKE2b over what else tells the lines of a window apart
    record        $bytes NOT NULL,  -- 16 random bytes: with a number they are the id of each event that was made of it
    at_us         $int   NOT NULL,  -- the middle of the window, at which it counts
    events        $int   NOT NULL,  -- how many events were made of it
    counted       $text  NOT NULL,  -- JSON: what they come to
    read_us       $int   NOT NULL,  -- when the report was read that said so
    PRIMARY KEY (account_id, window_key, user_key, line)
) $clustered;
CREATE INDEX bucket_user ON bucket (account_id, user_key, at_us);
