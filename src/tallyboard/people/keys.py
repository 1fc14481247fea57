"""API keys: made, listed, revoked, recognized. A key belongs to one account and says what it may do."""

from collections.abc import Iterable
from enum import StrEnum
from secrets import token_hex

from msgspec import Struct

from tallyboard.errors import Invalid, NotFound
from tallyboard.intake.event import KEY_CHARACTERS_MAX
from tallyboard.ledger import audit
from tallyboard.ledger.contract import Session
from tallyboard.people import secrets

PREFIX = "tb_"
NAME_CHARACTERS_MAX = 80
EXPIRES_DAYS_MAX = 3_650
_DAY_US = 86_400_000_000


class Scope(StrEnum):
    """What a key may do."""

    INGEST = "ingest"
    CHECK = "check"
    READ = "read"
    ADJUST = "adjust"
    ADMIN = "admin"


class ApiKey(Struct, frozen=True):
    """A key without its secret. `user` is the user it is bound to: all usage it sends is that user's."""

    id: str
    account_id: int
    name: str
    scopes: frozenset[Scope]
    user: str | None
    created_us: int
    expires_us: int | None
    revoked_us: int | None

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
    if not 0 < len(name) <= NAME_CHARACTERS_MAX:
        raise Invalid(f"a key's name has 1 to {NAME_CHARACTERS_MAX} characters")
    if user is not None and not 0 < len(user) <= KEY_CHARACTERS_MAX:
        raise Invalid(f"a user key has 1 to {KEY_CHARACTERS_MAX} characters")
    if expires_days is not None and not 0 < expires_days <= EXPIRES_DAYS_MAX:
        raise Invalid(f"a key expires after 1 to {EXPIRES_DAYS_MAX} days")
    secret = secrets.make(PREFIX)
    expires_us = None if expires_days is None else now_us + expires_days * _DAY_US
    key = ApiKey(token_hex(8), account_id, name, frozenset(scopes), user, now_us, expires_us, None)
    session.run(
        """
        INSERT INTO api_key (secret_hash, key_id, account_id, name, scopes, user_key, created_us, expires_us)
        VALUES (:secret_hash, :key_id, :account_id, :name, :scopes, :user_key, :created_us, :expires_us)
        """,
        secret_hash=secrets.hashed(secret),
        key_id=key.id,
        account_id=account_id,
        name=name,
        scopes=",".join(sorted(key.scopes)),
        user_key=user,
        created_us=now_us,
        expires_us=expires_us,
    )
    audit.note(session, account_id, actor, "key.created", {"id": key.id, "name": name, "scopes": sorted(key.scopes)}, now_us)
    return secret, key


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
        raise NotFound(f"there is no key {key_id!r} in use; `tallyboard key list` names them")
    audit.note(session, account_id, actor, "key.revoked", {"id": key_id}, now_us)


def recognize(session: Session, secret: str, now_us: int) -> ApiKey | None:
    """The key with this secret, None where there is none in use. Found by hash: timing tells nothing of a secret."""
    line = session.one(_SELECT + " WHERE secret_hash = :secret_hash", secret_hash=secrets.hashed(secret))
    key = _read(line) if line else None
    return key if key and key.valid(now_us) else None


_SELECT = "SELECT key_id, account_id, name, scopes, user_key, created_us, expires_us, revoked_us FROM api_key"


def _read(line: tuple[str, int, str, str, str | None, int, int | None, int | None]) -> ApiKey:
    key_id, account_id, name, scopes, user, created_us, expires_us, revoked_us = line
    held = frozenset(Scope(word) for word in scopes.split(","))
    return ApiKey(key_id, account_id, name, held, user, created_us, expires_us, revoked_us)
