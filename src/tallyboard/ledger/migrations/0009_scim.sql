-- Users as an identity provider keeps them up to date by SCIM: who they are as a member and in the directory is derived from that.
CREATE TABLE scim_user (
    account_id    $int   NOT NULL,
    scim_id       $text  NOT NULL,
    user_name     $text  NOT NULL,  -- in small letters
    external_id   $text ,
    member_id     $int  ,           -- none where no email is known
    user_key      $text ,           -- whose email and name in the directory these are
    document      $text  NOT NULL,  -- JSON
    created_us    $int   NOT NULL,
    changed_us    $int   NOT NULL,
    version       $int   NOT NULL,
    PRIMARY KEY (account_id, scim_id)
) $table;
CREATE UNIQUE INDEX scim_user_name ON scim_user (account_id, user_name);
CREATE INDEX scim_user_external ON scim_user (account_id, external_id);
