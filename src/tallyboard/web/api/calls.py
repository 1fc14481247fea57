"""Every call of the API: what it takes, who may make it, and what it answers.

Written here, not derived: the doors in front of the framework are unknown to it, and it knows no refusals. Tests hold this table
against the routes, against the scopes that really open a door, and against what a generator of requests gets for answers.
"""

from collections.abc import Mapping, Sequence

from tallyboard.people.keys import Scope
from tallyboard.web.api import openmeter_calls
from tallyboard.web.api.shapes import (
    COUNT,
    DAY,
    INSTANT,
    JSON,
    KEY,
    TEXT,
    UNITS,
    USER,
    Call,
    Schema,
    header,
    in_path,
    known,
    list_of,
    object_of,
    or_null,
    query,
    text,
)
from tallyboard.web.api.users import KeyChoice

_DAYS = list_of(UNITS, description="Units a day, aligned with `days` of the answer.")
_HOLD = in_path("id", "The hold's id, percent-encoded.")
_IF_MATCH = header("If-Match", text(), "The ETag of the state that is changed: 412 where it has passed.")
_NAMES = {"user": text(), "email": or_null(text()), "label": text()}
_TAKEN = {
    "accepted": COUNT,
    "duplicate": COUNT,
    "conflict": COUNT,
    "set_aside": {**COUNT, "description": "Told by another source, or not by the source of record; left out where there is none."},
    "refused": list_of(known("Refused")),
}
_TAKEN_ALWAYS = tuple(name for name in _TAKEN if name != "set_aside")
_AMOUNT_FIELDS = {"credits": text(), "units": UNITS}

SCHEMAS: Mapping[str, Schema] = {
    **openmeter_calls.SCHEMAS,
    "Problem": object_of(
        {"type": text(), "title": text(), "status": {"type": "integer"}, "detail": text()},
        description="RFC 9457. `type` is stable; `detail` says what, where, and how to mend it.",
    ),
    "Refused": object_of({"index": COUNT, "reason": text(), "detail": text()}),
    "Limit": {
        **object_of({"credits": {"type": ["string", "number"]}, "units": COUNT}, required=(), additionalProperties=False),
        "description": "An amount, said once: credits with up to eight decimals, or units.",
    },
    "Event": object_of(
        {
            "specversion": {"const": "1.0"},
            "id": KEY,
            "source": KEY,
            "type": KEY,
            "subject": text(description="The user's key."),
            "time": INSTANT,
            "data": {"type": "object"},
        },
        required=("specversion", "id", "source", "type"),
        description="A CloudEvent. The account is the API key's.",
    ),
    "Taken": object_of(_TAKEN, required=_TAKEN_ALWAYS),
    "Logged": object_of({**_TAKEN, "skipped": COUNT}, required=(*_TAKEN_ALWAYS, "skipped")),
    "Usage": object_of(
        {
            "account": object_of({"name": text(), "timezone": text()}),
            "from": DAY,
            "to": DAY,
            "complete_through": INSTANT,
            "total": known("Amount"),
            "days": list_of(
                object_of({"day": DAY, "starts_at": INSTANT, "ends_at": INSTANT, **_AMOUNT_FIELDS, "complete": {"type": "boolean"}})
            ),
            "users": list_of(object_of({**_NAMES, **_AMOUNT_FIELDS, "days": _DAYS})),
            "others": object_of({"users": COUNT, **_AMOUNT_FIELDS, "days": _DAYS}),
            "truncated": {"type": "boolean"},
        }
    ),
    "Preview": object_of(
        {
            "users": COUNT,
            "user_days": COUNT,
            "of": object_of({"users": COUNT, "user_days": COUNT}),
            "days": list_of(object_of({"day": DAY, "users": COUNT})),
            "who": list_of(object_of({"user": text(), "label": text(), "days": list_of(DAY), "most": known("Amount")})),
        }
    ),
    "History": object_of(
        {
            "changes": list_of(object_of({"at": INSTANT, "by": text(), "action": text()})),
            "cursor": or_null({"type": "integer"}),
            "applied": object_of({"user": text(), "at": text(), "limit": or_null(known("Amount")), "origin": text()}),
        },
        required=("changes", "cursor"),
    ),
    "Checked": object_of({"allowed": {"const": True}, "allowance": known("Allowance")}),
    "HoldWanted": object_of(
        {
            "user": KEY,
            "units": COUNT,
            "credits": {"type": ["string", "number"]},
            "data": {"type": "object"},
            "type": text(),
            "ttl_s": {"type": "integer", "minimum": 1, "maximum": 86_400},
            "id": KEY,
        },
        required=("user",),
        additionalProperties=False,
        description="How much is said once: `units`, `credits`, or `data` and `type` as the event will have them.",
    ),
    "Outstanding": object_of(
        {"holds": list_of(object_of({"id": text(), "user": text(), "units": COUNT, "granted_at": INSTANT, "expires_at": INSTANT}))}
    ),
}

