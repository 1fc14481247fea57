-- needs: 3
-- Quarter hours in two parts, which are added up wherever they are read: what came since a shelf was last closed is kept apart,
-- so that intake changes few pages however many quarter hours there are. A key cannot be changed in place: the table is made anew.

CREATE TABLE slot_usage_before AS SELECT * FROM slot_usage;
DROP TABLE slot_usage;
CREATE TABLE slot_usage (
    account_id    $int   NOT NULL,
    recent        $int   NOT NULL,  -- 1 for what came since a shelf was last closed, 0 for what came before
    slot          $int   NOT NULL,  -- quarter hours of UTC since 1970
    user_id       $int   NOT NULL,
    units         $int   NOT NULL,
    events        $int   NOT NULL,
    unrated       $int   NOT NULL,  -- events that no meter matched: they count 0, and are never silent about it
    PRIMARY KEY (account_id, recent, slot, user_id)
) $clustered;
INSERT INTO slot_usage (account_id, recent, slot, user_id, units, events, unrated)
    SELECT account_id, 0, slot, user_id, units, events, unrated FROM slot_usage_before;
DROP TABLE slot_usage_before;
