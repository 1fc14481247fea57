"""The hot doors as plain ASGI functions in front of the framework: events here; limits, OpenTelemetry and LiteLLM's records beside.

Small requests are worked off on the event loop; large ones in another process, so that nobody else waits.
"""

import asyncio
from collections.abc import Mapping
from functools import partial

import orjson
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from tallyboard import clock
from tallyboard.app import App, Caller
from tallyboard.intake import cloudevents
from tallyboard.intake.accept import accept
from tallyboard.intake.cloudevents import BadBody
from tallyboard.intake.event import Refusal
from tallyboard.intake.worker import Question
from tallyboard.ledger.contract import Batch
from tallyboard.people.keys import Scope as KeyScope
from tallyboard.web import body, limits, litellm, metrics, otlp, problems, raw, taken
from tallyboard.web.problems import Problem
from tallyboard.web.security import caller, off_loop

EVENTS_PATHS = {"/api/v1/events": 204, "/api/v3/openmeter/events": 202, "/v3/openmeter/events": 202}
"""Where events are taken, and the status that says so: OpenMeter's, of which gateways know the newer."""


def with_lane(app: App, framework: ASGIApp) -> ASGIApp:
    """The framework, with the hot doors in front."""

    async def entry(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            if scope["path"].startswith("/assets/") and "\0" in scope["path"]:  # What looks for such a file stumbles over its name.
                await raw.answer_problem(send, problems.with_status(404, "Nothing is found at this address."))
                return
            if limits.is_for(scope):
                await limits.answer(app, scope, receive, send)
                return
            if scope["path"] in otlp.PATHS:
                await otlp.answer(app, scope, receive, send)
                return
            if scope["path"] == litellm.PATH:
                await litellm.answer(app, scope, receive, send)
                return
            if scope["path"] in EVENTS_PATHS and scope["method"] == "POST":
                await _post_events(app, scope, receive, send)
                return
        await framework(scope, receive, send)

    return entry


async def _post_events(app: App, scope: HTTPScope, receive: Receive, send: Send) -> None:
    try:
        content = await _take(app, raw.headers_of(scope), receive)
    except Exception as error:  # noqa: BLE001  The framework's net is behind us here.
        await raw.answer_problem(send, error)
        return
    if content:
        await raw.answer(send, 200, content, {"Content-Type": "application/json"})
    else:
        await raw.answer(send, EVENTS_PATHS[scope["path"]], b"", {})


async def _take(app: App, headers: Mapping[str, str], receive: Receive) -> bytes:
    """The way of a request: who sends, what, is it good, is it on disk. What is to be told beyond that, nothing where all is well."""
    now_us = clock.now_us()
    who = await off_loop(app, lambda: caller(app, headers.get("authorization"), (KeyScope.INGEST,), now_us))
    content = await body.read(headers, receive)
    with taken.noting_refusal(app, who):
        if len(content) <= body.INLINE_BYTES_MAX:
            batch, refused = _accept(headers, content, who, now_us)
        else:
            batch, refused = await _accept_large(app, headers, content, who, now_us)
    taken.note_refused(app, who, refused)
    prefer = headers.get("prefer", "").replace(" ", "").lower().split(",")
    lenient = "handling=lenient" in prefer
    if refused and not lenient:
        raise _refused(refused, batch.size)
    outcome = await asyncio.wrap_future(app.ledger.append(batch))
    metrics.taken(outcome)
    if "return=representation" in prefer or refused:
        return orjson.dumps(taken.representation(outcome, refused))
    return b""


def _accept(headers: Mapping[str, str], content: bytes, who: Caller, now_us: int) -> taken.Understood:
    try:
        items = cloudevents.decode(headers, content)
    except BadBody as bad:
        raise problems.with_status(bad.status, bad.detail) from None
    accepted = accept(items, who.sender, who.charger, now_us)
    return Batch(who.key.account_id, accepted.entries, now_us, who.key.actor), accepted.refused


async def _accept_large(app: App, headers: Mapping[str, str], content: bytes, who: Caller, now_us: int) -> taken.Understood:
    about = {name: value for name, value in headers.items() if name == "content-type" or name.startswith("ce-")}
    question = Question(about, content, who.sender, who.charger.card.text, now_us)
    return await taken.by_worker(app, who, question, partial(_accept, headers, content, who, now_us))


def _refused(refused: tuple[Refusal, ...], good: int) -> Problem:
    first = refused[0]
    detail = f"event {first.index}: {first.detail}"
    if len(refused) > 1:
        detail += f" ({len(refused):,} events are refused in all)"
    if good:
        detail += "; nothing was stored. Send `Prefer: handling=lenient` to have the good ones taken"
    return Problem(400, "events-refused", "Events were refused", detail, more={"refused": taken.listed(refused)})
