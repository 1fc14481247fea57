"""Tallyboard measured beside what a team would write instead, in one run: `python -m benchmarks`."""
