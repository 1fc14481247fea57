"""Asking a provider over the network. Whatever comes from there is bounded: its size, how long it takes, how often it is tried.

Only https is spoken, or to this machine; no redirect is followed, no cookie kept. The key goes into one header and nowhere else; what a
provider says in an error is not repeated, since it may hold the key.
"""

import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from itertools import count
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from msgspec import DecodeError, Struct
from msgspec.json import Decoder, encode

from tallyboard import __version__, clock
from tallyboard.errors import Invalid, ProviderFailed
from tallyboard.intake.cloudevents import exact
from tallyboard.settings import is_private

ANSWER_BYTES_MAX = 64 * 1_048_576
ANSWER_SECONDS_MAX = 120.0
SILENCE_SECONDS_MAX = 30.0
TRIES = 5
"""Of one request that is answered 429 or 5xx, or not at all."""
WAIT_SECONDS_MAX = 60.0
"""The longest wait that a provider may ask for; where it asks for a longer one, the pull ends and says so."""
PAGES_MAX = 5_000
"""Of one pull."""
MINUTE = 60.0

Value = TypeVar("Value")
Parameters = Sequence[tuple[str, str | int]]


class Place(Struct, frozen=True):
    """A provider: what it is called, where it is, the variable that holds its key, the headers that show the key."""

    name: str
    base_url: str
    variable: str
    headers: Mapping[str, str]
    requests_a_minute: int | None = None


class Asker:
    """Asks one provider, one request after the other. A context manager: leaving it closes what is open."""

    def __init__(self, place: Place) -> None:
        if not is_private(place.base_url) or "@" in place.base_url:
            raise Invalid(f"{place.name} is asked by https only, or on this machine by http, and without a name or password in the address")
        self._place = place
        self._left = PAGES_MAX
        self._asked: deque[float] = deque()
        logging.getLogger("httpx").setLevel(logging.WARNING)  # It would tell every request.
        self._http = httpx.Client(
            timeout=SILENCE_SECONDS_MAX,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={
                "User-Agent": f"tallyboard/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                **place.headers,
            },
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def get(self, path: str, parameters: Parameters, decoder: Decoder[Value]) -> Value:
        """What a GET is answered; ProviderFailed where that cannot be had."""
        return self._answer("GET", path, decoder, params=list(parameters))

    def post(self, path: str, body: Any, decoder: Decoder[Value]) -> Value:
        """What a POST of JSON is answered; likewise. It asks and changes nothing, so it may be tried again."""
        return self._answer("POST", path, decoder, content=encode(body), headers={"Content-Type": "application/json"})

    def wrong(self, what: str) -> ProviderFailed:
        """The error that says what of an answer makes no sense."""
        return ProviderFailed(f"{self._place.name} answers what makes no sense: {what}; what came before is counted")

    def _answer(self, method: str, path: str, decoder: Decoder[Value], **sent: Any) -> Value:
        if self._left == 0:
            raise ProviderFailed(f"{self._place.name} has more than {PAGES_MAX:,} pages; what came before is counted. Pull a shorter time")
        self._left -= 1
        for tried in count(1):
            self._take_turn()
            try:
                status, body, asked_s = self._once(method, path, **sent)
            except httpx.InvalidURL:
                raise self.wrong("a next page that cannot be asked for") from None
            except httpx.HTTPError as error:
                trouble, asked_s = f"cannot be reached: {type(error).__name__}", None
            else:
                if status == httpx.codes.OK:
                    return self._decoded(body, path, decoder)
                trouble = self._trouble(status)
            if tried == TRIES:
                raise ProviderFailed(f"{self._place.name} {trouble}, after {TRIES} tries; what came before is counted. Pull again later")
            self._wait(asked_s if asked_s is not None else 2.0 ** (tried - 2), trouble)
        raise AssertionError

    def _once(self, method: str, path: str, **sent: Any) -> tuple[int, bytes, float | None]:
        """One bounded request: status, body, and for how many seconds the provider asks to wait."""
        body, ends = bytearray(), time.monotonic() + ANSWER_SECONDS_MAX
        with self._http.stream(method, self._place.base_url.rstrip("/") + path, **sent) as answer:
            for part in answer.iter_raw():
                body += part
                if len(body) > ANSWER_BYTES_MAX:
                    raise self.wrong(f"more than {ANSWER_BYTES_MAX // 1_048_576} MiB at once")
                if time.monotonic() > ends:
                    raise httpx.ReadTimeout("too slow")
        return answer.status_code, bytes(body), _seconds(answer.headers.get("Retry-After"))

    def _trouble(self, status: int) -> str:
        """What is the matter where trying again may help; ProviderFailed where it does not."""
        if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            return f"answers {status}"
        name, variable = self._place.name, self._place.variable
        if status == httpx.codes.UNAUTHORIZED:
            raise ProviderFailed(f"{name} does not know the key (401): look at {variable}")
        if status == httpx.codes.FORBIDDEN:
            raise ProviderFailed(f"{name} does not let the key read usage (403): look at what {variable} may do")
        raise ProviderFailed(f"{name} answers {status}; what came before is counted")

    def _decoded(self, body: bytes, path: str, decoder: Decoder[Value]) -> Value:
        try:
            return decoder.decode(body)
        except (DecodeError, ValueError, RecursionError):  # Among them a validation error, whose text may repeat what was answered.
            raise self.wrong(f"{path} is not the JSON that is expected") from None

    def _take_turn(self) -> None:
        """Wait until one more request in this minute is allowed."""
        most = self._place.requests_a_minute
        if most is None:
            return
        if len(self._asked) == most:
            time.sleep(max(self._asked.popleft() + MINUTE - time.monotonic(), 0.0))
        self._asked.append(time.monotonic())

    def _wait(self, seconds: float, trouble: str) -> None:
        if seconds > WAIT_SECONDS_MAX:
            raise ProviderFailed(
                f"{self._place.name} {trouble} and asks to be left alone for {seconds:,.0f} seconds; what came before is counted. "
                "Pull again later"
            )
        time.sleep(seconds)


def decoder(kind: type[Value]) -> Decoder[Value]:
    """Reads answers of a kind. Numbers with decimals stay exact."""
    return Decoder(kind, float_hook=exact)


def _seconds(header: str | None) -> float | None:
    """What Retry-After says, in seconds from now on; None where it says nothing that can be read."""
    if header is None:
        return None
    if header.strip().isdecimal() and header.isascii():
        return float(header.strip()[:9])
    try:
        return max(parsedate_to_datetime(header).timestamp() - clock.now_us() / 1_000_000, 0.0)
    except (ValueError, OverflowError):
        return None
