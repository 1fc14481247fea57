"""The ledger: exactly once, rollups that equal the events, walls between accounts."""
