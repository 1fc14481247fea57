"""Where usage is kept: engines, transactions, rollups, migrations."""
