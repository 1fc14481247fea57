"""Requests and answers without the framework: for the doors that are knocked at most."""

from collections.abc import Mapping

from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Scope, Send

from tallyboard.web import metrics, problems


def headers_of(scope: Scope) -> dict[str, str]:
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


async def answer(send: Send, status: int, content: bytes, headers: Mapping[str, str]) -> None:
    """Send a whole answer."""
    lines = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    if status != 204:
        lines.append((b"content-length", b"%d" % len(content)))
    await send(HTTPResponseStartEvent(type="http.response.start", status=status, headers=lines))
    await send(HTTPResponseBodyEvent(type="http.response.body", body=content, more_body=False))


async def answer_problem(send: Send, error: Exception) -> None:
    """The framework's net is behind these doors: here everything that went wrong becomes a problem."""
    problem = problems.of(error)
    metrics.log_trouble(error, problem.status)
    await answer(send, problem.status, problem.body(), {"Content-Type": problems.MEDIA_TYPE, **problem.headers})
