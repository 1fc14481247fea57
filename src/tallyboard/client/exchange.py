"""What is said to Tallyboard and what follows from its answers, without doing any of it.

A call is a generator of steps: it yields a request to send or a pause to make and is given what came back. So the blocking
and the awaiting client are one, and differ only in how they take a step.
"""

import json
import logging
import re
from collections import Counter, deque
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from threading import Lock
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

from tallyboard.client.answers import (
    Allowance,
    Counts,
    LimitReached,
    NotSettled,
    Rejected,
    Settled,
    Unreachable,
    read_allowance,
    read_amount,
)

log = logging.getLogger("tallyboard.client")

EVENT_TYPE = "ai.usage.recorded"
EVENT_SOURCE = "urn:tallyboard:hold"
HOLD_TTL_S = 900
TIMEOUT_S = 2.0
PATIENCE_S = 4.0
TRIES_MAX = 4
FIRST_PAUSE_S = 0.1
KEPT_MAX = 1_000
KEPT_SENT_ALONG = 10
ANSWER_BYTES_MAX = 1_048_576
_DETAIL_CHARACTERS_MAX = 500
_RELAYED = ("Retry-After", "RateLimit", "RateLimit-Policy", "x-should-retry")
_SECONDS = re.compile(r"[0-9]{1,9}")
_NO_CONTENT = 204
_TOO_MANY_REQUESTS = 429
_NOT_OURS = (KeyError, TypeError, ValueError, InvalidOperation)
_STRANGER = "what answered is not Tallyboard"


class WhenUnreachable(Enum):
    """What becomes of a request that Tallyboard was asked about and gave no answer."""

    LET_THROUGH = "open"
    TURN_AWAY = "closed"


FAIL_OPEN = WhenUnreachable.LET_THROUGH
FAIL_CLOSED = WhenUnreachable.TURN_AWAY


