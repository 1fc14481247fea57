"""The doors of SCIM 2.0 under /scim/v2, in front of the framework: identity providers expect another shape of errors than everybody else.

The library that knows the shapes takes long to load and most installations never need it: the first request loads it.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send
from msgspec import Struct

from tallyboard.app import App
from tallyboard.web import body, problems, raw

if TYPE_CHECKING:
    from tallyboard.web.scim_answers import Answer

PREFIX = "/scim/v2"
BODY_BYTES_MAX = 131_072
QUERY_FIELDS_MAX = 20
MEDIA_TYPE = "application/scim+json"


class Ask(Struct, frozen=True):
    """A request: the parts of the path behind the prefix, the query, the body, and where the server is reached."""

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    content: bytes
    address: str


def with_scim(app: App, framework: ASGIApp) -> ASGIApp:
    """The application, with the doors of SCIM in front of it."""

    async def entry(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or not f"{scope['path']}/".startswith(f"{PREFIX}/"):
            await framework(scope, receive, send)
            return
        answer = await _answer(app, scope, receive)
        await raw.answer(send, answer.status, answer.content, {"Content-Type": MEDIA_TYPE, **answer.headers})

    return entry


async def _answer(app: App, scope: HTTPScope, receive: Receive) -> "Answer":
    """In a thread, also because of what is loaded there."""
    try:
        ask = await _read(app, scope, receive)
    except Exception as error:  # noqa: BLE001  The framework's net is not in front of us.
        return await asyncio.to_thread(_refuse, error)
    return await asyncio.to_thread(_work, app, ask)


def _work(app: App, ask: Ask) -> "Answer":
    from tallyboard.web import scim_answers  # noqa: PLC0415  See above.

    return scim_answers.answer(app, ask)


def _refuse(error: Exception) -> "Answer":
    from tallyboard.web import scim_answers  # noqa: PLC0415  Likewise.

    return scim_answers.of_error(error)


async def _read(app: App, scope: HTTPScope, receive: Receive) -> Ask:
    headers = raw.headers_of(scope)
    content = await body.received(receive, BODY_BYTES_MAX)
    if headers.get("content-encoding", "identity") != "identity":
        raise problems.with_status(415, "send the body as it is, without Content-Encoding")
    given = scope["raw_path"].decode("latin-1").removeprefix(PREFIX)
    try:
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX))
    except ValueError:
        raise problems.with_status(400, f"a query has at most {QUERY_FIELDS_MAX} fields") from None
    address = app.settings.public_url or f"{scope['scheme']}://{headers.get('host', '')}"
    path = tuple(unquote(part) for part in given.split("/") if part)
    return Ask(scope["method"], path, query, headers, content, address + PREFIX)
