"""Writes small batches into a ledger until it is stopped, and notes each acknowledgement: the victim of test_power_cut.py.

Usage: power_cut_writer.py FOLDER SYNCHRONOUS NOTES. The notes lie on another file system than the folder.
"""

import sys
from pathlib import Path

from tallyboard import clock
from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.ledger import sqlite
from tallyboard.ledger.contract import Batch
from tallyboard.ledger.migrate import migrate
from tallyboard.ledger.writer import Writer
from tallyboard.people import accounts
from tallyboard.rates import card
from tallyboard.rates.charge import Charger

BATCH_EVENTS = 20

sqlite.CHECKPOINT_SECONDS = 0.05  # So that the cut often comes during a checkpoint.
sqlite.CHECKPOINT_BYTES = 512 * 1024

folder, synchronous, notes_path = sys.argv[1:]
engine = sqlite.SqliteEngine(Path(folder), synchronous=synchronous)
migrate(engine)
with engine.writing() as session:
    accounts.ensure_first(session, clock.now_us())
ledger = Writer(engine)
charger = Charger(card.read(card.default_text()))
number = 0
with Path(notes_path).open("w", buffering=1) as notes:
    while True:
        ids = [f"{number}-{place}" for place in range(BATCH_EVENTS)]
        events = [
            CloudEvent("1.0", name, "/power", "ai.usage.recorded", "alice", "2026-11-01T12:00:00Z", {"conversations": 1}) for name in ids
        ]
        entries = accept(events, Sender(), charger, clock.now_us()).entries
        assert ledger.append(Batch(accounts.FIRST_ACCOUNT_ID, entries, clock.now_us(), "test")).result().accepted == BATCH_EVENTS
        notes.write(" ".join(ids) + "\n")
        number += 1
