"""The doors for OpenTelemetry: /v1/traces, /v1/logs and /v1/metrics, as plain ASGI functions in front of the framework.

They answer in the content type of the request. A client drops what is answered 4xx or 500 and sends again what is
answered 503, so everything that passes is a 503 with a short Retry-After.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus

from litestar.types import HTTPScope, Receive, Send

from tallyboard import clock
from tallyboard.app import App, Caller
from tallyboard.intake import counting
from tallyboard.intake.accept import accept
from tallyboard.intake.cloudevents import BadBody
from tallyboard.intake.counting import From
from tallyboard.intake.event import Refusal
from tallyboard.intake.otlp import request
from tallyboard.intake.otlp.usage import Signal
from tallyboard.intake.worker import Question
from tallyboard.ledger.contract import Batch
from tallyboard.people.keys import Scope as KeyScope
from tallyboard.web import body, metrics, problems, raw, taken
from tallyboard.web.security import caller, off_loop

PATHS = {f"/v1/{signal}": signal for signal in (Signal.TRACES, Signal.LOGS, Signal.METRICS)}
_NAMES = {Signal.TRACES: "span", Signal.LOGS: "log record", Signal.METRICS: "data point"}


async def answer(app: App, scope: HTTPScope, receive: Receive, send: Send) -> None:
    """Answer a request to one of PATHS."""
    encoding, headers = request.JSON, {}
    try:
        if scope["method"] != "POST":
            raise problems.with_status(405, "OTLP is sent with POST", {"Allow": "POST"})
        headers = raw.headers_of(scope)
        encoding = _encoding(headers)
        content = await _take(app, PATHS[scope["path"]], headers, encoding, receive)
    except Exception as error:  # noqa: BLE001  The framework's net is behind us here.
        await _answer_failure(send, error, encoding)
        return
    await raw.answer(send, 200, content, {"Content-Type": encoding})


async def _answer_failure(send: Send, error: Exception, encoding: str) -> None:
    problem = problems.of(error)
    metrics.log_trouble(error, problem.status)
    # A body that comes too slowly may come in time when it is sent again.
    status = 503 if problem.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT} else problem.status
    retry = {"Retry-After": str(problems.RETRY_SECONDS)} if status == 503 else {}
    content = request.failure(encoding, status, problem.detail)
    await raw.answer(send, status, content, {"Content-Type": encoding, **retry, **problem.headers})


def _encoding(headers: Mapping[str, str]) -> str:
    try:
        return request.media_type(headers)
    except BadBody as bad:
        raise problems.with_status(bad.status, bad.detail) from None


async def _take(app: App, signal: Signal, headers: Mapping[str, str], encoding: str, receive: Receive) -> bytes:
    """The way of a request: who sends, what, what of it is usage, is it on disk."""
    now_us = clock.now_us()
    who = await off_loop(app, lambda: caller(app, headers.get("authorization"), (KeyScope.INGEST,), now_us))
    content = await body.read(headers, receive)
    with taken.noting_refusal(app, who):
        batch, refused = await _understood(app, signal, headers, content, who, now_us)
    taken.note_refused(app, who, refused)
    outcome = await asyncio.wrap_future(app.ledger.append(batch))
    metrics.taken(outcome)
    return request.success(signal, encoding, len(refused), _message(signal, refused, outcome.unrated))


async def _understood(app: App, signal: Signal, headers: Mapping[str, str], content: bytes, who: Caller, now_us: int) -> taken.Understood:
    """What is to be kept, and what is refused."""
    if signal is not Signal.METRICS:
        return await _accept(app, signal, headers, content, who, now_us)
    origin = From(who.key.account_id, who.key.actor, who.sender, who.charger, now_us)
    if len(content) <= body.INLINE_BYTES_MAX:
        return _count_here(headers, content, origin)
    return await asyncio.to_thread(_count_here, headers, content, origin)


def _count_here(headers: Mapping[str, str], content: bytes, origin: From) -> taken.Understood:
    try:
        return counting.batch(request.decode_metrics(headers, content), origin)
    except BadBody as bad:
        raise problems.with_status(bad.status, bad.detail) from None


async def _accept(app: App, signal: Signal, headers: Mapping[str, str], content: bytes, who: Caller, now_us: int) -> taken.Understood:
    if len(content) <= body.INLINE_BYTES_MAX:
        return _accept_here(signal, headers, content, who, now_us)
    about = {"content-type": headers["content-type"]}
    question = Question(about, content, who.sender, who.charger.card.text, now_us, signal)
    return await taken.by_worker(app, who, question, partial(_accept_here, signal, headers, content, who, now_us))


def _accept_here(signal: Signal, headers: Mapping[str, str], content: bytes, who: Caller, now_us: int) -> taken.Understood:
    try:
        items = request.decode(signal, headers, content)
    except BadBody as bad:
        raise problems.with_status(bad.status, bad.detail) from None
    accepted = accept(items, who.sender, who.charger, now_us)
    return Batch(who.key.account_id, accepted.entries, now_us, who.key.actor), accepted.refused


def _message(signal: Signal, refused: tuple[Refusal, ...], unrated: int) -> str:
    """What the sender should know: why something was refused, or that it is counted at nothing. Empty where all is well."""
    if refused:
        return f"{_number(len(refused), signal)} refused, the first because: {refused[0].detail}"
    if unrated:
        return (
            f"{_number(unrated, signal)} kept as unrated: no tokens are stated (streams need stream_options.include_usage), "
            "or no meter of the rate card prices them"
        )
    return ""


def _number(count: int, signal: Signal) -> str:
    return f"{count:,} {_NAMES[signal]}{'s were' if count > 1 else ' was'}"
