-- A person can be erased: the user may then get another key, and what processes remember of users' keys is out of date.
ALTER TABLE account ADD COLUMN erasures $int NOT NULL DEFAULT 0;

-- Who made a key, and in which minute it was last used.
ALTER TABLE api_key ADD COLUMN created_by $text;
ALTER TABLE api_key ADD COLUMN used_us $int;

-- The audit log is read newest first, by action, by actor, by both, between two instants.
CREATE INDEX audit_at ON audit (account_id, at_us, audit_id);
CREATE INDEX audit_action_at ON audit (account_id, action, at_us, audit_id);
CREATE INDEX audit_actor_at ON audit (account_id, actor, at_us, audit_id);
CREATE INDEX audit_actor_action_at ON audit (account_id, actor, action, at_us, audit_id);
