-- Who a member is at the provider that signs people in: its issuer and its name for the person, which never changes, unlike an email.
CREATE TABLE member_identity (
    issuer        $text  NOT NULL,
    subject       $text  NOT NULL,
    member_id     $int   NOT NULL,
    created_us    $int   NOT NULL,
    PRIMARY KEY (issuer, subject)
) $table;
CREATE INDEX member_identity_member ON member_identity (member_id);

-- Sign-ins through the provider that have led in, by the hash of their state, until none can be used again anyway.
CREATE TABLE sign_in_spent (
    state_hash    $bytes NOT NULL PRIMARY KEY,
    expires_us    $int   NOT NULL
) $table;
