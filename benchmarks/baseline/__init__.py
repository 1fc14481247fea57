"""What a team would write in an afternoon instead of Tallyboard: FastAPI, pydantic, SQLAlchemy on SQLite, one table of raw events.

As durable as Tallyboard (WAL, synchronous=FULL) and as exact about re-sends; it counts when asked, not when told.
"""
