"""Every call of the API: what it takes, who may make it, and what it answers.

Written here, not derived: the doors in front of the framework are unknown to it, and it knows no refusals. Tests hold this table
against the routes, against the scopes that really open a door, and against what a generator of requests gets for answers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from tallyboard import credits
from tallyboard.intake.event import KEY_CHARACTERS_MAX
from tallyboard.people.keys import Scope
from tallyboard.web.api.users import KeyChoice

Schema = Mapping[str, Any]
JSON = "application/json"
_TEXT = "text/plain"


class Call(Struct, frozen=True, kw_only=True):
    """One call: who may make it (any of `scopes`, or the scope admin; anybody where there are none), and what it takes and gives.

    `answers` are those of success: a status with its media types and their schemas. `refusals` are the statuses it may give beyond
    those that every call of its kind may give.
    """

    method: str
    path: str
    summary: str
    about: str
    group: str
    scopes: Sequence[Scope] = ()
    parameters: Sequence[Schema] = ()
    body: Mapping[str, Schema] | None = None
    body_required: bool = True
    answers: Mapping[int, Mapping[str, Schema]]
    headers: Mapping[str, str] = {}
    refusals: Sequence[int] = ()


def _text(**more: object) -> Schema:
    return {"type": "string", **more}


def _object(properties: Mapping[str, Schema], required: Sequence[str] | None = None, **more: object) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties) if required is None else list(required), **more}


def _list(items: Schema, **more: object) -> Schema:
    return {"type": "array", "items": items, **more}


def _known(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _query(name: str, schema: Schema, about: str) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": about}


def _header(name: str, schema: Schema, about: str) -> Schema:
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": about}


def _path(name: str, about: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": _KEY, "description": about}


_COUNT: Schema = {"type": "integer", "minimum": 0}
_UNITS: Schema = {"type": "integer", "description": f"{credits.UNITS_PER_CREDIT:,} units are one credit."}
_KEY = _text(minLength=1, maxLength=KEY_CHARACTERS_MAX)
_DAY = _text(format="date")
_INSTANT = _text(format="date-time")
_DAYS = _list(_UNITS, description="Units a day, aligned with `days` of the answer.")
_USER = _path("key", "The user's key, percent-encoded: a slash in it is %2F.")
_HOLD = _path("id", "The hold's id, percent-encoded.")
_IF_MATCH = _header("If-Match", _text(), "The ETag of the state that is changed: 412 where it has passed.")
_NAMES = {"user": _text(), "email": _or_null(_text()), "label": _text()}
_AMOUNT_FIELDS = {"credits": _text(), "units": _UNITS}

SCHEMAS: Mapping[str, Schema] = {
    "Problem": _object(
        {"type": _text(), "title": _text(), "status": {"type": "integer"}, "detail": _text()},
        description="RFC 9457. `type` is stable; `detail` says what, where, and how to mend it.",
    ),
    "Refused": _object({"index": _COUNT, "reason": _text(), "detail": _text()}),
    "Limit": {
        **_object({"credits": {"type": ["string", "number"]}, "units": _COUNT}, required=(), additionalProperties=False),
        "description": "An amount, said once: credits with up to eight decimals, or units.",
    },
    "Event": _object(
        {
            "specversion": {"const": "1.0"},
            "id": _KEY,
            "source": _KEY,
            "type": _KEY,
            "subject": _text(description="The user's key."),
            "time": _INSTANT,
            "data": {"type": "object"},
        },
        required=("specversion", "id", "source", "type"),
        description="A CloudEvent. The account is the API key's.",
    ),
    "Taken": _object({"accepted": _COUNT, "duplicate": _COUNT, "conflict": _COUNT, "refused": _list(_known("Refused"))}),
    "Usage": _object(
        {
            "account": _object({"name": _text(), "timezone": _text()}),
            "from": _DAY,
            "to": _DAY,
            "complete_through": _INSTANT,
            "total": _known("Amount"),
            "days": _list(
                _object({"day": _DAY, "starts_at": _INSTANT, "ends_at": _INSTANT, **_AMOUNT_FIELDS, "complete": {"type": "boolean"}})
            ),
            "users": _list(_object({**_NAMES, **_AMOUNT_FIELDS, "days": _DAYS})),
            "others": _object({"users": _COUNT, **_AMOUNT_FIELDS, "days": _DAYS}),
            "truncated": {"type": "boolean"},
        }
    ),
    "Preview": _object(
        {
            "users": _COUNT,
            "user_days": _COUNT,
            "of": _object({"users": _COUNT, "user_days": _COUNT}),
            "days": _list(_object({"day": _DAY, "users": _COUNT})),
            "who": _list(_object({"user": _text(), "label": _text(), "days": _list(_DAY), "most": _known("Amount")})),
        }
    ),
    "History": _object(
        {
            "changes": _list(_object({"at": _INSTANT, "by": _text(), "action": _text()})),
            "cursor": _or_null({"type": "integer"}),
            "applied": _object({"user": _text(), "at": _text(), "limit": _or_null(_known("Amount")), "origin": _text()}),
        },
        required=("changes", "cursor"),
    ),
    "Checked": _object({"allowed": {"const": True}, "allowance": _known("Allowance")}),
    "HoldWanted": _object(
        {
            "user": _KEY,
            "units": _COUNT,
            "credits": {"type": ["string", "number"]},
            "data": {"type": "object"},
            "type": _text(),
            "ttl_s": {"type": "integer", "minimum": 1, "maximum": 86_400},
            "id": _KEY,
        },
        required=("user",),
        additionalProperties=False,
        description="How much is said once: `units`, `credits`, or `data` and `type` as the event will have them.",
    ),
    "Outstanding": _object(
        {"holds": _list(_object({"id": _text(), "user": _text(), "units": _COUNT, "granted_at": _INSTANT, "expires_at": _INSTANT}))}
    ),
}

_NAMED_USER = {"user": _KEY}
_LIMIT_HEADERS = {
    "RateLimit-Policy": "The daily limit in whole credits.",
    "RateLimit": "What is left, and the seconds until it resets.",
    "Retry-After": "The seconds until the limit resets.",
    "x-should-retry": "false: clients of OpenAI and Anthropic then give up at once.",
}
_EVENT_TYPES = ("application/cloudevents+json", "application/cloudevents-batch+json", JSON)
_EVENT_BODIES = (_known("Event"), _list(_known("Event"), maxItems=10_000), {"anyOf": [_known("Event"), _list(_known("Event"))]})
_RANGE = (
    _query("window", _text(enum=["7", "14", "30"]), "The last so many account days, today included; 30 where nothing is said."),
    _query("from", _DAY, "First account day; goes with `to`."),
    _query("to", _DAY, "Last account day; a range holds 400 at most."),
    _query("user", _text(), "One user alone."),
    _query("top", {"type": "integer", "minimum": 0, "maximum": 200}, "How many users are listed; the rest are Others."),
    _query("timezone", _text(), "Another IANA zone for the days, as a question: what if."),
)
_SEARCH = (_query("search", _text(), "A part of what is looked for."), _query("cursor", _text(), "The `cursor` of the page before."))


def _check(path: str, summary: str, about: str) -> Call:
    return Call(
        method="post",
        path=path,
        summary=summary,
        about=about,
        group="limits",
        scopes=(Scope.CHECK,),
        parameters=(
            _query("deny_status", _text(enum=["", "429", "403"]), "The status of a refusal; nginx takes 403 alone for one."),
            _query("user", _text(), "Whom it is about, where there is no body."),
        ),
        body={JSON: _object(_NAMED_USER)},
        body_required=False,
        answers={200: {JSON: _known("Checked")}},
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
        body={JSON: _known("HoldWanted")},
        answers={201: {JSON: _known("HoldAnswer")}, 200: {JSON: _known("HoldAnswer")}},
        headers=_LIMIT_HEADERS,
        refusals=(409, 429),
    )


CALLS: Sequence[Call] = (
    Call(
        method="post",
        path="/api/v1/events",
        summary="Take usage in",
        about="CloudEvents in all three HTTP modes, plain or gzip. 204 says that all of it is on disk. "
        "`Prefer: return=representation` asks for counts, `Prefer: handling=lenient` has the good ones taken where others are refused.",
        group="usage",
        scopes=(Scope.INGEST,),
        parameters=(_header("Prefer", _text(), "return=representation, handling=lenient"),),
        body=dict(zip(_EVENT_TYPES, _EVENT_BODIES, strict=True)),
        answers={204: {}, 200: {JSON: _known("Taken")}},
    ),
    Call(
        method="get",
        path="/api/v1/usage",
        summary="Usage by user and day",
        about="Days, users, Others and totals of a window or a range of account days: the answer that the page shows. "
        "`Accept: text/csv` gives a table.",
        group="usage",
        scopes=(Scope.READ,),
        parameters=_RANGE,
        answers={200: {JSON: _known("Usage"), "text/csv": _text()}, 304: {}},
    ),
    Call(
        method="get",
        path="/api/v1/stream",
        summary="Server-sent events: usage changed",
        about="An event whenever the answer may have changed. A signed-in administrator may listen, too.",
        group="usage",
        scopes=(Scope.READ,),
        parameters=(_query("since", _text(), "The state that is known."),),
        answers={200: {"text/event-stream": _text()}},
    ),
    Call(
        method="get",
        path="/api/v1/users",
        summary="Search the directory of users",
        about="Up to 200 at a time whose key, email or name holds the searched text.",
        group="users",
        scopes=(Scope.READ,),
        parameters=_SEARCH,
        answers={200: {JSON: _known("UserPage")}},
    ),
    Call(
        method="put",
        path="/api/v1/users/{key}",
        summary="Name a user",
        about="Set a user's email and name; null takes one away.",
        group="users",
        scopes=(Scope.ADMIN,),
        parameters=(_USER,),
        body={JSON: _object({"email": _or_null(_text()), "name": _or_null(_text())}, required=(), additionalProperties=False)},
        answers={200: {JSON: _known("User")}},
    ),
    Call(
        method="delete",
        path="/api/v1/users/{key}/profile",
        summary="Erase a person",
        about="Email, name and reasons go, and the key where it may be a name; sums stay.",
        group="users",
        scopes=(Scope.ADMIN,),
        parameters=(_USER, _query("key", _text(enum=[choice.value for choice in KeyChoice]), "What becomes of the user's key.")),
        answers={200: {JSON: _known("Erased")}},
        refusals=(404,),
    ),
    Call(
        method="get",
        path="/api/v1/users/{key}/allowance",
        summary="How a user stands",
        about="Limit, used, held, remaining, and when it resets. A key that is bound to a user sees that one alone.",
        group="limits",
        scopes=(Scope.READ, Scope.CHECK),
        parameters=(_USER,),
        answers={200: {JSON: _known("Allowance")}},
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
        answers={200: {JSON: _known("Outstanding")}},
    ),
    Call(
        method="post",
        path="/api/v1/holds/{id}/settle",
        summary="Record the usage and free the hold",
        about="The body is an event, or its `data` and `type` alone. More than was held is recorded, never refused.",
        group="limits",
        scopes=(Scope.CHECK,),
        parameters=(_HOLD,),
        body={JSON: _object({"data": {"type": "object"}, "type": _text()}, required=("data",))},
        answers={200: {JSON: _known("SettleAnswer")}},
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
        answers={200: {JSON: _known("PolicyAnswer")}},
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
        body={JSON: _object({"default_limit": _or_null(_known("Limit")), "timezone": _text()}, required=(), additionalProperties=False)},
        answers={200: {JSON: _known("PolicyAnswer")}},
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
        answers={200: {JSON: _known("OverridePage")}},
    ),
    Call(
        method="get",
        path="/api/v1/policy/overrides/{key}",
        summary="A user's own limit",
        about="404 where the user has none.",
        group="policy",
        scopes=(Scope.READ,),
        parameters=(_USER,),
        answers={200: {JSON: _known("OverrideAnswer")}},
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
        parameters=(_USER, _IF_MATCH, _header("If-None-Match", _text(), "* where the user may have none yet.")),
        body={
            JSON: _object(
                {"limit": _or_null(_known("Limit")), "reason": _text(), "expires_at": _or_null(_INSTANT)},
                required=("limit",),
                additionalProperties=False,
            )
        },
        answers={200: {JSON: _known("OverrideAnswer")}},
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
        parameters=(_USER, _IF_MATCH),
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
        body={JSON: _object({"default_limit": _or_null(_known("Limit"))}, additionalProperties=False)},
        answers={200: {JSON: _known("Preview")}},
    ),
    Call(
        method="get",
        path="/api/v1/policy/history",
        summary="Who changed what, when",
        about="Up to 50 changes, newest first. With `user` and `at`, an instant: also which limit applied to the user then.",
        group="policy",
        scopes=(Scope.READ,),
        parameters=(
            _query("cursor", {"type": "integer"}, "The `cursor` of the page before."),
            _query("user", _text(), "Goes with `at`."),
            _query("at", _INSTANT, "Goes with `user`."),
        ),
        answers={200: {JSON: _known("History")}},
    ),
    Call(
        method="get",
        path="/healthz",
        summary="The process is alive",
        about="Answers as long as the process does.",
        group="operations",
        answers={200: {_TEXT: _text()}},
    ),
    Call(
        method="get",
        path="/readyz",
        summary="The ledger answers",
        about="503 while it does not: the type says `migrating` or `unavailable`.",
        group="operations",
        answers={200: {_TEXT: _text()}},
    ),
    Call(
        method="get",
        path="/metrics",
        summary="Prometheus metrics",
        about="Counters and gauges of this process.",
        group="operations",
        answers={200: {_TEXT: _text()}},
    ),
)
