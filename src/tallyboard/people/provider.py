"""The OpenID provider over the network: what it says of itself, its keys, a code for a token, what it knows of somebody.

Whatever comes from there is bounded: its size, how long it takes, how many sign-ins wait for it at once. What was read is remembered
for an hour, a failure for seconds. Only https is spoken, or to this machine; no redirect is followed, no cookie kept.
Sources: OpenID Connect Core 1.0 and Discovery 1.0; RFC 6749, 7636 (PKCE), 9207 (`iss`).
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import monotonic
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import httpx
import msgspec
from authlib.oauth2 import OAuth2Client, OAuth2Error
from joserfc.jwk import KeySet
from msgspec import Struct

from tallyboard.people import directory, id_token, members
from tallyboard.people.id_token import Claims, UnknownKey
from tallyboard.people.identity import Identity, NotLetIn, Why
from tallyboard.people.journey import Journey
from tallyboard.settings import OpenId, is_private

ANSWER_BYTES_MAX = 1_048_576
ANSWER_SECONDS_MAX = 10.0
SILENCE_SECONDS_MAX = 5.0
ASKING_MAX = 8
REMEMBERED_SECONDS = 3_600.0
FAILURE_SECONDS = 10.0
ROTATION_SECONDS = 30.0
"""Keys that were just read again because one was unknown are not read again at once."""

Value = TypeVar("Value")


class Metadata(Struct, frozen=True):
    """What a provider says of itself, as far as it matters here."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Provider:
    """The one provider that the settings name. Threads may use it at the same time."""

    def __init__(self, wanted: OpenId) -> None:
        self.wanted = wanted
        logging.getLogger("httpx").setLevel(logging.WARNING)  # It would tell every request.
        self._turns = threading.BoundedSemaphore(ASKING_MAX)
        self._http = httpx.Client(timeout=SILENCE_SECONDS_MAX, cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])))
        self._metadata = _Remembered(self._read_metadata)
        self._keys = _Remembered(self._read_keys)

    def check(self) -> None:
        """NotLetIn where the provider cannot be asked, or its answers are of no use."""
        with self._turn():
            self._keys.get()

    def address(self, journey: Journey, answer_at: str) -> str:
        """Where a browser goes to sign in; it comes back to `answer_at`. NotLetIn where the provider cannot be asked."""
        with self._turn():
            found = self._metadata.get()
        address, _ = self._client(found, answer_at).create_authorization_url(
            found.authorization_endpoint, state=journey.state, nonce=journey.nonce, code_verifier=journey.verifier
        )
        return str(address)

    def check_issuer(self, named: str | None) -> None:
        """NotLetIn where the answer's `iss` is another's, or missing although this provider always sends it: it came from elsewhere."""
        with self._turn():
            promised = self._metadata.get().authorization_response_iss_parameter_supported
        if named != self.wanted.issuer and (promised or named is not None):
            raise NotLetIn(Why.OTHER_ISSUER)

    def identify(self, code: str, journey: Journey, answer_at: str, now_s: int) -> Identity:
        """Who came back with this code; NotLetIn where that cannot be known."""
        with self._turn():
            found = self._metadata.get()
            granted = self._exchange(found, code, journey, answer_at)
            claims = self._verify(str(granted.get("id_token") or ""), journey.nonce, now_s)
            if found.userinfo_endpoint and not self._tells_enough(claims):
                claims = _joined(claims, self._userinfo(found, str(granted.get("access_token") or "")))
        email = claims.get("email")
        plain = members.plain(email) if isinstance(email, str) else ""
        return Identity(
            self.wanted.issuer,
            claims["sub"],
            plain if directory.is_email(plain) else "",
            _is_verified(claims),
            _has(claims.get(self.wanted.admin_claim), self.wanted.admin_values) if self.wanted.admin_claim else None,
        )

    def close(self) -> None:
        """Close what is open to it."""
        self._http.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One of the few that ask at the same time: however slow it is, it keeps no more threads than these."""
        if not self._turns.acquire(blocking=False):
            raise NotLetIn(Why.PROVIDER_AWAY, "too many sign-ins are waiting for it")
        try:
            yield
        finally:
            self._turns.release()

    def _client(self, found: Metadata, answer_at: str) -> Any:
        methods = found.token_endpoint_auth_methods_supported
        by_post = "client_secret_basic" not in methods and "client_secret_post" in methods
        return OAuth2Client(
            session=_Session(self._ask),
            client_id=self.wanted.client_id,
            client_secret=self.wanted.client_secret or None,
            token_endpoint_auth_method="client_secret_post" if by_post and self.wanted.client_secret else None,
            scope=self.wanted.scopes,
            redirect_uri=answer_at,
            code_challenge_method="S256",
        )

    def _exchange(self, found: Metadata, code: str, journey: Journey, answer_at: str) -> Mapping[str, Any]:
        client = self._client(found, answer_at)
        try:
            granted: Mapping[str, Any] = client.fetch_token(found.token_endpoint, code=code, code_verifier=journey.verifier)
        except OAuth2Error as error:
            raise NotLetIn(Why.PROVIDER_WRONG, f"it refused the code: {str(error.error)[:60]}") from None
        except httpx.HTTPStatusError as error:
            raise NotLetIn(Why.PROVIDER_AWAY, f"its token endpoint answers {error.response.status_code}") from None
        except ValueError:
            raise NotLetIn(Why.PROVIDER_WRONG, "its token endpoint answers what makes no sense") from None
        return granted

    def _verify(self, token: str, nonce: str, now_s: int) -> Claims:
        """The claims of a token. Where its key is unknown the keys may have been rotated: they are read once more."""
        wanted = self.wanted
        try:
            return id_token.read(token, self._keys.get(), wanted.issuer, wanted.client_id, nonce, now_s)
        except UnknownKey:
            pass
        try:
            return id_token.read(token, self._keys.get_newer(), wanted.issuer, wanted.client_id, nonce, now_s)
        except UnknownKey:
            raise NotLetIn(Why.TOKEN_WRONG, "it is signed by a key that the provider does not show") from None

    def _tells_enough(self, claims: Claims) -> bool:
        return bool(claims.get("email")) and (not self.wanted.admin_claim or self.wanted.admin_claim in claims)

    def _userinfo(self, found: Metadata, access_token: str) -> Claims:
        answer = self._ask("GET", found.userinfo_endpoint, {"Accept": "application/json", "Authorization": f"Bearer {access_token}"})
        return _decoded(answer, "userinfo", dict[str, Any])

    def _read_metadata(self) -> Metadata:
        issuer = self.wanted.issuer
        answer = self._ask("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration", {"Accept": "application/json"})
        found = _decoded(answer, "discovery", Metadata)
        if found.issuer != issuer:
            raise NotLetIn(Why.PROVIDER_WRONG, f"it calls itself {found.issuer[:80]}, not as TALLYBOARD_OPENID_ISSUER says")
        for address in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri, found.userinfo_endpoint):
            if address and not (address.startswith("https://") or (issuer.startswith("http://") and is_private(address))):
                raise NotLetIn(Why.PROVIDER_WRONG, f"it wants to be asked without https at {address[:80]}")
        return found

    def _read_keys(self) -> KeySet:
        answer = self._ask("GET", self._metadata.get().jwks_uri, {"Accept": "application/json"})
        if answer.status_code != httpx.codes.OK:
            raise NotLetIn(Why.PROVIDER_AWAY, f"its keys answer {answer.status_code}")
        return id_token.read_keys(answer.content)

    def _ask(self, method: str, address: str, headers: Mapping[str, str], content: bytes | None = None) -> httpx.Response:
        """One bounded request. What it answers is taken as it is: a compressed answer was not asked for, and makes no sense."""
        body, ends = bytearray(), monotonic() + ANSWER_SECONDS_MAX
        try:
            with self._http.stream(method, address, headers={"Accept-Encoding": "identity", **headers}, content=content) as answer:
                for part in answer.iter_raw():
                    body += part
                    if len(body) > ANSWER_BYTES_MAX:
                        raise NotLetIn(Why.PROVIDER_WRONG, "it answers more than 1 MiB")
                    if monotonic() > ends:
                        raise NotLetIn(Why.PROVIDER_AWAY, f"it has not answered within {ANSWER_SECONDS_MAX:g} seconds")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotLetIn(Why.PROVIDER_AWAY, f"it cannot be reached: {type(error).__name__}") from None
        return httpx.Response(answer.status_code, content=bytes(body), request=answer.request)


class _Session:
    """What Authlib sends its requests by."""

    def __init__(self, ask: Callable[[str, str, Mapping[str, str], bytes], httpx.Response]) -> None:
        self._ask = ask

    def post(self, address: str, data: Mapping[str, str], headers: Mapping[str, str], auth: Any) -> httpx.Response:
        """A form, with what shows who the client is."""
        address, headers, content = auth.prepare("POST", address, dict(headers), urlencode(data))
        return self._ask("POST", address, headers, content.encode())


class _Remembered(Generic[Value]):
    """Something read from the provider. One thread reads, the others wait for it: for its failure, too."""

    def __init__(self, read: Callable[[], Value]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._value: Value | None = None
        self._failure: NotLetIn | None = None
        self._until = 0.0
        self._newer_from = 0.0

    def get(self) -> Value:
        """What was read within the hour; NotLetIn where it cannot be read, or could not be a moment ago."""
        with self._lock:
            return self._get()

    def get_newer(self) -> Value:
        """What can be read now, unless that was asked a moment ago."""
        with self._lock:
            if monotonic() >= self._newer_from:
                self._newer_from = monotonic() + ROTATION_SECONDS
                self._until = 0.0
            return self._get()

    def _get(self) -> Value:
        if monotonic() >= self._until:
            try:
                self._value, self._failure = self._read(), None
                self._until = monotonic() + REMEMBERED_SECONDS
            except NotLetIn as error:
                self._value, self._failure = None, error
                self._until = monotonic() + FAILURE_SECONDS
        if self._failure is not None:
            raise NotLetIn(self._failure.why, self._failure.detail)
        assert self._value is not None
        return self._value


def _decoded(answer: httpx.Response, what: str, kind: type[Value]) -> Value:
    """A JSON answer; NotLetIn where it is none, or none of this kind."""
    if answer.status_code != httpx.codes.OK:
        why = Why.PROVIDER_AWAY if answer.is_server_error else Why.PROVIDER_WRONG
        raise NotLetIn(why, f"its {what} answers {answer.status_code}")
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise NotLetIn(Why.PROVIDER_WRONG, f"its {what} answers what makes no sense") from None


def _joined(claims: Claims, userinfo: Claims) -> Claims:
    """A token's claims with what userinfo adds. It must be about the same person, and vouches only for the email that it names itself."""
    if userinfo.get("sub") != claims["sub"]:
        raise NotLetIn(Why.TOKEN_WRONG, "userinfo is about somebody else")
    about_email = {"email", "email_verified", "xms_edov"} if claims.get("email") else set()
    return {**{name: value for name, value in userinfo.items() if name not in about_email}, **claims}


def _is_verified(claims: Claims) -> bool:
    """Whether the provider vouches for the email; Entra ID says it by a claim of its own, and some say it by a word."""
    return any(claims.get(name) in {True, "true", "1"} for name in ("email_verified", "xms_edov") if _is_plain(claims.get(name)))


def _has(told: object, wanted: frozenset[str]) -> bool:
    """Whether a claim, one value or a list of them, names one of those that are wanted."""
    listed = told if isinstance(told, list) else [told]
    return any((str(each).lower() if isinstance(each, bool) else str(each)) in wanted for each in listed if _is_plain(each))


def _is_plain(value: object) -> bool:
    return isinstance(value, str | bool | int)
