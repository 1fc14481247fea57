"""Requests and answers without the framework: for the doors that are knocked at most."""

from collections.abc import Mapping
from urllib.parse import unquote

from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, HTTPScope, Scope, Send

from tallyboard.web import metrics, problems, security


def headers_of(scope: HTTPScope) -> dict[str, str]:
    """Headers by lower-case name; Problem 400 where one of ours is said twice, which leaves open which counts."""
    lines = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
    headers = dict(lines)
    if len(headers) < len(lines):
        names = [name for name, _ in lines]
        ours = ("ce-", "content-", "authorization", "x-tallyboard-")
        twice = next((name for name in names if names.count(name) > 1 and name.startswith(ours)), None)
        if twice:
            raise problems.with_status(400, f"the header {twice} is there twice")
    return headers


def rest_of_path(scope: Scope, prefix: str, found: str) -> str:
    """What an address says behind a prefix, to the letter. `found` is what the framework makes of it: of two slashes one, of the last none."""
    given = scope["raw_path"].decode("latin-1")
    return unquote(given.removeprefix(f"{prefix}/").removesuffix("/")) if given.startswith(f"{prefix}/") else found.removeprefix("/")


Prepared = tuple[HTTPResponseStartEvent, HTTPResponseBodyEvent]
"""A whole answer, ready to be sent, once or many times."""


def prepared(status: int, content: bytes, headers: Mapping[str, str]) -> Prepared:
    """An answer with the headers that every answer of data carries."""
    lines = [
        *((name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()),
        *security.DATA_HEADERS.items(),
    ]
    if status != 204:
        lines.append((b"content-length", b"%d" % len(content)))
    return (
        HTTPResponseStartEvent(type="http.response.start", status=status, headers=lines),
        HTTPResponseBodyEvent(type="http.response.body", body=content, more_body=False),
    )


async def answer(send: Send, status: int, content: bytes, headers: Mapping[str, str]) -> None:
    """Send a whole answer."""
    for message in prepared(status, content, headers):
        await send(message)


async def answer_problem(send: Send, error: Exception) -> None:
    """The framework's net is behind these doors: here everything that went wrong becomes a problem."""
    problem = problems.of(error)
    metrics.log_trouble(error, problem.status)
    await answer(send, problem.status, problem.body(), {"Content-Type": problems.MEDIA_TYPE, **problem.headers})
