"""The few ways a call can fail. The web turns each into one status (web/problems.py), the command line into exit 1."""


class TallyboardError(Exception):
    """A call that cannot be answered; the text says what, where and how to mend it."""


class Invalid(TallyboardError):
    """The caller asked for something that makes no sense."""


class Needed(Invalid):
    """It cannot be taken away, because something would then be missing that there must always be."""


class CellFull(Invalid):
    """One user's quarter hour or one day of the account would hold more than a cell can: 15 billion credits."""


class SumTooLarge(TallyboardError):
    """A sum in a statement does not fit the engine's 64 bits; it can be asked for in two halves."""


class NotFound(TallyboardError):
    """There is no such thing in this account."""


class Stale(TallyboardError):
    """Somebody else changed it meanwhile."""


class Taken(TallyboardError):
    """The name that the caller chose is another's."""


class Overloaded(TallyboardError):
    """Too much is waiting; nothing was taken. Try again after `retry_seconds`."""

    def __init__(self, message: str, retry_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class TooOften(TallyboardError):
    """It was tried too often in too short a time. It may be tried again after `retry_seconds`."""

    def __init__(self, message: str, retry_seconds: int) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class Unavailable(TallyboardError):
    """The ledger cannot be reached or written (disk full, data folder gone); nothing was taken."""


class Interrupted(Unavailable):
    """A transaction did not come to its end for a reason that passes; whether it was kept may be unknown."""


class Migrating(Unavailable):
    """The schema is being brought up to date; nothing was taken."""


class NewerSchema(Unavailable):
    """A newer program has written to the ledger, in a way that this one must not add to."""


class AlreadyKept(TallyboardError):
    """A row with this key is there already, and the statement expected none."""


class ProviderFailed(TallyboardError):
    """A provider that was asked for its usage report does not give it. What it gave before is counted."""
