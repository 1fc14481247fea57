"""What a ledger with limits must say, counted naively: a list of events and a dict of holds, walked through at every question."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from tallyboard import days
from tallyboard.ledger.contract import Outcome
from tallyboard.policy.holds import End, Ending, Grant
from tallyboard.policy.limits import Origin, Standing

Request = Grant | End
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Event:
    """A charged event of a user, and the name that tells it from others."""

    name: tuple[str, str]
    user: str
    at_us: int
    units: int


@dataclass
class Hold:
    """What is set aside; `ending` says how that ended once it did."""

    user: str
    units: int
    granted_us: int
    expires_us: int
    ending: Ending | None = None

    def state(self, now_us: int) -> str:
        return self.ending or ("expired" if self.expires_us <= now_us else "held")


@dataclass
class Books:
    """One account, as it must be at `now_us`. A limit of None is none; an override is a limit and when it expires."""

    timezone: str
    now_us: int
    account: str
    default: int | None = None
    events: list[Event] = field(default_factory=list)
    holds: dict[str, Hold] = field(default_factory=dict)
    overrides: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def whom(self, user: str) -> str:
        """The user whom a key means."""
        return user

    def day_of(self, us: int) -> date:
        """The date on the account's clock: zones that show a date again after midnight are not used here."""
        return (_EPOCH + timedelta(microseconds=us)).astimezone(self.zone).date()

    def midnight_us(self, day: date) -> int:
        return days.instant_us(datetime(day.year, day.month, day.day, tzinfo=self.zone))

    @property
    def resets_us(self) -> int:
        return self.midnight_us(self.day_of(self.now_us) + timedelta(days=1))

    def used_on(self, user: str, day: date) -> int:
        return sum(event.units for event in self.events if self.whom(event.user) == self.whom(user) and self.day_of(event.at_us) == day)

    def outstanding(self) -> dict[str, Hold]:
        return {hold_id: hold for hold_id, hold in self.holds.items() if hold.state(self.now_us) == "held"}

    def standing(self, user: str) -> Standing:
        user, today = self.whom(user), self.day_of(self.now_us)
        held = [hold for hold in self.outstanding().values() if self.whom(hold.user) == user and self.day_of(hold.granted_us) == today]
        own, own_expires = self.overrides.get(user, (None, 0))
        has_own = user in self.overrides and (own_expires is None or self.now_us < own_expires)
        changes = [self.resets_us, *(hold.expires_us for hold in held)]
        return Standing(
            user=user,
            account=self.account,
            timezone=self.timezone,
            day=today,
            resets_us=self.resets_us,
            limit=own if has_own else self.default,
            origin=Origin.OVERRIDE if has_own else Origin.DEFAULT,
            used=self.used_on(user, today),
            held=sum(hold.units for hold in held),
            read_us=self.now_us,
            good_until_us=min([*changes, own_expires] if has_own and own_expires is not None else changes),
        )

    def add(self, events: Sequence[Event]) -> Outcome:
        """Events that are acknowledged: the first of a name counts, another that says something else is a conflict."""
        counts = {"accepted": 0, "duplicate": 0, "conflict": 0}
        for event in events:
            known = next((each for each in self.events if each.name == event.name), None)
            counts["accepted" if known is None else "duplicate" if known == event else "conflict"] += 1
            if known is None:
                self.events.append(event)
        return Outcome(**counts)

    def note_expired(self) -> int:
        due = [hold for hold in self.holds.values() if hold.ending is None and hold.expires_us <= self.now_us]
        for hold in due:
            hold.ending = Ending.EXPIRED
        return len(due)

    def decide(self, requests: Sequence[Request]) -> list[tuple[Hold | None, bool]]:
        """The hold of each request, None where it is refused or unknown, and whether it is new: holds end first, then grants in order."""
        self.note_expired()
        for request in requests:
            if isinstance(request, End) and request.hold_id in self.holds:
                hold = self.holds[request.hold_id]
                hold.ending = hold.ending or request.how
        fresh = [isinstance(request, Grant) and self._grant(request) for request in requests]
        return [(self.holds.get(request.hold_id), is_new) for request, is_new in zip(requests, fresh, strict=True)]

    def _grant(self, grant: Grant) -> bool:
        now = self.standing(grant.user)
        if grant.hold_id in self.holds or (now.limit is not None and now.used + now.held + grant.units > now.limit):
            return False
        self.holds[grant.hold_id] = Hold(grant.user, grant.units, self.now_us, self.now_us + grant.ttl_us)
        return True
