"""The audit log: who changed what, and when. Only ever added to, in the transaction of the change itself.

Lines form a chain: each carries a SHA-256 over the digest of the line before and everything it says itself. Whoever changes, removes
or inserts a line past the program breaks the chain from there on. The last lines can be cut off unnoticed only by who also knows no
later digest: `tallyboard audit verify` prints the newest, to be kept elsewhere and asked for again.
"""

from collections.abc import Iterator
from hashlib import sha256

from msgspec import Raw, Struct
from msgspec.json import encode

from tallyboard import days
from tallyboard.ledger.contract import Session
from tallyboard.ledger.locking import lock

PAGE_LINES = 50
CHOICES_MAX = 100
_READ_AT_ONCE = 2_000
_BEGINNING = bytes(32)


class Entry(Struct, frozen=True):
    """A line of the log. `detail` is JSON; `digest` is None in lines that are older than the chain."""

    audit_id: int
    at_us: int
    actor: str
    action: str
    detail: str
    digest: bytes | None


class Verified(Struct, frozen=True):
    """What a look at the whole chain found: how many lines, how many of them from before there was a chain, the newest digest.

    `broken_at` is the first line that does not follow from the one before, None where all do. `expected_at` is the line whose
    digest was asked for, None where there is none.
    """

    lines: int
    before_chain: int
    newest: bytes | None
    broken_at: int | None
    expected_at: int | None

    @property
    def verdict(self) -> str:
        """What was found, as a sentence."""
        if self.broken_at is not None:
            return f"The log is broken at line {self.broken_at:,}: it, or the one before, was changed, removed or added past Tallyboard."
        older = f" {self.before_chain:,} of them are older than the chain and prove nothing." if self.before_chain else ""
        return f"{self.lines:,} {'line' if self.lines == 1 else 'lines'}, each follows from the one before.{older}"


class Wanted(Struct, frozen=True):
    """Which lines are looked for: of an action, of an actor, from an instant on, before another; None for any."""

    action: str | None = None
    actor: str | None = None
    from_us: int | None = None
    until_us: int | None = None


Place = tuple[int, int]
"""Where a line stands among those newest first: its instant and its number."""


def note(session: Session, account_id: int, actor: str, action: str, detail: object, now_us: int) -> None:
    """Add a line. `detail` is anything that msgspec writes as JSON; it holds no secret."""
    lock(session, account_id)
    last_id, last_digest = session.one(
        "SELECT audit_id, digest FROM audit WHERE account_id = :account_id ORDER BY audit_id DESC LIMIT 1", account_id=account_id
    ) or (0, None)
    line = Entry(last_id + 1, now_us, actor, action, encode(detail).decode(), None)
    session.run(
        """
        INSERT INTO audit (account_id, audit_id, at_us, actor, action, detail, digest)
        VALUES (:account_id, :audit_id, :at_us, :actor, :action, :detail, :digest)
        """,
        account_id=account_id,
        audit_id=line.audit_id,
        at_us=line.at_us,
        actor=line.actor,
        action=line.action,
        detail=line.detail,
        digest=_digest(account_id, line, last_digest),
    )


def entries(session: Session, account_id: int, after: int = 0) -> Iterator[Entry]:
    """Every line, oldest first, from after a number on."""
    while True:
        lines = session.all(
            """
            SELECT audit_id, at_us, actor, action, detail, digest FROM audit
            WHERE account_id = :account_id AND audit_id > :after ORDER BY audit_id LIMIT :most
            """,
            account_id=account_id,
            after=after,
            most=_READ_AT_ONCE,
        )
        yield from (Entry(*line) for line in lines)
        if len(lines) < _READ_AT_ONCE:
            return
        after = lines[-1][0]


def newest(session: Session, account_id: int, wanted: Wanted, before: Place | None = None, most: int = PAGE_LINES) -> list[Entry]:
    """Up to so many lines that are wanted, newest first, from before a place on. By an index, however long the log is."""
    end_us, end_id = (wanted.until_us or 1 << 62, 0) if before is None else before
    lines = session.all(
        _LINES
        + (" AND action = :action" if wanted.action is not None else "")
        + (" AND actor = :actor" if wanted.actor is not None else "")
        + " ORDER BY at_us DESC, audit_id DESC LIMIT :most",
        account_id=account_id,
        from_us=wanted.from_us or 0,
        end_us=end_us,
        end_id=end_id,
        most=most,
        **({"action": wanted.action} if wanted.action is not None else {}),
        **({"actor": wanted.actor} if wanted.actor is not None else {}),
    )
    return [Entry(*line) for line in lines]


def place_of(line: Entry) -> Place:
    """From before where one goes on."""
    return line.at_us, line.audit_id


def choices(session: Session, account_id: int) -> tuple[list[str], list[str]]:
    """Up to 100 actions and 100 actors that there are lines of, in order: each found by a step through an index."""
    return (
        _distinct(session, "SELECT min(action) FROM audit WHERE account_id = :account_id AND action > :after", account_id),
        _distinct(session, "SELECT min(actor) FROM audit WHERE account_id = :account_id AND actor > :after", account_id),
    )


def as_json(line: Entry) -> bytes:
    """A line as it is exported."""
    return encode(
        {
            "number": line.audit_id,
            "at": days.instant_text(line.at_us),
            "actor": line.actor,
            "action": line.action,
            "detail": Raw(line.detail.encode()),
            "digest": line.digest.hex() if line.digest else None,
        }
    )


def verify(session: Session, account_id: int, expected: bytes | None = None) -> Verified:
    """Follow the chain from its beginning."""
    lines = before_chain = 0
    broken_at = expected_at = newest = None
    for line in entries(session, account_id):
        lines += 1
        if line.digest is None and newest is None:
            before_chain += 1
        elif broken_at is None and (line.audit_id != lines or line.digest != _digest(account_id, line, newest)):
            broken_at = line.audit_id
        newest = line.digest
        if expected is not None and newest == expected:
            expected_at = line.audit_id
    return Verified(lines, before_chain, newest, broken_at, expected_at)


_LINES = """
    SELECT audit_id, at_us, actor, action, detail, digest FROM audit
    WHERE account_id = :account_id AND at_us >= :from_us AND (at_us, audit_id) < (:end_us, :end_id)
"""


def _distinct(session: Session, statement: str, account_id: int) -> list[str]:
    found: list[str] = []
    while len(found) < CHOICES_MAX:
        (following,) = session.one(statement, account_id=account_id, after=found[-1] if found else "") or (None,)
        if following is None:
            break
        found.append(following)
    return found


def _digest(account_id: int, line: Entry, before: bytes | None) -> bytes:
    said = encode((account_id, line.audit_id, line.at_us, line.actor, line.action, line.detail))
    return sha256((before or _BEGINNING) + said).digest()
