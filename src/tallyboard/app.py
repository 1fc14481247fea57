"""Opens the ledger, wires everything by hand, starts and closes in reverse."""

import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from enum import StrEnum
from functools import partial
from itertools import groupby
from operator import itemgetter
from traceback import format_exc
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from msgspec import Struct

from tallyboard import clock
from tallyboard.errors import Migrating, NewerSchema, TallyboardError, Unavailable
from tallyboard.intake.accept import Sender
from tallyboard.intake.worker import Worker
from tallyboard.ledger import arrivals, opening, rollups
from tallyboard.ledger.arrivals import Kind, Note
from tallyboard.ledger.contract import Engine, Outcome, Session
from tallyboard.ledger.keeper import Keeper
from tallyboard.ledger.migrate import migrate, pending
from tallyboard.ledger.opening import Place
from tallyboard.ledger.writer import Writer
from tallyboard.people import accounts, keys, members, secrets
from tallyboard.people.keys import ApiKey, Scope
from tallyboard.policy import allowance, holds, overrides
from tallyboard.policy.holds import Decision
from tallyboard.policy.limits import Standing
from tallyboard.rates import card
from tallyboard.rates.charge import Charger
from tallyboard.settings import Settings

if TYPE_CHECKING:
    from tallyboard.people.provider import Provider

HOUSEKEEPING_SECONDS = 1.0
KEY_USES_US = 60_000_000
PAGE_STATE_US_MAX = 250_000
_CHARGERS_HELD_MAX = 1_000
_PAGE_STATES_HELD_MAX = 10_000
_RECENT_MAX = 10_000
_REFUSED_HELD_MAX = 1_000
_MISTAKES_TOLD_MAX = 100


class Caller(Struct, frozen=True):
    """Who calls by API key, and the rates its events are charged by."""

    key: ApiKey
    charger: Charger

    @property
    def sender(self) -> Sender:
        """What the key may say of events."""
        return Sender(self.key.user, Scope.ADJUST in self.key.scopes)


