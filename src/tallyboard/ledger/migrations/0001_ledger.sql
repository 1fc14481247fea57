-- The whole schema. account_id leads every key of what belongs to an account, so that the tables can be
-- distributed by it. $int, $bytes, $text, $table and $clustered are the engine's words. Times are microseconds of UTC, amounts units.

CREATE TABLE account (
    account_id    $int   NOT NULL PRIMARY KEY,
    name          $text  NOT NULL,
    timezone      $text  NOT NULL,
    zone_version  $int   NOT NULL,  -- grows with every change of the zone; stamps the rows of day_usage
    days_version  $int   NOT NULL,  -- the zone_version whose days are complete; behind it while days are rebuilt
    days_through  $int  ,           -- how far the rebuild has come: the last day done
    revision      $int   NOT NULL,  -- grows with every change that a page could show
    user_count    $int   NOT NULL,  -- users ever seen; the last user_id given
    shelf         $int   NOT NULL,  -- where new events are put, see ledger/seen.py
    shelf_events  $int   NOT NULL,
    created_us    $int   NOT NULL
) $table;

CREATE TABLE app_user (
    account_id    $int   NOT NULL,
    user_id       $int   NOT NULL,
    key           $text  NOT NULL,
    email         $text,
    name          $text,
    colour        $int  ,           -- 0..9: the user's place in the chart's palette
    visible_day   $int  ,           -- the last day on which the chart showed the user individually
    PRIMARY KEY (account_id, user_id)
) $clustered;
CREATE UNIQUE INDEX app_user_key ON app_user (account_id, key);
CREATE INDEX app_user_colour ON app_user (account_id, colour) WHERE colour IS NOT NULL;

CREATE TABLE event (
    account_id    $int   NOT NULL,
    shelf         $int   NOT NULL,
    event_key     $bytes NOT NULL,  -- 16 bytes of BLAKE2b over source and id
    content       $int   NOT NULL,  -- digest of what the event says
    user_id       $int   NOT NULL,
    at_us         $int   NOT NULL,
    received_us   $int   NOT NULL,
    units         $int   NOT NULL,
    rated         $int   NOT NULL,  -- 0 where no meter matched
    type          $text  NOT NULL,
    model         $text  NOT NULL,
    source        $text  NOT NULL,
    id            $text  NOT NULL,
    data          $text  NOT NULL,  -- JSON
    PRIMARY KEY (account_id, shelf, event_key)
) $table;

CREATE TABLE seen_filter (
    account_id    $int   NOT NULL,
    first_shelf   $int   NOT NULL,
    bits          $bytes NOT NULL,
    PRIMARY KEY (account_id, first_shelf)
) $table;

CREATE TABLE slot_usage (
    account_id    $int   NOT NULL,
    slot          $int   NOT NULL,  -- quarter hours of UTC since 1970
    user_id       $int   NOT NULL,
    units         $int   NOT NULL,
    events        $int   NOT NULL,
    unrated       $int   NOT NULL,  -- events that no meter matched: they count 0, and are never silent about it
    PRIMARY KEY (account_id, slot, user_id)
) $clustered;

CREATE TABLE day_usage (
    account_id    $int   NOT NULL,
    zone_version  $int   NOT NULL,
    user_id       $int   NOT NULL,
    day           $int   NOT NULL,  -- account days since 1 January 1970
    units         $int   NOT NULL,
    events        $int   NOT NULL,
    PRIMARY KEY (account_id, zone_version, user_id, day)
) $clustered;
-- A window is a stretch of days of all users. SQLite keeps a user's days together and reads them user by user.
$heap_index day_usage_window ON day_usage (account_id, zone_version, day);

CREATE TABLE day_total (
    account_id    $int   NOT NULL,
    zone_version  $int   NOT NULL,
    day           $int   NOT NULL,
    units         $int   NOT NULL,
    events        $int   NOT NULL,
    unrated       $int   NOT NULL,
    PRIMARY KEY (account_id, zone_version, day)
) $clustered;

CREATE TABLE rate_card (
    account_id    $int   NOT NULL,
    card_id       $int   NOT NULL,
    text          $text  NOT NULL,
    set_us        $int   NOT NULL,
    PRIMARY KEY (account_id, card_id)
) $table;

CREATE TABLE audit (
    account_id    $int   NOT NULL,
    audit_id      $int   NOT NULL,
    at_us         $int   NOT NULL,
    actor         $text  NOT NULL,
    action        $text  NOT NULL,
    detail        $text  NOT NULL,  -- JSON
    PRIMARY KEY (account_id, audit_id)
) $table;

-- The tables below are looked up by a secret's hash, without knowing the account yet.

CREATE TABLE api_key (
    secret_hash   $bytes NOT NULL PRIMARY KEY,
    key_id        $text  NOT NULL UNIQUE,
    account_id    $int   NOT NULL,
    name          $text  NOT NULL,
    scopes        $text  NOT NULL,
    user_key      $text,
    created_us    $int   NOT NULL,
    expires_us    $int  ,
    revoked_us    $int  
) $table;

CREATE TABLE member (
    member_id     $int   NOT NULL PRIMARY KEY,
    account_id    $int   NOT NULL,
    email         $text  NOT NULL,
    role          $text  NOT NULL,
    created_us    $int   NOT NULL,
    UNIQUE (account_id, email)
) $table;

CREATE TABLE sign_in_link (
    secret_hash   $bytes NOT NULL PRIMARY KEY,
    member_id     $int   NOT NULL,
    expires_us    $int   NOT NULL,
    used_us       $int  
) $table;

CREATE TABLE session (
    secret_hash   $bytes NOT NULL PRIMARY KEY,
    member_id     $int   NOT NULL,
    created_us    $int   NOT NULL,
    expires_us    $int   NOT NULL
) $table;
