"""POST /api/v1/litellm, for LiteLLM's generic logger. Plain ASGI in front of the framework: these bodies are as large as conversations.

LiteLLM sends a batch once and forgets it, so what is good of one is always taken; the answer lists the rest.
"""

import asyncio
from collections.abc import Mapping

import orjson
from litestar.types import HTTPScope, Receive, Send
from msgspec import Struct, structs

from tallyboard import clock
from tallyboard.app import App, Caller
from tallyboard.intake import litellm
from tallyboard.intake.accept import Accepted, accept
from tallyboard.intake.cloudevents import BadBody
from tallyboard.ledger.contract import Batch
from tallyboard.people.keys import Scope as KeyScope
from tallyboard.web import body, metrics, problems, raw, taken
from tallyboard.web.security import caller, off_loop

PATH = "/api/v1/litellm"


class _Read(Struct, frozen=True):
    """What a request's records became; `skipped` are those that are no usage."""

    accepted: Accepted
    skipped: int


async def answer(app: App, scope: HTTPScope, receive: Receive, send: Send) -> None:
    """Answer a request to PATH."""
    try:
        if scope["method"] != "POST":
            raise problems.with_status(405, "LiteLLM sends with POST", {"Allow": "POST"})
        content = await _take(app, raw.headers_of(scope), receive)
    except Exception as error:  # noqa: BLE001  The framework's net is behind us here.
        await raw.answer_problem(send, error)
        return
    await raw.answer(send, 200, content, {"Content-Type": "application/json"})


async def _take(app: App, headers: Mapping[str, str], receive: Receive) -> bytes:
    """The way of a request: who sends, what, what of it is usage, is it on disk."""
    now_us = clock.now_us()
    who = await off_loop(app, lambda: caller(app, headers.get("authorization"), (KeyScope.INGEST,), now_us))
    content = await body.read(headers, receive)
    with taken.noting_refusal(app, who):
        if len(content) <= body.INLINE_BYTES_MAX:
            read = _read(headers, content, who, now_us)
        else:  # Few records and much text, which is passed over quickly: a thread will do.
            read = await asyncio.to_thread(_read, headers, content, who, now_us)
    accepted = read.accepted
    taken.note_refused(app, who, accepted.refused)
    outcome = await asyncio.wrap_future(app.ledger.append(Batch(who.key.account_id, accepted.entries, now_us, who.key.actor)))
    metrics.taken(outcome)
    return orjson.dumps({**taken.representation(outcome, accepted.refused), "skipped": read.skipped})


def _read(headers: Mapping[str, str], content: bytes, who: Caller, now_us: int) -> _Read:
    try:
        records = litellm.decode(headers, content)
    except BadBody as bad:
        raise problems.with_status(bad.status, bad.detail) from None
    places = [index for index, record in enumerate(records) if record is not None]
    accepted = accept([record for record in records if record is not None], who.sender, who.charger, now_us)
    refused = tuple(structs.replace(refusal, index=places[refusal.index]) for refusal in accepted.refused)
    return _Read(Accepted(accepted.entries, refused), len(records) - len(places))
