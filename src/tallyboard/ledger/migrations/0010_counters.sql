-- The last value of every cumulative counter that is counted: what came since is its next value less this one.
CREATE TABLE counter (
    account_id    $int   NOT NULL,
    series        $bytes NOT NULL,  -- 16 bytes of BLAKE2b over all that tells one counter from another, its start included
    value         $int   NOT NULL,
    at_us         $int   NOT NULL,  -- the time of that value
    seen_us       $int   NOT NULL,  -- when it came; long unseen ones make room for others
    PRIMARY KEY (account_id, series)
) $clustered;