@dataclass(frozen=True, slots=True)
class Terms:
    """Where Tallyboard is and how long it is waited for."""

    url: str
    key: str
    when_unreachable: WhenUnreachable
    timeout_s: float
    patience_s: float

    def __post_init__(self) -> None:
        if not isinstance(self.when_unreachable, WhenUnreachable):
            raise TypeError("say what to do when Tallyboard cannot answer: when_unreachable=FAIL_OPEN or FAIL_CLOSED")
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"the address must begin with http:// or https://, not {self.url[:40]!r}")

    @property
    def headers(self) -> dict[str, str]:
        """What every request says. No compression: an answer is small, and its size is limited as it comes."""
        return {"Authorization": f"Bearer {self.key}", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request to send: `path` below /api/v1, `body` as JSON, an answer within `timeout_s`."""

    method: str
    path: str
    body: bytes
    media_type: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds to wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Response:
    """What came back; headers by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def shape(self) -> dict[str, Any]:
        """The body's JSON object; empty where it is none."""
        try:
            shape = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return shape if isinstance(shape, dict) else {}


@dataclass(frozen=True, slots=True)
class Usage:
    """Usage to record: the hold it settles, and the event, whose id makes it count once however often it is sent."""

    hold_id: str
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A hold to ask for. The id is made here, so that asking again is asking for the same."""

    id: str
    user: str | None
    body: Mapping[str, Any]


Answer = TypeVar("Answer")
Steps = Generator[Request | Pause, Response | None, Answer]
"""A call's steps. What comes back is None after a pause, or where nothing came."""


class Exchange:
    """A client's calls as steps, its counts, and the usage it keeps. Threads may share it."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._counted: Counter[str] = Counter()
        self._kept: deque[Usage] = deque()
        self._lock = Lock()

    @property
    def counts(self) -> Counts:
        """What has happened."""
        with self._lock:
            return Counts(**self._counted)

    @property
    def kept(self) -> int:
        """How much usage waits to be sent again."""
        return len(self._kept)

    def check(self, user: str | None) -> Steps[Allowance | None]:
        """Ask whether a user may go on."""
        return (yield from self._ask_leave("/check", {} if user is None else {"user": user}))

    def hold(self, wanted: Wanted) -> Steps[Allowance | None]:
        """Set credits aside."""
        return (yield from self._ask_leave("/holds", wanted.body))

    def settle(self, usage: Usage) -> Steps[Settled]:
        """Record what was used and free its hold; then some of what was kept, since Tallyboard answers."""
        try:
            settled = yield from self._record(usage)
        except (Unreachable, GeneratorExit) as ended:
            self._count("settle_failed")
            kept = self._keep(usage)
            if isinstance(ended, GeneratorExit):
                raise
            raise NotSettled(usage.event, kept=kept) from ended
        try:
            yield from self.settle_kept(KEPT_SENT_ALONG)
        except Rejected as rejected:
            log.error("kept usage is not taken: %s", rejected)  # noqa: TRY400  The text says it all.
        return settled

    def settle_kept(self, most: int = KEPT_MAX) -> Steps[int]:
        """Send kept usage again until there is none or no answer; how much is still kept."""
        for _ in range(min(self.kept, most)):
            try:
                usage = self._kept.popleft()
            except IndexError:  # Another thread took it.
                break
            try:
                yield from self._record(usage)
            except Unreachable:
                self._keep(usage)
                break
            except (Rejected, GeneratorExit):
                self._keep(usage)
                raise
        return self.kept

    def release(self, hold_id: str) -> Steps[None]:
        """Give credits back. That this fails costs nothing but time, because a hold expires: it is counted, never raised."""
        try:
            response = yield from self._ask("DELETE", f"/holds/{quote(hold_id, safe='')}", None)
        except Unreachable:
            response = None
        gone = response is not None and (response.status < 300 or response.status == 404)
        self._count("released" if gone else "release_failed")

    def _ask_leave(self, path: str, body: Mapping[str, Any]) -> Steps[Allowance | None]:
        """The user's allowance where the answer is yes; None where there is no answer and that lets it through."""
        try:
            response = yield from self._ask("POST", path, body)
            allowance = self._read_leave(response)
        except Unreachable as unreachable:
            self._give_up(unreachable)
            return None
        self._count("granted")
        return allowance

    def _read_leave(self, response: Response) -> Allowance:
        shape = response.shape
        try:
            if response.status == _TOO_MANY_REQUESTS:
                reached = _read_refusal(response, shape)
                self._count("refused")
                raise reached
            allowance = read_allowance(shape["allowance"])
        except _NOT_OURS:
            raise Unreachable(_STRANGER) from None
        # An id that was used before finds its hold as it is; one that has ended covers nothing.
        if (state := shape.get("state", "held")) != "held":
            raise Rejected(response.status, f"the hold {shape.get('id')} is {state} already; every request needs an id of its own")
        return allowance

    def _give_up(self, unreachable: Unreachable) -> None:
        if self._terms.when_unreachable is FAIL_CLOSED:
            self._count("turned_away_unreachable")
            log.warning("turned a request away: %s", unreachable)
            raise unreachable
        self._count("let_through_unreachable")
        log.warning("let a request through: %s", unreachable)

    def _record(self, usage: Usage) -> Steps[Settled]:
        try:
            try:
                response = yield from self._ask("POST", f"/holds/{quote(usage.hold_id, safe='')}/settle", usage.event)
            except Rejected as rejected:
                if rejected.status != 404:
                    raise
                # The request was let through without a hold. Its usage is an event like any other.
                response = yield from self._ask("POST", "/events", usage.event)
        except Rejected:
            self._count("settle_failed")
            raise
        settled = _read_settled(response)
        self._count("settled")
        return settled

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> Steps[Response]:
        """An answer of Tallyboard: 2xx, or a refusal. Rejected where the call is wrong, Unreachable where no answer comes."""
        gives_up_at = monotonic() + self._terms.patience_s
        content = b"" if body is None else json.dumps(body).encode()
        media_type = "application/cloudevents+json" if body and "specversion" in body else "application/json"
        response = None
        for tried in range(1, TRIES_MAX + 1):
            remaining_s = gives_up_at - monotonic()
            response = yield Request(method, path, content, media_type, min(self._terms.timeout_s, max(remaining_s, 0.001)))
            if response is not None and _is_answer(response):
                return _unless_rejected(response, method)
            pause_s = _pause_s(response, tried)
            if tried == TRIES_MAX or monotonic() + pause_s >= gives_up_at:
                break
            yield Pause(pause_s)
        raise Unreachable(f"Tallyboard answered {response.status}" if response else "Tallyboard did not answer")

    def _keep(self, usage: Usage) -> bool:
        with self._lock:
            if len(self._kept) < KEPT_MAX:
                self._kept.append(usage)
                return True
            self._counted["usage_dropped"] += 1
            return False

    def _count(self, what: str) -> None:
        with self._lock:
            self._counted[what] += 1


def wanted(
    user: str | None,
    *,
    credits: str | Decimal | None,
    units: int | None,
    data: Mapping[str, Any] | None,
    type: str,
    ttl_s: int,
    id: str | None,
) -> Wanted:
    """The hold to ask for; ValueError unless exactly one of credits, units and data says how much."""
    if sum(each is not None for each in (credits, units, data)) != 1:
        raise ValueError("say how much to hold in exactly one way: credits, units or data")
    if isinstance(credits, float):
        raise TypeError("credits are exact: give a text such as '0.2' or a Decimal, not a float")
    made = id if id is not None else str(uuid4())
    much: dict[str, Any] = {"data": data, "type": type} if data is not None else {"units": units}
    if credits is not None:
        much = {"credits": f"{Decimal(credits):f}"}
    return Wanted(made, user, {**({} if user is None else {"user": user}), **much, "ttl_s": ttl_s, "id": made})


def usage(hold_id: str, user: str | None, data: Mapping[str, Any], type: str, source: str, id: str | None) -> Usage:
    """Usage of a hold, as a CloudEvent. It says no time: settled, it counts when its hold was granted, else when it comes."""
    event = {"specversion": "1.0", "id": id or hold_id, "source": source, "type": type, "data": dict(data)}
    return Usage(hold_id, event if user is None else {**event, "subject": user})


def _is_answer(response: Response) -> bool:
    """Whether it is for the caller, not a trouble that may pass. A 429 that refuses no limit is a throttle on the way."""
    if response.status == _TOO_MANY_REQUESTS:
        return "allowance" in response.shape
    return response.status < 500


def _unless_rejected(response: Response, method: str) -> Response:
    ok = 200 <= response.status < 300 or response.status == _TOO_MANY_REQUESTS
    if ok or method == "DELETE":
        return response
    shape = response.shape
    detail = shape.get("detail") or shape.get("title") or "no reason was given"
    raise Rejected(response.status, str(detail)[:_DETAIL_CHARACTERS_MAX])


def _pause_s(response: Response | None, tried: int) -> float:
    said = response.headers.get("retry-after", "") if response else ""
    if _SECONDS.fullmatch(said):
        return float(said)
    return FIRST_PAUSE_S * 2.0 ** (tried - 1)


def _read_refusal(response: Response, shape: Mapping[str, Any]) -> LimitReached:
    headers = {name: response.headers[name.lower()] for name in _RELAYED if name.lower() in response.headers}
    said = headers.get("Retry-After", "")
    retry_after_s = int(said) if _SECONDS.fullmatch(said) else None
    return LimitReached(str(shape["detail"]), read_allowance(shape["allowance"]), retry_after_s, headers, response.body)


def _read_settled(response: Response) -> Settled:
    if response.status == _NO_CONTENT:  # What /events answers when everything is on disk.
        return Settled("recorded", None, None)
    shape = response.shape
    try:
        return Settled(str(shape["state"]), read_amount(shape["charged"]), read_allowance(shape["allowance"]))
    except _NOT_OURS:
        raise Unreachable(_STRANGER) from None
