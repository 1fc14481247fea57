"""Accounts: the organization whose usage is metered. The first is made when a data folder is new; an installation may have several.

Only the command line makes accounts and names them all. What goes on in one is none of the others' business.
"""

from msgspec import Struct, structs

from tallyboard import days
from tallyboard.errors import Invalid, NotFound, Taken
from tallyboard.ledger import audit
from tallyboard.ledger.contract import Session
from tallyboard.ledger.locking import lock
from tallyboard.ledger.rollups import change_zone
from tallyboard.rates import card

FIRST_ACCOUNT_ID = 1
FIRST_NAME = "My organization"
NAME_CHARACTERS_MAX = 80
_NAMED_MAX = 10


class Account(Struct, frozen=True):
    """An account as people see it."""

    account_id: int
    name: str
    timezone: str


def ensure_first(session: Session, now_us: int) -> bool:
    """Make the first account, in UTC with the default rate card, where there is none; whether it was made."""
    if session.one("SELECT 1 FROM account LIMIT 1"):
        return False
    made = _insert(session, Account(FIRST_ACCOUNT_ID, FIRST_NAME, "UTC"), now_us)
    if made:
        set_card(session, FIRST_ACCOUNT_ID, card.default_text(), "setup", now_us)
    return made


def create(session: Session, name: str, timezone: str, actor: str, now_us: int) -> Account:
    """One more account, with the default rate card; Invalid, or Taken where an account has the name: the command line tells them by it."""
    name, others = check_name(name), listed(session)
    if any(each.name == name for each in others):
        raise Taken(f"there is an account {name!r} already")
    account = Account(max((each.account_id for each in others), default=0) + 1, name, _zone(timezone))
    while not _insert(session, account, now_us):  # Somebody else makes one at the same time.
        account = structs.replace(account, account_id=account.account_id + 1)
    audit.note(session, account.account_id, actor, "account.created", {"name": name, "timezone": account.timezone}, now_us)
    set_card(session, account.account_id, card.default_text(), actor, now_us)
    return account


def listed(session: Session) -> list[Account]:
    """Every account, the oldest first: for whoever runs the installation, never for a member."""
    return [Account(*line) for line in session.all("SELECT account_id, name, timezone FROM account ORDER BY account_id")]


def meant(session: Session, text: str | None) -> Account:
    """The account with this id or else this name; without a text the only one there is. NotFound or Invalid name those there are."""
    found = listed(session)
    known = ", ".join(f"{each.account_id} {each.name!r}" for each in found[:_NAMED_MAX]) + (", …" if len(found) > _NAMED_MAX else "")
    if text is None:
        if len(found) != 1:
            raise Invalid(f"there are several accounts; say which one by --account: {known}")
        return found[0]
    named = [each for each in found if str(each.account_id) == text] or [each for each in found if each.name == text.strip()]
    if not named:
        raise NotFound(f"there is no account {text[:80]!r}; there are {known}")
    if len(named) > 1:
        raise Invalid(f"several accounts are called {text[:80]!r}; say the id: {', '.join(str(each.account_id) for each in named)}")
    return named[0]


def of(session: Session, account_id: int) -> Account:
    """The account."""
    line = session.one("SELECT account_id, name, timezone FROM account WHERE account_id = :account_id", account_id=account_id)
    if line is None:
        raise NotFound("there is no such account")
    return Account(*line)


def state(session: Session, account_id: int, now_us: int) -> str:
    """What a page of the account depends on, as a short text: it differs when the page may."""
    line = session.one(
        "SELECT revision, zone_version, days_version, timezone FROM account WHERE account_id = :account_id", account_id=account_id
    )
    assert line is not None
    revision, zone_version, days_version, timezone = line
    today = days.to_number(days.today(now_us, days.zone(timezone)))
    return f"{revision}-{zone_version}-{int(days_version == zone_version)}-{today}"


def check_name(name: str) -> str:
    """A name of an account without the space around it, Invalid where it is none."""
    name = name.strip()
    if not 0 < len(name) <= NAME_CHARACTERS_MAX or not name.isprintable():
        raise Invalid(f"a name has 1 to {NAME_CHARACTERS_MAX} printable characters")
    return name


def change(session: Session, account_id: int, actor: str, now_us: int, *, name: str | None = None, timezone: str | None = None) -> Account:
    """Rename the account or change its zone, and note what was changed."""
    lock(session, account_id)
    before = of(session, account_id)
    if name is not None:
        name = check_name(name)
        session.run(
            "UPDATE account SET name = :name, revision = revision + 1 WHERE account_id = :account_id", name=name, account_id=account_id
        )
    if timezone is not None:
        change_zone(session, account_id, _zone(timezone))
    after = of(session, account_id)
    if after != before:
        audit.note(session, account_id, actor, "account.changed", {"before": before, "after": after}, now_us)
    return after


def card_of(session: Session, account_id: int) -> tuple[int, str]:
    """The number and text of the rate card in force."""
    line = session.one(
        "SELECT card_id, text FROM rate_card WHERE account_id = :account_id ORDER BY card_id DESC LIMIT 1", account_id=account_id
    )
    if line is None:
        raise NotFound("there is no such account")
    return line[0], line[1]


def set_card(session: Session, account_id: int, text: str, actor: str, now_us: int) -> int:
    """Put a rate card in force for events from now on; CardError where it has mistakes. Its number."""
    card.read(text)
    lock(session, account_id)
    (last,) = session.one("SELECT max(card_id) FROM rate_card WHERE account_id = :account_id", account_id=account_id) or (None,)
    card_id = int(last or 0) + 1
    session.run(
        "INSERT INTO rate_card (account_id, card_id, text, set_us) VALUES (:account_id, :card_id, :text, :now_us)",
        account_id=account_id,
        card_id=card_id,
        text=text,
        now_us=now_us,
    )
    audit.note(session, account_id, actor, "rates.set", {"card": card_id}, now_us)
    return card_id


def _insert(session: Session, account: Account, now_us: int) -> bool:
    """Whether the id was free."""
    made = session.run(
        """
        INSERT INTO account (account_id, name, timezone, zone_version, days_version, revision, user_count,
                             shelf, shelf_events, created_us)
        VALUES (:account_id, :name, :timezone, 1, 1, 1, 0, 0, 0, :now_us) ON CONFLICT (account_id) DO NOTHING
        """,
        account_id=account.account_id,
        name=account.name,
        timezone=account.timezone,
        now_us=now_us,
    )
    return made > 0


def _zone(timezone: str) -> str:
    """A zone as it is written; Invalid where there is none of that name."""
    try:
        return days.zone(timezone).key
    except ValueError as error:
        raise Invalid(str(error)) from None
