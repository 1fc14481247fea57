"""GET /api/v1/usage and /api/v1/stream: the answer the page shows, and when it changed."""

from hashlib import sha256
from typing import Annotated

from litestar import MediaType, Request, Response, get
from litestar.datastructures import State
from litestar.params import QueryParameter
from litestar.response import ServerSentEvent, Stream

from tallyboard import clock
from tallyboard.app import App
from tallyboard.people import accounts
from tallyboard.people.keys import Scope
from tallyboard.usage import asked, export
from tallyboard.web import security
from tallyboard.web.live import Streams
from tallyboard.web.problems import Problem, unauthorized

CACHE = "private, no-cache"


def etag(*parts: object) -> str:
    """A weak entity tag: the same parts, the same figures (complete_through alone moves on)."""
    return f'W/"{sha256(repr(parts).encode()).hexdigest()[:32]}"'


@get("/api/v1/usage", sync_to_thread=True)
def get_usage(
    request: Request[None, None, State],
    window: str | None = None,
    first: Annotated[str | None, QueryParameter(name="from")] = None,
    last: Annotated[str | None, QueryParameter(name="to")] = None,
    user: str | None = None,
    top: str | None = None,
    timezone: str | None = None,
) -> Response[bytes] | Stream:
    """Days, users, Others and totals of a window or a range of account days, as JSON or CSV."""
    app: App = request.app.state.app
    now_us = clock.now_us()
    key = security.caller(app, request.headers.get("authorization"), (Scope.READ,), now_us).key
    as_csv = request.headers.get("accept", "").split(",")[0].split(";")[0].strip() == "text/csv"
    with app.ledger.reading() as session:
        tag = etag(key.account_id, accounts.state(session, key.account_id, now_us), as_csv, window, first, last, user, top, timezone)
        headers = {"ETag": tag, "Cache-Control": CACHE, "Vary": "Accept, Authorization"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(b"", status_code=304, headers=headers)
        report = asked.ask(session, key.account_id, now_us, window=window, first=first, last=last, user=user, top=top, timezone=timezone)
    if as_csv:
        return Stream(export.csv_text(report), media_type=export.CSV_TYPE, headers=headers)
    return Response(export.json(report), media_type=MediaType.JSON, headers=headers)


@get("/api/v1/stream")
async def get_stream(request: Request[None, None, State], since: str | None = None) -> ServerSentEvent:
    """An event whenever the answer may have changed, for a signed-in administrator or a key with the scope read."""
    app: App = request.app.state.app
    authorization = request.headers.get("authorization")
    cookie = request.cookies.get(security.cookie_name(app))

    def account() -> int | None:
        now_us = clock.now_us()
        if authorization:
            return security.caller(app, authorization, (Scope.READ,), now_us).key.account_id
        member = security.member(app, cookie, now_us)
        if member is None:
            return None
        security.check_administrator(member)
        return member.account_id

    def still_allowed() -> bool:
        try:
            return account() is not None
        except Problem:
            return False

    account_id = await security.off_loop(app, account)
    if account_id is None:
        raise unauthorized("sign in, or send an API key with the scope read")
    known = request.headers.get("last-event-id") or since or ""
    streams: Streams = request.app.state.streams
    streams.check_room()
    return ServerSentEvent(streams.follow(account_id, known, still_allowed), headers={"Cache-Control": "no-store"})