_NAMED_USER = {"user": KEY}
_LIMIT_HEADERS = {
    "RateLimit-Policy": "The daily limit in whole credits.",
    "RateLimit": "What is left, and the seconds until it resets.",
    "Retry-After": "The seconds until the limit resets.",
    "x-should-retry": "false: clients of OpenAI and Anthropic then give up at once.",
}
_EVENT_TYPES = ("application/cloudevents+json", "application/cloudevents-batch+json", JSON)
_EVENT_BODIES = (known("Event"), list_of(known("Event"), maxItems=10_000), {"anyOf": [known("Event"), list_of(known("Event"))]})
_RECORD: Schema = {"type": "object", "description": "A StandardLoggingPayload."}
_RANGE = (
    query("window", text(enum=["7", "14", "30"]), "The last so many account days, today included; 30 where nothing is said."),
    query("from", DAY, "First account day; goes with `to`."),
    query("to", DAY, "Last account day; a range holds 400 at most."),
    query("user", text(), "One user alone."),
    query("top", {"type": "integer", "minimum": 0, "maximum": 200}, "How many users are listed; the rest are Others."),
    query("timezone", text(), "Another IANA zone for the days, as a question: what if."),
)
_SEARCH = (query("search", text(), "A part of what is looked for."), query("cursor", text(), "The `cursor` of the page before."))


def _events(path: str, status: int, summary: str, about: str) -> Call:
    return Call(
        method="post",
        path=path,
        summary=summary,
        about=f"{about} {status} says that all of it is on disk. `Prefer: return=representation` asks for counts, "
        "`Prefer: handling=lenient` has the good ones taken where others are refused.",
        group="usage",
        scopes=(Scope.INGEST,),
        parameters=(header("Prefer", text(), "return=representation, handling=lenient"),),
        body=dict(zip(_EVENT_TYPES, _EVENT_BODIES, strict=True)),
        answers={status: {}, 200: {JSON: known("Taken")}},
    )


def _check(path: str, summary: str, about: str) -> Call:
    return Call(
        method="post",
        path=path,
        summary=summary,
        about=about,
        group="limits",
        scopes=(Scope.CHECK,),
        parameters=(
            query("deny_status", text(enum=["", "429", "403"]), "The status of a refusal; nginx takes 403 alone for one."),
            query("user", text(), "Whom it is about, where there is no body."),
        ),
        body={JSON: object_of(_NAMED_USER)},
        body_required=False,
        answers={200: {JSON: known("Checked")}},
        headers=_LIMIT_HEADERS,
        refusals=(429,),
    )


def _hold(path: str, summary: str, about: str) -> Call:
    return Call(
        method="post",
        path=path,
        summary=summary,
        about=about,
        group="limits",
        scopes=(Scope.CHECK,),
        body={JSON: known("HoldWanted")},
        answers={201: {JSON: known("HoldAnswer")}, 200: {JSON: known("HoldAnswer")}},
        headers=_LIMIT_HEADERS,
        refusals=(409, 429),
    )


def _otlp(signal: str, counted: str) -> Call:
    return Call(
        method="post",
        path=f"/v1/{signal}",
        summary=f"Take OpenTelemetry's {signal}",
        about=f"OTLP/HTTP in JSON or, as application/x-protobuf, in protobuf; the answer is in the same. What counts: {counted}. "
        "Refusals are a google.rpc.Status.",
        group="usage",
        scopes=(Scope.INGEST,),
        body={JSON: {"type": "object"}},
        answers={200: {JSON: {"type": "object"}}},
        refused_as={JSON: object_of({"code": COUNT, "message": text()}, required=())},
    )


