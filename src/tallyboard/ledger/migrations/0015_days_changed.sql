-- needs: 15
-- When a day's sums last changed, so that whoever remembers sums of days that are over can tell whether they still hold
-- (usage/past.py): the account's revision by then.

ALTER TABLE day_total ADD COLUMN changed $int NOT NULL DEFAULT 0;
