"""The OpenAPI document, made of the table of calls, and a page of it for people."""

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from litestar import MediaType, Response, get
from msgspec.json import encode, schema_components

from tallyboard import __version__
from tallyboard.people.aliases import Merged, Unmerged
from tallyboard.people.directory import User
from tallyboard.people.erasure import Erased
from tallyboard.policy.limits import Allowance, Amount
from tallyboard.web import problems
from tallyboard.web.api.calls import CALLS, SCHEMAS
from tallyboard.web.api.policy import OverrideAnswer, OverridePage, PolicyAnswer
from tallyboard.web.api.shapes import Call, Schema
from tallyboard.web.api.users import UserPage
from tallyboard.web.limits import HoldAnswer, SettleAnswer
from tallyboard.web.pages import render

_STRUCTS = (
    Amount,
    Allowance,
    Erased,
    HoldAnswer,
    Merged,
    OverrideAnswer,
    OverridePage,
    PolicyAnswer,
    SettleAnswer,
    Unmerged,
    User,
    UserPage,
)
_ALWAYS = (400, 503)
_WITH_KEY = (401, 403)
_WITH_BODY = (408, 413, 415)


@get("/api/docs", include_in_schema=False)
async def get_docs() -> Response[bytes]:
    """The document for people."""
    groups: dict[str, list[tuple[Call, list[int]]]] = {}
    for call in CALLS:
        groups.setdefault(call.group, []).append((call, statuses(call)))
    return Response(render.html("docs.html", groups=groups, version=__version__), media_type=MediaType.HTML)


@get("/api/docs/openapi.json", include_in_schema=False)
async def get_document() -> Response[bytes]:
    """The document for programs."""
    return Response(document(), media_type="application/vnd.oai.openapi+json")


@cache
def document() -> bytes:
    """OpenAPI 3.1 as JSON."""
    paths: dict[str, dict[str, Schema]] = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method] = _operation(call)
    _, generated = schema_components(_STRUCTS, ref_template="#/components/schemas/{name}")
    return encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Tallyboard", "version": __version__},
            "paths": paths,
            "components": {
                "schemas": {**generated, **SCHEMAS},
                "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key: tb_…"}},
            },
        }
    )


def statuses(call: Call) -> list[int]:
    """Every status that a call may be answered with."""
    refusals = {*_ALWAYS, *call.refusals, *(_WITH_KEY if call.scopes else ()), *(_WITH_BODY if call.body else ())}
    return sorted({*call.answers, *refusals})


def _operation(call: Call) -> Schema:
    needs = f"\n\nNeeds a key with the scope {' or '.join(call.scopes)}." if call.scopes else ""
    shape: dict[str, Any] = {
        "summary": call.summary,
        "description": call.about + needs,
        "operationId": f"{call.method} {call.path}",
        "tags": [call.group],
        "security": [{"key": []}] if call.scopes else [],
        "parameters": call.parameters,
        "responses": {str(status): _response(call, status) for status in statuses(call)},
    }
    if call.body:
        shape["requestBody"] = {"required": call.body_required, "content": _content(call.body)}
    return shape


def _response(call: Call, status: int) -> Schema:
    answer = call.answers.get(status)
    if answer is None:
        return {"description": HTTPStatus(status).phrase, "content": _content(_refusal(call, status))}
    headers = {name: {"schema": {"type": "string"}, "description": about} for name, about in call.headers.items()}
    return {"description": HTTPStatus(status).phrase, "content": _content(answer), "headers": headers}


def _refusal(call: Call, status: int) -> Mapping[str, Schema]:
    if call.refused_as is not None:
        return call.refused_as
    shapes: dict[str, Schema] = {problems.MEDIA_TYPE: {"$ref": "#/components/schemas/Problem"}}
    in_other_words = status in {403, 429} and call.path.endswith(("/openai", "/anthropic"))
    return {**shapes, "application/json": {"type": "object"}} if in_other_words else shapes


def _content(shapes: Mapping[str, Schema]) -> Schema:
    return {media_type: {"schema": schema} for media_type, schema in shapes.items()}