class Recent:
    """What was read since the last commit by anybody: forgotten at the next, so that it is never out of date.

    Where an engine cannot cheaply tell whether there was one, nothing is remembered.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._version: int | None = None
        self._kept: dict[Hashable, Any] = {}

    def current(self) -> dict[Hashable, Any]:
        """What may be used now. Ask for it before reading, and put what was read into it: then it is as old as it says."""
        version = self._engine.version()
        if version is None or version != self._version or len(self._kept) >= _RECENT_MAX:
            # Whoever is still reading puts that into what nobody looks at any more. The version comes last: who sees it sees no old answer.
            self._kept, self._version = {}, version
        return self._kept


class State(StrEnum):
    """Whether the ledger can be used, and if not yet, why."""

    READY = "ready"
    MIGRATING = "migrating"
    AWAY = "away"


def open_engine(settings: Settings) -> Engine:
    """The engine that the settings choose."""
    return opening.open_engine(place_of(settings))


def open_provider(settings: Settings) -> "Provider | None":
    """The provider that signs people in, None where the settings name none. Nothing is asked of it yet."""
    if settings.openid is None:
        return None
    from tallyboard.people.provider import Provider  # noqa: PLC0415  Loads slowly, and most have none.

    return Provider(settings.openid)


class App:
    """One open ledger and what belongs to it. A context manager: leaving it writes what is queued and closes.

    A `patient` one opens although its database is away; housekeeping then makes the ledger ready as soon as it can.
    """

    def __init__(self, settings: Settings, *, patient: bool = False) -> None:
        self.settings = settings
        self.state = State.AWAY
        self._trouble: Unavailable | None = None
        self._engine = open_engine(settings)
        try:
            if not (patient and settings.database_url) or self._is_up_to_date():
                self._make_ready()
        except BaseException:
            self._engine.close()
            raise
        self.ledger = Writer(self._engine, self._decide, Keeper(place_of(settings)))
        self.recent = Recent(self._engine)
        self.provider = open_provider(settings)
        self._expired_holds = 0
        self.worker = Worker()
        self._chargers: dict[tuple[int, int], Charger] = {}
        self._page_states: dict[int, tuple[int, str]] = {}
        self._key_uses: dict[tuple[int, str], int] = {}
        self._uses_recorded_us = 0
        self._refused: dict[tuple[int, str, str], Note] = {}
        self._mistakes: set[str] = set()
        self._closing = threading.Event()
        self._housekeeper: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def provider_name(self) -> str:
        """What people call the provider that signs them in, "" where there is none."""
        return self.settings.openid.name if self.settings.openid else ""

    def caller(self, secret: str, now_us: int) -> Caller | None:
        """Who has this API key, None where nobody has."""
        recent, place = self.recent.current(), secrets.hashed(secret)
        found: Caller | None = recent.get(place)
        if found is None or not found.key.valid(now_us):
            found = self._read_caller(secret, now_us)
            if found is not None:
                recent[place] = found
        if found is not None:
            self._key_uses[found.key.account_id, found.key.id] = now_us
        return found

    def standing(self, account_id: int, user: str, now_us: int) -> Standing:
        """How a user stands now: every commit so far counts."""
        recent, place = self.recent.current(), (account_id, user)
        found: Standing | None = recent.get(place)
        if found is None or not found.read_us <= now_us < found.good_until_us:
            with self.ledger.reading() as session:
                found = recent[place] = allowance.of_user(session, account_id, user, now_us)
        return found

    def charger(self, account_id: int) -> Charger:
        """The rates in force for an account."""
        with self.ledger.reading() as session:
            return self._charger(account_id, *accounts.card_of(session, account_id))

    def page_state(self, account_id: int, now_us: int, *, fresh: bool = False) -> str:
        """What the account's pages depend on (accounts.state), as it was at most a quarter of a second ago, or is now."""
        read_us, state = self._page_states.get(account_id, (0, ""))
        if fresh or not 0 <= now_us - read_us < PAGE_STATE_US_MAX:
            with self.ledger.reading() as session:
                state = accounts.state(session, account_id, now_us)
            if len(self._page_states) >= _PAGE_STATES_HELD_MAX:
                self._page_states.clear()
            self._page_states[account_id] = (now_us, state)
        return state

    def refused(self, account_id: int, sender: str, reason: str, events: int, example: str) -> None:
        """Have it noted that events were refused, for those who look after intake: within a second or two, many in one."""
        place = (account_id, sender, reason)
        before = self._refused.get(place)
        if before is not None or len(self._refused) < _REFUSED_HELD_MAX:
            events += before.events if before else 0
            self._refused[place] = Note(Kind.REFUSED, sender, str(reason), "", events, clock.now_us(), example)

    def figures(self) -> dict[str, float]:
        """Gauges and counters for operators, by name."""
        return {**self.ledger.figures(), "holds_expired_total": self._expired_holds}

    def sign_in_link(self, address: str, account_id: int = accounts.FIRST_ACCOUNT_ID, to: str = "") -> str:
        """A new one-time link for the account's administrator. `address` is where the server is reached; `to` may be `set-up`."""
        now_us = clock.now_us()
        with self.ledger.writing() as session:
            secret = members.invite(session, members.ensure_admin(session, account_id, now_us), now_us)
        return f"{self.settings.public_url or address}/sign-in?token={secret}{f'&to={to}' if to else ''}"

    def rebuild_days(self, account_id: int) -> "Future[bool]":
        """Do one step of what a zone change left to do; the future says whether there is more."""
        return self.ledger.change(lambda session: rollups.rebuild_some(session, account_id))

    def start_housekeeping(self, when_ready: Callable[[], object], tell: Callable[[str], object]) -> None:
        """From now on, in the background: make the ledger ready where it is not, call `when_ready` once, do what is due every second.

        `tell` takes a sentence on why the ledger is not ready yet, and what went wrong that nobody expected.
        """
        self._housekeeper = threading.Thread(target=self._keep_house, args=(when_ready, tell), name="housekeeping", daemon=True)
        self._housekeeper.start()

    def check_ready(self) -> None:
        """Nothing where the ledger can be used now; else Migrating or Unavailable."""
        if self.state is State.MIGRATING:
            raise Migrating("the schema is being brought up to date")
        if self._trouble is not None:
            raise self._trouble
        with self.ledger.reading() as session:
            accounts.of(session, accounts.FIRST_ACCOUNT_ID)

    def close(self) -> None:
        """Stop, write what is queued, close."""
        self._closing.set()
        if self._housekeeper:
            self._housekeeper.join()
        self.worker.close()
        if self.provider:
            self.provider.close()
        with suppress(TallyboardError):
            self._note_refused()
            self._record_key_uses(every_us=0)
        self.ledger.close()

    def _read_caller(self, secret: str, now_us: int) -> Caller | None:
        with self.ledger.reading() as session:
            key = keys.recognize(session, secret, now_us)
            if key is None:
                return None
            return Caller(key, self._charger(key.account_id, *accounts.card_of(session, key.account_id)))

    def _decide(self, session: Session, account_id: int, requests: Sequence[tuple[Any, Outcome | None]]) -> list[Decision]:
        decisions, expired = holds.decide(session, account_id, requests, clock.now_us)
        self._expired_holds += expired
        return decisions

    def _charger(self, account_id: int, card_id: int, text: str) -> Charger:
        charger = self._chargers.get((account_id, card_id))
        if charger is None:
            if len(self._chargers) >= _CHARGERS_HELD_MAX:
                self._chargers.clear()
            charger = self._chargers[account_id, card_id] = Charger(card.read(text))
        return charger

    def _is_up_to_date(self) -> bool:
        """Whether nothing is to be waited for; NewerSchema where waiting would not help."""
        try:
            with self._engine.reading() as session:
                return not pending(session)
        except NewerSchema:
            raise
        except Unavailable:
            return False

    def _make_ready(self) -> None:
        self._engine.prepare()  # While the database is away this fails, and nothing is being migrated yet.
        self.state = State.MIGRATING
        try:
            migrate(self._engine)
            with self._engine.writing() as session:
                accounts.ensure_first(session, clock.now_us())
        except BaseException:
            self.state = State.AWAY
            raise
        self.state = State.READY

    def _become_ready(self, when_ready: Callable[[], object], tell: Callable[[str], object]) -> None:
        while not self._closing.is_set():
            try:
                if self.state is not State.READY:
                    self._make_ready()
                when_ready()
                self._trouble = None
                return
            except Unavailable as error:
                if str(error) != str(self._trouble):
                    tell(f"{error}; requests are answered 503 until that passes")
                self._trouble = error
                self._closing.wait(HOUSEKEEPING_SECONDS)

    def _keep_house(self, when_ready: Callable[[], object], tell: Callable[[str], object]) -> None:
        """Every second what is due. While the ledger is away nothing is: what was counted meanwhile is kept for then."""
        self._become_ready(when_ready, tell)
        attempt: Callable[[Callable[[], Any]], Any] = partial(self._attempt, tell)
        while not self._closing.wait(HOUSEKEEPING_SECONDS):
            with suppress(Unavailable):
                for due, work in (
                    (lambda session, _: rollups.left_to_do(session), self._rebuild),
                    (holds.left_to_sweep, self._sweep),
                    (overrides.left_to_expire, partial(self._now, overrides.expire)),
                    (arrivals.left_to_forget, partial(self._now, arrivals.forget)),
                ):
                    for account_id in attempt(partial(self._due, due)) or ():
                        attempt(partial(work, account_id))
                attempt(self._note_refused)
                attempt(self._record_key_uses)

    def _attempt(self, tell: Callable[[str], object], work: Callable[[], Any]) -> Any:
        """What a piece of housekeeping comes to; None where it fails by itself, which is tried again. A mistake of our own is told once."""
        try:
            return work()
        except Unavailable:
            raise
        except TallyboardError:
            return None
        except Exception as error:  # noqa: BLE001  Whatever it is, the other pieces are done.
            if repr(error) not in self._mistakes and len(self._mistakes) < _MISTAKES_TOLD_MAX:
                self._mistakes.add(repr(error))
                tell(f"housekeeping met a mistake of our own, and tries again every second; please report it:\n{format_exc()}")
            return None

    def _due(self, of: Callable[[Session, int], list[int]]) -> list[int]:
        with self.ledger.reading() as session:
            return of(session, clock.now_us())

    def _now(self, work: Callable[..., Any], account_id: int) -> Any:
        """Do something to an account as of now, in a transaction of its own."""
        return self.ledger.change(partial(work, account_id=account_id, now_us=clock.now_us())).result()

    def _rebuild(self, account_id: int) -> None:
        while not self._closing.is_set() and self.rebuild_days(account_id).result():
            pass

    def _sweep(self, account_id: int) -> None:
        """Note what has expired, forget what ended long ago."""
        more = True
        while more and not self._closing.is_set():
            expired, more = self._now(holds.sweep, account_id)
            self._expired_holds += expired

    def _note_refused(self) -> None:
        refused, self._refused = self._refused, {}
        for account_id, places in groupby(sorted(refused), key=itemgetter(0)):
            notes = [refused[place] for place in places]
            self.ledger.change(partial(arrivals.note, account_id=account_id, notes=notes)).result()

    def _record_key_uses(self, every_us: int = KEY_USES_US) -> None:
        """Write down which keys were used since the last time: once a minute, however many requests there were."""
        if clock.now_us() < self._uses_recorded_us + every_us:
            return
        uses, self._key_uses = self._key_uses, {}
        self._uses_recorded_us = clock.now_us()
        if uses:
            self.ledger.change(lambda session: keys.record_uses(session, uses)).result()


def place_of(settings: Settings) -> Place:
    """Where the ledger is that the settings name."""
    return Place(str(settings.data), settings.database_url, settings.database_connections)
