"""Opens the ledger, wires everything by hand, starts and closes in reverse. The only place that chooses an engine."""

import threading
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from msgspec import Struct

from tallyboard import clock
from tallyboard.errors import TallyboardError
from tallyboard.intake.accept import Sender
from tallyboard.intake.worker import Worker
from tallyboard.ledger import rollups, sqlite
from tallyboard.ledger.writer import Writer
from tallyboard.people import accounts, keys, members
from tallyboard.people.keys import ApiKey, Scope
from tallyboard.rates import card
from tallyboard.rates.charge import Charger
from tallyboard.settings import Settings

HOUSEKEEPING_SECONDS = 1.0
_CHARGERS_HELD_MAX = 1_000


class Caller(Struct, frozen=True):
    """Who calls by API key, and the rates its events are charged by."""

    key: ApiKey
    charger: Charger

    @property
    def sender(self) -> Sender:
        """What the key may say of events."""
        return Sender(self.key.user, Scope.ADJUST in self.key.scopes)


class App:
    """One open ledger and what belongs to it. A context manager: leaving it writes what is queued and closes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        engine = sqlite.SqliteEngine(settings.data)
        try:
            sqlite.migrate(engine)
            with engine.writing() as session:
                accounts.ensure_first(session, clock.now_us())
        except BaseException:
            engine.close()
            raise
        self.ledger = Writer(engine)
        self.worker = Worker()
        self._chargers: dict[tuple[int, int], Charger] = {}
        self._closing = threading.Event()
        self._housekeeper: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def caller(self, secret: str, now_us: int) -> Caller | None:
        """Who has this API key, None where nobody has."""
        with self.ledger.reading() as session:
            key = keys.recognize(session, secret, now_us)
            if key is None:
                return None
            return Caller(key, self._charger(key.account_id, *accounts.card_of(session, key.account_id)))

    def charger(self, account_id: int) -> Charger:
        """The rates in force for an account."""
        with self.ledger.reading() as session:
            return self._charger(account_id, *accounts.card_of(session, account_id))

    def sign_in_link(self, address: str, account_id: int = accounts.FIRST_ACCOUNT_ID) -> str:
        """A new one-time link for the account's administrator. `address` is where the server is reached."""
        now_us = clock.now_us()
        with self.ledger.writing() as session:
            secret = members.invite(session, members.ensure_admin(session, account_id, now_us), now_us)
        return f"{self.settings.public_url or address}/sign-in?token={secret}"

    def rebuild_days(self, account_id: int) -> "Future[bool]":
        """Do one step of what a zone change left to do; the future says whether there is more."""
        return self.ledger.change(lambda session: rollups.rebuild_some(session, account_id))

    def start_housekeeping(self) -> None:
        """Rebuild days in the background from now on."""
        self._housekeeper = threading.Thread(target=self._keep_house, name="housekeeping", daemon=True)
        self._housekeeper.start()

    def close(self) -> None:
        """Stop, write what is queued, close."""
        self._closing.set()
        if self._housekeeper:
            self._housekeeper.join()
        self.worker.close()
        self.ledger.close()

    def _charger(self, account_id: int, card_id: int, text: str) -> Charger:
        charger = self._chargers.get((account_id, card_id))
        if charger is None:
            if len(self._chargers) >= _CHARGERS_HELD_MAX:
                self._chargers.clear()
            charger = self._chargers[account_id, card_id] = Charger(card.read(text))
        return charger

    def _keep_house(self) -> None:
        while not self._closing.wait(HOUSEKEEPING_SECONDS):
            try:
                with self.ledger.reading() as session:
                    behind = rollups.left_to_do(session)
                for account_id in behind:
                    while not self._closing.is_set() and self.rebuild_days(account_id).result():
                        pass
            except TallyboardError:
                continue  # Tried again in a second; answers come from the slots meanwhile.
