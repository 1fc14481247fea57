"""What the table of calls is written in: a call, and short words for JSON schemas and parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from tallyboard import credits
from tallyboard.intake.event import KEY_CHARACTERS_MAX
from tallyboard.people.keys import Scope

Schema = Mapping[str, Any]
JSON = "application/json"
TEXT = "text/plain"


class Call(Struct, frozen=True, kw_only=True):
    """One call: who may make it (any of `scopes`, or the scope admin; anybody where there are none), and what it takes and gives.

    `answers` are those of success: a status with its media types and their schemas. `refusals` are the statuses it may give beyond
    those that every call of its kind may give; they are problems, or what `refused_as` says by media type.
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
    refused_as: Mapping[str, Schema] | None = None


def text(**more: object) -> Schema:
    """A text."""
    return {"type": "string", **more}


def object_of(properties: Mapping[str, Schema], required: Sequence[str] | None = None, **more: object) -> Schema:
    """An object, of which all properties are required unless said otherwise."""
    return {"type": "object", "properties": properties, "required": list(properties) if required is None else list(required), **more}


def list_of(items: Schema, **more: object) -> Schema:
    """A list."""
    return {"type": "array", "items": items, **more}


def known(name: str) -> Schema:
    """One of the schemas with a name."""
    return {"$ref": f"#/components/schemas/{name}"}


def or_null(schema: Schema) -> Schema:
    """That, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def query(name: str, schema: Schema, about: str) -> Schema:
    """A parameter of the query."""
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": about}


def header(name: str, schema: Schema, about: str) -> Schema:
    """A header."""
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": about}


def in_path(name: str, about: str) -> Schema:
    """A key in the address."""
    return {"name": name, "in": "path", "required": True, "schema": KEY, "description": about}


COUNT: Schema = {"type": "integer", "minimum": 0}
UNITS: Schema = {"type": "integer", "description": f"{credits.UNITS_PER_CREDIT:,} units are one credit."}
KEY = text(minLength=1, maxLength=KEY_CHARACTERS_MAX)
DAY = text(format="date")
INSTANT = text(format="date-time")
USER = in_path("key", "The user's key, percent-encoded: a slash in it is %2F.")
