-- Every line of the audit log carries a digest over itself and the line before (ledger/audit.py).
ALTER TABLE audit ADD COLUMN digest $bytes;
