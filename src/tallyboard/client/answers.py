"""What a caller gets: allowances, what became of usage, and the ways a call can fail. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Amount:
    """Credits, exactly: as a decimal number and in whole units, 600 million to a credit."""

    credits: Decimal
    units: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """Where a user stands now. `limit` and `remaining` are None where there is no limit; `day` is the account's day."""

    user: str
    limit: Amount | None
    used: Amount
    held: Amount
    remaining: Amount | None
    resets_at: datetime
    day: date


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of usage. `state` is the hold's: settled, or expired or released before the usage came, which counts all the same.

    Usage of a request that was let through without a hold is `recorded`, as an event; its charge is then not told.
    """

    state: str
    charged: Amount | None
    allowance: Allowance | None


@dataclass(frozen=True, slots=True)
class Counts:
    """What has happened since the client was made."""

    granted: int = 0
    refused: int = 0
    let_through_unreachable: int = 0
    turned_away_unreachable: int = 0
    settled: int = 0
    settle_failed: int = 0
    usage_dropped: int = 0
    released: int = 0
    release_failed: int = 0


class ClientError(Exception):
    """A call that did not come to its end; the text says why."""


class LimitReached(ClientError):
    """The user's daily limit is reached; the text says so in a sentence for that person.

    `headers` belong on the answer that passes the refusal on: with them clients wait or give up as they should.
    """

    def __init__(self, message: str, allowance: Allowance, retry_after_s: int | None, headers: Mapping[str, str], problem: bytes) -> None:
        super().__init__(message)
        self.message = message
        self.allowance = allowance
        self.resets_at = allowance.resets_at
        self.retry_after_s = retry_after_s
        self.headers = headers
        self.problem = problem
        """The refusal as problem+json."""


class Unreachable(ClientError):
    """Tallyboard did not answer in time, and the client was told to fail closed."""


class Rejected(ClientError):
    """Tallyboard answered that the call is wrong: a bad key, bad data. It never fails open."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"Tallyboard answered {status}: {detail}")
        self.status = status
        self.detail = detail


class NotSettled(ClientError):
    """The usage could not be delivered yet. Where it is `kept`, `settle_kept()` sends it again; `event` is what to send."""

    def __init__(self, event: Mapping[str, Any], *, kept: bool) -> None:
        where = "kept for settle_kept()" if kept else "not kept, because too much is kept already"
        super().__init__(f"Tallyboard did not answer; the usage {event['id']} is {where}")
        self.event = event
        self.kept = kept


def read_allowance(shape: Mapping[str, Any]) -> Allowance:
    """An allowance from its JSON; KeyError, TypeError or ValueError where it is none."""
    return Allowance(
        user=shape["user"],
        limit=_read_limit(shape["limit"]),
        used=read_amount(shape["used"]),
        held=read_amount(shape["held"]),
        remaining=_read_limit(shape["remaining"]),
        resets_at=datetime.fromisoformat(shape["resets_at"]),
        day=date.fromisoformat(shape["day"]),
    )


def read_amount(shape: Mapping[str, Any]) -> Amount:
    """An amount from its JSON."""
    return Amount(Decimal(shape["credits"]), int(shape["units"]))


def _read_limit(shape: Mapping[str, Any] | None) -> Amount | None:
    return None if shape is None else read_amount(shape)