CALLS: Sequence[Call] = (
    _events("/api/v1/events", 204, "Take usage in", "CloudEvents in all three HTTP modes, plain or gzip."),
    _events("/api/v3/openmeter/events", 202, "Take usage in as OpenMeter 3 does", "For gateways that know this address, such as Kong."),
    _events("/v3/openmeter/events", 202, "Take usage in as Konnect does", "The same, at the address of the hosted one."),
    Call(
        method="post",
        path="/api/v1/litellm",
        summary="Take what LiteLLM logs",
        about="StandardLoggingPayloads of LiteLLM's generic logger: an array, a single object or NDJSON, plain or gzip. What is good is "
        "on disk when this is answered; failed calls are skipped. Prompts and answers are never read.",
        group="usage",
        scopes=(Scope.INGEST,),
        body={JSON: {"anyOf": [list_of(_RECORD, maxItems=10_000), _RECORD]}, "application/x-ndjson": text()},
        answers={200: {JSON: known("Logged")}},
    ),
    _otlp("traces", "spans of model calls"),
    _otlp("logs", "what coding agents log of a model call"),
    _otlp("metrics", "token counters of sources that are marked to be counted by them"),
    Call(
        method="get",
        path="/api/v1/usage",
        summary="Usage by user and day",
        about="Days, users, Others and totals of a window or a range of account days: the answer that the page shows. "
        "`Accept: text/csv` gives a table.",
        group="usage",
        scopes=(Scope.READ,),
        parameters=_RANGE,
        answers={200: {JSON: known("Usage"), "text/csv": text()}, 304: {}},
    ),
    Call(
        method="get",
        path="/api/v1/stream",
        summary="Server-sent events: usage changed",
        about="An event whenever the answer may have changed. A signed-in administrator may listen, too.",
        group="usage",
        scopes=(Scope.READ,),
        parameters=(query("since", text(), "The state that is known."),),
        answers={200: {"text/event-stream": text()}},
    ),
    Call(
        method="get",
        path="/api/v1/users",
        summary="Search the directory of users",
        about="Up to 200 at a time whose key, email or name holds the searched text, aliases among them.",
        group="users",
        scopes=(Scope.READ,),
        parameters=_SEARCH,
        answers={200: {JSON: known("UserPage")}},
    ),
    Call(
        method="put",
        path="/api/v1/users/{key}",
        summary="Name a user",
        about="Set a user's email and name; null takes one away.",
        group="users",
        scopes=(Scope.ADMIN,),
        parameters=(USER,),
        body={JSON: object_of({"email": or_null(text()), "name": or_null(text())}, required=(), additionalProperties=False)},
        answers={200: {JSON: known("User")}},
    ),
    Call(
        method="put",
        path="/api/v1/users/{key}/alias",
        summary="Merge a user into another",
        about="From now on both keys are one user, with one allowance; nothing of it is lost, and it can be undone. Another's alias: 409.",
        group="users",
        scopes=(Scope.ADMIN,),
        parameters=(USER,),
        body={JSON: object_of({"of": KEY}, additionalProperties=False)},
        answers={200: {JSON: known("Merged")}},
        refusals=(404, 409),
    ),
    Call(
        method="delete",
        path="/api/v1/users/{key}/alias",
        summary="Undo a merge",
        about="The key is a user again, with all that ever came under it; aliases that came along go with it.",
        group="users",
        scopes=(Scope.ADMIN,),
        parameters=(USER,),
        answers={200: {JSON: known("Unmerged")}},
        refusals=(404,),
    ),
    Call(
        method="delete",
        path="/api/v1/users/{key}/profile",
        summary="Erase a person",
        about="Email, name and reasons go, of all keys of the user, and the keys where they may be a name; sums stay.",
        group="users",
        scopes=(Scope.ADMIN,),
        parameters=(USER, query("key", text(enum=[choice.value for choice in KeyChoice]), "What becomes of the user's key.")),
        answers={200: {JSON: known("Erased")}},
        refusals=(404,),
    ),
    Call(
        method="get",
        path="/api/v1/users/{key}/allowance",
        summary="How a user stands",
        about="Limit, used, held, remaining, and when it resets. A key that is bound to a user sees that one alone.",
        group="limits",
        scopes=(Scope.READ, Scope.CHECK),
        parameters=(USER,),
        answers={200: {JSON: known("Allowance")}},
        refusals=(404,),
    ),
    _check("/api/v1/check", "May the user go on?", "Allowed while used + held < limit; nothing is set aside. GET works, too."),
    _check("/api/v1/check/openai", "The same, refused in OpenAI's words", "For gateways that relay the refusal to an OpenAI client."),
    _check("/api/v1/check/anthropic", "The same, refused in Anthropic's words", "For gateways that relay it to an Anthropic client."),
    _hold("/api/v1/holds", "Set credits aside", "Granted only if used + held + estimate ≤ limit. The same id again: the same hold."),
    _hold("/api/v1/holds/openai", "The same, refused in OpenAI's words", "For gateways that relay the refusal to an OpenAI client."),
    _hold("/api/v1/holds/anthropic", "The same, refused in Anthropic's words", "For gateways that relay it to an Anthropic client."),
    Call(
        method="get",
        path="/api/v1/holds",
        summary="Outstanding holds",
        about="Those that have neither ended nor expired, oldest first.",
        group="limits",
        scopes=(Scope.READ, Scope.CHECK),
        answers={200: {JSON: known("Outstanding")}},
    ),
    Call(
        method="post",
        path="/api/v1/holds/{id}/settle",
        summary="Record the usage and free the hold",
        about="The body is an event, or its `data` and `type` alone. More than was held is recorded, never refused.",
        group="limits",
        scopes=(Scope.CHECK,),
        parameters=(_HOLD,),
        body={JSON: object_of({"data": {"type": "object"}, "type": text()}, required=("data",))},
        answers={200: {JSON: known("SettleAnswer")}},
        refusals=(404,),
    ),
    Call(
        method="delete",
        path="/api/v1/holds/{id}",
        summary="Free a hold without usage",
        about="One that has ended stays as it ended.",
        group="limits",
        scopes=(Scope.CHECK,),
        parameters=(_HOLD,),
        answers={204: {}},
        refusals=(404,),
    ),
    Call(
        method="get",
        path="/api/v1/policy",
        summary="The policy in force",
        about="Default limit and timezone, with the ETag that a change must name.",
        group="policy",
        scopes=(Scope.READ,),
        answers={200: {JSON: known("PolicyAnswer")}},
        headers={"ETag": "The state."},
    ),
    Call(
        method="put",
        path="/api/v1/policy",
        summary="Change the policy",
        about="Takes effect at the next check. What is left away stays as it is.",
        group="policy",
        scopes=(Scope.ADMIN,),
        parameters=(_IF_MATCH,),
        body={JSON: object_of({"default_limit": or_null(known("Limit")), "timezone": text()}, required=(), additionalProperties=False)},
        answers={200: {JSON: known("PolicyAnswer")}},
        headers={"ETag": "The state."},
        refusals=(412, 428),
    ),
    Call(
        method="get",
        path="/api/v1/policy/overrides",
        summary="Users' own limits",
        about="Up to 200 at a time whose user or reason holds the searched text.",
        group="policy",
        scopes=(Scope.READ,),
        parameters=_SEARCH,
        answers={200: {JSON: known("OverridePage")}},
    ),
    Call(
        method="get",
        path="/api/v1/policy/overrides/{key}",
        summary="A user's own limit",
        about="404 where the user has none.",
        group="policy",
        scopes=(Scope.READ,),
        parameters=(USER,),
        answers={200: {JSON: known("OverrideAnswer")}},
        headers={"ETag": "The state."},
        refusals=(404,),
    ),
    Call(
        method="put",
        path="/api/v1/policy/overrides/{key}",
        summary="Give a user a limit",
        about="Takes effect at the next check. `If-None-Match: *` is for a user who has none.",
        group="policy",
        scopes=(Scope.ADMIN,),
        parameters=(USER, _IF_MATCH, header("If-None-Match", text(), "* where the user may have none yet.")),
        body={
            JSON: object_of(
                {"limit": or_null(known("Limit")), "reason": text(), "expires_at": or_null(INSTANT)},
                required=("limit",),
                additionalProperties=False,
            )
        },
        answers={200: {JSON: known("OverrideAnswer")}},
        headers={"ETag": "The state."},
        refusals=(412,),
    ),
    Call(
        method="delete",
        path="/api/v1/policy/overrides/{key}",
        summary="Take a user's own limit away",
        about="From the next check on, the default counts again.",
        group="policy",
        scopes=(Scope.ADMIN,),
        parameters=(USER, _IF_MATCH),
        answers={204: {}},
        refusals=(404, 412),
    ),
    Call(
        method="post",
        path="/api/v1/policy/preview",
        summary="What a limit would have done",
        about="Who would have been paused on which of the last 30 days; users with a limit of their own keep it.",
        group="policy",
        scopes=(Scope.READ,),
        body={JSON: object_of({"default_limit": or_null(known("Limit"))}, additionalProperties=False)},
        answers={200: {JSON: known("Preview")}},
    ),
    Call(
        method="get",
        path="/api/v1/policy/history",
        summary="Who changed what, when",
        about="Up to 50 changes, newest first. With `user` and `at`, an instant: also which limit applied to the user then.",
        group="policy",
        scopes=(Scope.READ,),
        parameters=(
            query("cursor", {"type": "integer"}, "The `cursor` of the page before."),
            query("user", text(), "Goes with `at`."),
            query("at", INSTANT, "Goes with `user`."),
        ),
        answers={200: {JSON: known("History")}},
    ),
    Call(
        method="get",
        path="/healthz",
        summary="The process is alive",
        about="Answers as long as the process does.",
        group="operations",
        answers={200: {TEXT: text()}},
    ),
    Call(
        method="get",
        path="/readyz",
        summary="The ledger answers",
        about="503 while it does not: the type says `migrating` or `unavailable`.",
        group="operations",
        answers={200: {TEXT: text()}},
    ),
    Call(
        method="get",
        path="/metrics",
        summary="Prometheus metrics",
        about="Counters and gauges of this process.",
        group="operations",
        answers={200: {TEXT: text()}},
    ),
    *openmeter_calls.CALLS,
)
