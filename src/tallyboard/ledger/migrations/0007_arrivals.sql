-- What came in, by the hour of receipt, by who sent it and the source it names; and what was the matter with some of it.
-- Kept for 30 days, for people who look after intake. No figure of usage depends on it.
CREATE TABLE arrival (
    account_id    $int   NOT NULL,
    hour          $int   NOT NULL,  -- hours of UTC since 1970
    sender        $text  NOT NULL,  -- "key ID", or the command
    source        $text  NOT NULL,
    accepted      $int   NOT NULL,
    duplicate     $int   NOT NULL,
    conflict      $int   NOT NULL,
    unattributed  $int   NOT NULL,
    minute_late   $int   NOT NULL,  -- of those accepted: came within a minute of their time
    hour_late     $int   NOT NULL,  -- later, but within an hour
    day_late      $int   NOT NULL,  -- later, but within a day
    last_us       $int   NOT NULL,
    PRIMARY KEY (account_id, hour, sender, source)
) $clustered;

CREATE TABLE arrival_note (
    account_id    $int   NOT NULL,
    hour          $int   NOT NULL,
    kind          $text  NOT NULL,  -- refused, conflict, unrated
    sender        $text  NOT NULL,
    subject       $text  NOT NULL,  -- the reason, the source, the type
    model         $text  NOT NULL,  -- of what is unrated
    events        $int   NOT NULL,
    last_us       $int   NOT NULL,
    example       $text  NOT NULL,  -- what was said of the last one
    PRIMARY KEY (account_id, hour, kind, sender, subject, model)
) $clustered;
