"""Who calls, what every answer carries, and the guard against forged forms."""

import asyncio
from collections.abc import Callable, Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import Any, TypeVar

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from tallyboard.app import App, Caller
from tallyboard.people import keys, members, sessions
from tallyboard.people.keys import Scope as KeyScope
from tallyboard.people.members import Member, Role
from tallyboard.settings import Settings
from tallyboard.web.problems import Problem, unauthorized, with_status

Result = TypeVar("Result")

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    b"content-security-policy": CONTENT_POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
    b"cache-control": b"no-store",
}
STRICT_TRANSPORT = {b"strict-transport-security": b"max-age=31536000"}
"""Browsers come by https alone for a year. Not for subdomains: they are not ours to speak for."""
DATA_HEADERS = {
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"cache-control": b"no-store",
}
"""For answers of the doors in front of the framework: they are data, never a page."""
_FOR_MACHINES = ("/healthz", "/readyz", "/metrics", "/assets/", "/api/docs/")
"""Whoever watches over processes calls them by whatever address they have; nobody's data is behind these."""
SESSION_COOKIE = "tallyboard_session"
SECURE_SESSION_COOKIE = "__Host-tallyboard_session"
VISIT_COOKIE = "tallyboard_visit"
SECURE_VISIT_COOKIE = "__Host-tallyboard_visit"
"""Before there is a session, forms are bound to this one, so that nobody else can sign a browser in."""
JOURNEY_COOKIE = "tallyboard_journey"
SECURE_JOURNEY_COOKIE = "__Host-tallyboard_journey"
"""What a browser keeps on its way to the provider and back (people/journey.py)."""


def with_headers(app: ASGIApp, settings: Settings) -> ASGIApp:
    """The application, with the security headers on every answer. Nothing is stored on its way that does not say that it may be."""
    headers = {**HEADERS, **(STRICT_TRANSPORT if settings.secure else {})}

    async def entry(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                added = [(name, value) for name, value in headers.items() if name not in present]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await app(scope, receive, send_with_headers)

    return entry


def check_host(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """What a browser's session opens answers only under names of ours, so that no other site can take the place of this one's by DNS.

    A request with an API key is not concerned: a browser never adds one by itself.
    """
    if "authorization" in connection.headers or connection.scope["path"].startswith(_FOR_MACHINES):
        return
    settings: Settings = connection.app.state.app.settings
    named = connection.headers.get("host", "")
    if _without_port(named) not in settings.host_names:
        raise with_status(
            421,
            f"Tallyboard does not answer to the name {named[:80]!r}. Whoever runs it can add the name with TALLYBOARD_ALLOWED_HOSTS, "
            "or set TALLYBOARD_PUBLIC_URL to the address that people open",
        )


def _without_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return (name if colon and port.isdecimal() else host.lower()).strip("[]").removesuffix(".")


def caller(app: App, authorization: str | None, scopes: Sequence[KeyScope], now_us: int) -> Caller:
    """Who calls by `Authorization: Bearer tb_…`, with one of these scopes; Problem 401 or 403 where the key is missing, unknown or may not."""
    kind, _, secret = (authorization or "").partition(" ")
    if kind.lower() != "bearer" or not secret.strip():
        raise unauthorized("send an API key: Authorization: Bearer tb_…")
    found = app.caller(secret.strip(), now_us) if secret.strip().startswith(keys.PREFIX) else None
    if found is None:
        raise unauthorized("this API key is unknown, expired or revoked")
    if KeyScope.ADMIN not in found.key.scopes and found.key.scopes.isdisjoint(scopes):
        raise with_status(403, f"this API key lacks the scope {' or '.join(scopes)}")
    return found


async def off_loop(app: App, look_up: Callable[[], Result]) -> Result:
    """A short read from an asynchronous place: here where it costs microseconds, in a thread where a server is asked."""
    return look_up() if app.ledger.quick else await asyncio.to_thread(look_up)


def member(app: App, session_secret: str | None, now_us: int, *, by_hand: bool = False) -> Member | None:
    """The member whose session cookie this is. `by_hand` says that a person asked, not a page that refreshes itself."""
    if not session_secret:
        return None
    with app.ledger.reading() as session:
        found = members.recognize(session, session_secret, now_us, app.settings.session_idle_hours)
        unseen = by_hand and found is not None and sessions.is_unseen(session, session_secret, now_us)
    if unseen:
        app.ledger.change(lambda writing: sessions.see(writing, session_secret, now_us)).result()
    return found


def check_administrator(found: Member) -> None:
    """The pages of the organization are for administrators."""
    if found.role is not Role.ADMIN:
        raise Problem(403, "forbidden", "For administrators", "Only administrators of the account may see this page.")


def form_token(session_secret: str) -> str:
    """What a form must carry to be taken as sent from our own page: bound to the session, useless without it."""
    return sha256(b"form\0" + session_secret.encode()).hexdigest()


def check_form(session_secret: str, token: str) -> None:
    """Refuse a form that some other page sent in the member's name."""
    if not compare_digest(form_token(session_secret).encode(), token.encode("utf-8", "replace")):
        raise with_status(403, "the form is out of date; reload the page and try again")


def check_same_site(fetch_site: str | None) -> None:
    """Refuse what the browser says another site has sent; browsers that say nothing are held by the form's token alone."""
    if fetch_site is not None and fetch_site not in {"same-origin", "none"}:
        raise with_status(403, "the form was sent by another site")


def cookie_name(app: App) -> str:
    """The session cookie; under https its name binds it to this host."""
    return SECURE_SESSION_COOKIE if app.settings.secure else SESSION_COOKIE


def journey_cookie_name(app: App) -> str:
    """The cookie of who is on the way to the provider and back."""
    return SECURE_JOURNEY_COOKIE if app.settings.secure else JOURNEY_COOKIE


def visit_cookie_name(app: App) -> str:
    """The cookie of who has not signed in."""
    return SECURE_VISIT_COOKIE if app.settings.secure else VISIT_COOKIE
