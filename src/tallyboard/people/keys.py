"""API keys: made, listed, rotated, revoked, recognized. A key belongs to one account and says what it may do."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from secrets import token_hex

from msgspec import Struct, structs

from tallyboard import days
from tallyboard.errors import Invalid, NotFound
from tallyboard.intake.event import KEY_CHARACTERS_MAX, is_key
from tallyboard.ledger import audit
from tallyboard.ledger.contract import Line, Session
from tallyboard.ledger.locking import lock
from tallyboard.people import secrets

PREFIX = "tb_"
NAME_CHARACTERS_MAX = 80
EXPIRES_DAYS_MAX = 3_650
OVERLAP_HOURS_MAX = 720
_MINUTE_US = 60_000_000
_HOUR_US = 3_600_000_000
_DAY_US = 86_400_000_000


class Scope(StrEnum):
    """What a key may do."""

    INGEST = "ingest"
    CHECK = "check"
    READ = "read"
    ADJUST = "adjust"
    SCIM = "scim"
    ADMIN = "admin"


class ApiKey(Struct, frozen=True):
    """A key without its secret. `user` is the user it is bound to: all usage it sends is that user's.

    `used_us` is the minute of the last use that was written down: it may be a minute or two behind. `created_by` is None for old keys.
    """

    id: str
    account_id: int
    name: str
    scopes: frozenset[Scope]
    user: str | None
    created_us: int
    expires_us: int | None
    revoked_us: int | None
    created_by: str | None = None
    used_us: int | None = None

    @property
    def actor(self) -> str:
        """Who it is in what is written down."""
        return f"key {self.id}"

    def valid(self, now_us: int) -> bool:
        """Whether it still opens anything."""
        return self.revoked_us is None and (self.expires_us is None or now_us < self.expires_us)


def parse_scopes(text: str) -> frozenset[Scope]:
    """Scopes from a comma-separated list; Invalid names the one that is none."""
    words = {word.strip() for word in text.split(",") if word.strip()}
    unknown = sorted(words - set(Scope))
    if unknown or not words:
        wrong = f"{unknown[0]!r} is no scope" if unknown else "a key needs a scope"
        raise Invalid(f"{wrong}; the scopes are {', '.join(Scope)}")
    return frozenset(Scope(word) for word in words)


def create(
    session: Session,
    account_id: int,
    name: str,
    scopes: Iterable[Scope],
    actor: str,
    now_us: int,
    *,
    user: str | None = None,
    expires_days: int | None = None,
) -> tuple[str, ApiKey]:
    """A new key: the secret, to be shown once, and what is kept."""
    if not 0 < len(name) <= NAME_CHARACTERS_MAX or not name.isprintable():
        raise Invalid(f"a key's name has 1 to {NAME_CHARACTERS_MAX} printable characters")
    if user is not None and not is_key(user):
        raise Invalid(f"a user key has 1 to {KEY_CHARACTERS_MAX} printable characters")
    if expires_days is not None and not 0 < expires_days <= EXPIRES_DAYS_MAX:
        raise Invalid(f"a key expires after 1 to {EXPIRES_DAYS_MAX} days")
    expires_us = None if expires_days is None else now_us + expires_days * _DAY_US
    key = ApiKey(token_hex(8), account_id, name, frozenset(scopes), user, now_us, expires_us, None, actor)
    secret = _insert(session, key)
    audit.note(session, account_id, actor, "key.created", {"id": key.id, "name": name, "scopes": sorted(key.scopes)}, now_us)
    return secret, key


def rotate(session: Session, account_id: int, key_id: str, actor: str, now_us: int, *, overlap_hours: int) -> tuple[str, ApiKey]:
    """A new key in the place of one in use, with the same rights and a life as long: the secret, to be shown once, and what is kept.

    The old one works for `overlap_hours` on, or at most as long as it would have; with 0 it is revoked at once.
    """
    if not 0 <= overlap_hours <= OVERLAP_HOURS_MAX:
        raise Invalid(f"the old key may work on for 0 to {OVERLAP_HOURS_MAX} hours")
    lock(session, account_id)
    old = of(session, account_id, key_id)
    if old is None or not old.valid(now_us):
        raise _not_in_use(key_id)
    expires_us = None if old.expires_us is None else now_us + old.expires_us - old.created_us
    key = structs.replace(old, id=token_hex(8), created_us=now_us, expires_us=expires_us, created_by=actor, used_us=None)
    secret = _insert(session, key)
    until_us = min(old.expires_us or now_us + overlap_hours * _HOUR_US, now_us + overlap_hours * _HOUR_US)
    session.run(
        """
        UPDATE api_key SET expires_us = :until_us, revoked_us = :revoked_us WHERE account_id = :account_id AND key_id = :key_id
        """,
        until_us=until_us,
        revoked_us=None if overlap_hours else now_us,
        account_id=account_id,
        key_id=key_id,
    )
    detail = {"id": key_id, "name": old.name, "new": key.id, "until": days.instant_text(until_us)}
    audit.note(session, account_id, actor, "key.rotated", detail, now_us)
    return secret, key


def of(session: Session, account_id: int, key_id: str) -> ApiKey | None:
    """One key of the account."""
    line = session.one(_SELECT + " WHERE account_id = :account_id AND key_id = :key_id", account_id=account_id, key_id=key_id)
    return _read(line) if line else None


def listed(session: Session, account_id: int) -> list[ApiKey]:
    """Every key of the account, newest first."""
    lines = session.all(_SELECT + " WHERE account_id = :account_id ORDER BY created_us DESC, key_id", account_id=account_id)
    return [_read(line) for line in lines]


def revoke(session: Session, account_id: int, key_id: str, actor: str, now_us: int) -> None:
    """Make a key useless from now on."""
    revoked = session.run(
        "UPDATE api_key SET revoked_us = :now_us WHERE account_id = :account_id AND key_id = :key_id AND revoked_us IS NULL",
        now_us=now_us,
        account_id=account_id,
        key_id=key_id,
    )
    if not revoked:
        raise _not_in_use(key_id)
    found = of(session, account_id, key_id)
    audit.note(session, account_id, actor, "key.revoked", {"id": key_id, "name": found.name if found else None}, now_us)


def record_uses(session: Session, uses: Mapping[tuple[int, str], int]) -> None:
    """Note when keys, by account and id, were last used: the minute of it."""
    for (account_id, key_id), used_us in uses.items():
        session.run(
            """
            UPDATE api_key SET used_us = :used_us
            WHERE account_id = :account_id AND key_id = :key_id AND (used_us IS NULL OR used_us < :used_us)
            """,
            used_us=used_us - used_us % _MINUTE_US,
            account_id=account_id,
            key_id=key_id,
        )


def recognize(session: Session, secret: str, now_us: int) -> ApiKey | None:
    """The key with this secret, None where there is none in use. Found by hash: timing tells nothing of a secret."""
    line = session.one(_SELECT + " WHERE secret_hash = :secret_hash", secret_hash=secrets.hashed(secret))
    key = _read(line) if line else None
    return key if key and key.valid(now_us) else None


_SELECT = "SELECT key_id, account_id, name, scopes, user_key, created_us, expires_us, revoked_us, created_by, used_us FROM api_key"


def _insert(session: Session, key: ApiKey) -> str:
    """Keep a new key; its secret."""
    secret = secrets.make(PREFIX)
    session.run(
        """
        INSERT INTO api_key (secret_hash, key_id, account_id, name, scopes, user_key, created_us, expires_us, created_by)
        VALUES (:secret_hash, :key_id, :account_id, :name, :scopes, :user_key, :created_us, :expires_us, :created_by)
        """,
        secret_hash=secrets.hashed(secret),
        key_id=key.id,
        account_id=key.account_id,
        name=key.name,
        scopes=",".join(sorted(key.scopes)),
        user_key=key.user,
        created_us=key.created_us,
        expires_us=key.expires_us,
        created_by=key.created_by,
    )
    return secret


def _not_in_use(key_id: str) -> NotFound:
    return NotFound(f"there is no key {key_id[:80]!r} in use; `tallyboard key list` names them")


def _read(line: Line) -> ApiKey:
    key_id, account_id, name, scopes, *others = line
    return ApiKey(key_id, account_id, name, frozenset(Scope(word) for word in scopes.split(",")), *others)
