"""Which source's word counts, where several tell the same usage: for the account, or for one user. From then on; what is kept stays."""

from msgspec import Struct

from tallyboard.errors import Invalid, NotFound
from tallyboard.intake.event import KEY_CHARACTERS_MAX, is_key
from tallyboard.ledger import audit
from tallyboard.ledger.aliases import user_of
from tallyboard.ledger.contract import Session
from tallyboard.ledger.locking import lock

OWN_SHOWN_MAX = 200


class Own(Struct, frozen=True):
    """A user with a source of record of its own, EVERY_SOURCE where every one counts."""

    user: str
    email: str | None
    source: str


class Chosen(Struct, frozen=True):
    """The account's source of record, None for every source; the users with one of their own, by key, OWN_SHOWN_MAX of `all_own` at most."""

    source: str | None
    own: tuple[Own, ...]
    all_own: int


def chosen(session: Session, account_id: int) -> Chosen:
    """What is set."""
    line = session.one("SELECT record_source, own_record_sources FROM account WHERE account_id = :account_id", account_id=account_id)
    assert line is not None
    source, all_own = line
    lines = (
        session.all(
            """
            SELECT key, email, record_source FROM app_user WHERE account_id = :account_id AND record_source IS NOT NULL
            ORDER BY key LIMIT :most
            """,
            account_id=account_id,
            most=OWN_SHOWN_MAX,
        )
        if all_own
        else []
    )
    return Chosen(source, tuple(Own(*each) for each in lines), all_own)


def choose(session: Session, account_id: int, source: str | None, actor: str, now_us: int) -> None:
    """Set the account's source of record, None for every source."""
    _check(source or None)
    lock(session, account_id)
    session.run(
        "UPDATE account SET record_source = :source, revision = revision + 1 WHERE account_id = :account_id",
        account_id=account_id,
        source=source or None,
    )
    audit.note(session, account_id, actor, "source.chosen", {"source": source or None}, now_us)


def choose_for(session: Session, account_id: int, user: str, source: str | None, actor: str, now_us: int) -> None:
    """Set the source of record of the user whom a key means: EVERY_SOURCE, or None for what the account says. NotFound where there is no such user."""
    _check(source or None)
    lock(session, account_id)
    user = user_of(session, account_id, user)
    known = session.run(
        "UPDATE app_user SET record_source = :source WHERE account_id = :account_id AND key = :user",
        account_id=account_id,
        user=user,
        source=source,
    )
    if not known:
        raise NotFound(f"there is no user {user[:80]!r}; users are known by the subject of their events")
    session.run(
        """
        UPDATE account SET revision = revision + 1, own_record_sources = (
            SELECT count(*) FROM app_user WHERE account_id = :account_id AND record_source IS NOT NULL
        )
        WHERE account_id = :account_id
        """,
        account_id=account_id,
    )
    audit.note(session, account_id, actor, "source.chosen", {"user": user, "source": source}, now_us)


def _check(source: str | None) -> None:
    if source is not None and not is_key(source):
        raise Invalid(f"a source has 1 to {KEY_CHARACTERS_MAX} printable characters")
