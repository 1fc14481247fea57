"""What a user is called on a page: name, else email, else a short identifier; and the line below it."""

from tallyboard.usage.overview import Row
from tallyboard.usage.report import UserUsage

UNATTRIBUTED = "unattributed"


def primary(user: Row | UserUsage) -> str:
    """The first line: `Dmitri Tanaka`."""
    if user.user == UNATTRIBUTED:
        return "Unattributed"
    return user.name or user.label


def secondary(user: Row | UserUsage) -> str:
    """The muted second line: the email where the name stands above it, or why there is no user."""
    if user.user == UNATTRIBUTED:
        return "no user named in the event"
    return user.email or "" if user.name else ""
