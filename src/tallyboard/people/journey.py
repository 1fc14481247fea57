"""A way to the provider and back: what one browser keeps of it, for ten minutes, in a cookie.

The cookie holds when it began, a secret, and where to arrive. Whatever else the protocol needs is a hash of all of that: `state`, which
comes back with the answer and is known to nobody who has not this cookie; `nonce`, which the token repeats; the verifier of PKCE, without
which the code is of no use (RFC 7636). So nothing is written down for who only begins, and each fits this one journey.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from hmac import compare_digest

from msgspec import Struct

from tallyboard.people import secrets

MINUTES = 10
PATH_CHARACTERS_MAX = 512
_SECOND_US = 1_000_000
_AGE_US_MAX = MINUTES * 60 * _SECOND_US
_COOKIE = re.compile(r"(\d{1,12})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{0,700})", re.ASCII)
_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9._~/?&=%+:@,;-]*", re.ASCII)
_NO_ARRIVAL = ("/sign-", "/invitation", "/set-up")


class Journey(Struct, frozen=True):
    """One journey, by what the browser keeps of it."""

    cookie: str
    began_us: int
    arrival: str
    """A path of ours, "" for where a member arrives anyway."""

    @property
    def state(self) -> str:
        """What comes back with the answer."""
        return self._hashed("state")

    @property
    def nonce(self) -> str:
        """What the token repeats."""
        return self._hashed("nonce")

    @property
    def verifier(self) -> str:
        """What the code's hash was made of: PKCE."""
        return self._hashed("verifier")

    @property
    def ends_us(self) -> int:
        """From then on it leads nowhere."""
        return self.began_us + _AGE_US_MAX

    def is_of(self, state: str) -> bool:
        """Whether an answer with this state belongs to it."""
        return compare_digest(self.state.encode(), state.encode("utf-8", "replace"))

    def _hashed(self, purpose: str) -> str:
        return sha256(f"{purpose}\0{self.cookie}".encode()).hexdigest()


def begin(arrival: str, now_us: int) -> Journey:
    """A new journey, which ends at a path of ours."""
    path = urlsafe_b64encode(local(arrival).encode()).decode().rstrip("=")
    began_s = now_us // _SECOND_US
    return Journey(f"{began_s}.{secrets.make()}.{path}", began_s * _SECOND_US, local(arrival))


def of_cookie(cookie: str, now_us: int) -> Journey | None:
    """The journey that a browser is on, None where there is none or it has taken too long."""
    parts = _COOKIE.fullmatch(cookie)
    if parts is None:
        return None
    try:
        arrival = urlsafe_b64decode(parts[3] + "=" * (-len(parts[3]) % 4)).decode()
    except ValueError:
        return None
    journey = Journey(cookie, int(parts[1]) * _SECOND_US, local(arrival))
    return journey if journey.began_us <= now_us < journey.ends_us else None


def local(path: str) -> str:
    """A path on this server as it is, "" for everything else: another site's address, however it is written, or a page that leads away."""
    fits = len(path) <= PATH_CHARACTERS_MAX and _PATH.fullmatch(path) is not None
    return path if fits and path != "/" and not path.startswith(_NO_ARRIVAL) else ""
