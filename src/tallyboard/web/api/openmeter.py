"""What OpenMeter's clients read: meters, their sums, events, and what a customer may still use. Customers and subjects are our users."""

import csv
import io
from ast import literal_eval
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from urllib.parse import parse_qsl, unquote
from zoneinfo import ZoneInfo

import orjson
from litestar import MediaType, Request, Response, get, post
from litestar.datastructures import State
from msgspec import Struct, field

from tallyboard import clock, credits, days
from tallyboard.app import App
from tallyboard.errors import Invalid, NotFound
from tallyboard.intake.event import is_key
from tallyboard.people.keys import Scope
from tallyboard.policy.limits import Standing
from tallyboard.usage import events, export, meters
from tallyboard.usage.meters import Asked, Row, Window
from tallyboard.web import security
from tallyboard.web.api.usage import CACHE
from tallyboard.web.threads import in_thread

_SUBJECTS_MAX = 100
_PARAMETERS_MAX = 300
_LITERAL_CHARACTERS_MAX = 2_000
_NAMES = ("subject", "model")
_FILTER = "filterGroupBy"


class MeterQuery(Struct, forbid_unknown_fields=True, rename="camel"):
    """A question about a meter, as OpenMeter's clients put it."""

    begins: str | None = field(default=None, name="from")
    to: str | None = None
    window_size: str | None = None
    window_time_zone: str | None = None
    subject: list[str] | None = None
    filter_customer_id: list[str] | None = None
    group_by: list[str] | None = None
    filter_group_by: Mapping[str, str | list[str]] | None = None
    client_id: str | None = None
    advanced_meter_group_by_filters: object = None


@get("/api/v1/meters", sync_to_thread=True)
def get_meters(request: Request[None, None, State]) -> Response[bytes]:
    """The meters of the account's rate card, and credits."""
    app: App = request.app.state.app
    who = security.caller(app, request.headers.get("authorization"), (Scope.READ,), clock.now_us())
    with app.ledger.reading() as session:
        created_at = days.instant_text(meters.since_us(session, who.key.account_id))
    listed = [
        {
            "id": slug,
            "slug": slug,
            "name": name,
            "aggregation": "SUM",
            "eventType": kind,
            **({"valueProperty": f"$.{value}"} if value else {}),
            "groupBy": {"model": "$.model"},
            "createdAt": created_at,
            "updatedAt": created_at,
        }
        for slug, (name, kind, value) in meters.described(who.charger.card).items()
    ]
    return Response(orjson.dumps(listed), media_type=MediaType.JSON)


@get("/api/v1/meters/{slug:str}/query")
@in_thread
def get_sums(request: Request[None, None, State], slug: str) -> Response[bytes]:
    """Sums by windows of time, subjects and models, as JSON or CSV."""
    return _answer(request, slug, _read_query(request.scope["query_string"]))


@post("/api/v1/meters/{slug:str}/query", status_code=200)
@in_thread
def post_sums(request: Request[None, None, State], slug: str, data: MeterQuery) -> Response[bytes]:
    """The same, for questions that are too long for an address."""
    return _answer(request, slug, data)


@get("/api/v1/events", sync_to_thread=True)
def get_events(request: Request[None, None, State]) -> Response[bytes]:
    """The newest events first."""
    app: App = request.app.state.app
    who = security.caller(app, request.headers.get("authorization"), (Scope.READ,), clock.now_us())
    wanted = _wanted(dict(_parameters(request.scope["query_string"])))
    with app.ledger.reading() as session:
        found = events.newest(session, who.key.account_id, wanted)
    listed = [
        {
            "event": {
                "specversion": "1.0",
                "id": each.id,
                "source": each.source,
                "type": each.type,
                "subject": each.user,
                "time": days.instant_text(each.at_us),
                "data": orjson.Fragment(each.document),
            },
            "ingestedAt": days.instant_text(each.received_us),
            "storedAt": days.instant_text(each.received_us),
            **({} if each.rated else {"validationError": "no meter of the rate card counts it"}),
        }
        for each in found
    ]
    return Response(orjson.dumps(listed), media_type=MediaType.JSON)


@get("/api/v1/customers/{customer:path}", sync_to_thread=True)
def get_entitlement(request: Request[None, None, State], customer: str) -> Response[bytes]:
    """`/{key}/access`, and `/{key}/entitlements/credits/value`."""
    return _entitled(request, customer)


@get("/api/v1/subjects/{subject:path}", sync_to_thread=True)
def get_entitlement_of_subject(request: Request[None, None, State], subject: str) -> Response[bytes]:
    """The same."""
    return _entitled(request, subject)


def _entitled(request: Request[None, None, State], asked: str) -> Response[bytes]:
    app: App = request.app.state.app
    now_us = clock.now_us()
    who = security.caller(app, request.headers.get("authorization"), (Scope.READ, Scope.CHECK), now_us)
    raw_path = request.scope["raw_path"].decode("latin-1")
    match raw_path.removesuffix("/").split("/")[4:]:
        case [key, "access"]:
            all_of_them = True
        case [key, "entitlements", meters.CREDITS, "value"]:
            all_of_them = False
        case _:
            raise NotFound(f"nothing is found at {asked[:80]!r}; the only feature is {meters.CREDITS}")
    user = unquote(key)
    if not is_key(user) or who.key.user not in {None, user}:
        raise NotFound(f"there is no customer {user[:80]!r} that this key may ask for")
    value = _value(app.standing(who.key.account_id, user, now_us))
    return Response(orjson.dumps({"entitlements": {meters.CREDITS: value}} if all_of_them else value), media_type=MediaType.JSON)


def _value(standing: Standing) -> dict[str, object]:
    """A standing as an entitlement: in credits, as text that is a number. What is unlimited has no balance."""
    told: dict[str, object] = {"hasAccess": standing.may_go_on, "usage": _credits(standing.used)}
    if standing.limit is None or standing.remaining is None:
        return told
    over = max(standing.used - standing.limit, 0)
    return {
        **told,
        "balance": _credits(standing.remaining),
        "overage": _credits(over),
        "totalAvailableGrantAmount": _credits(standing.limit),
    }


def _credits(units: int) -> orjson.Fragment:
    return orjson.Fragment(credits.credits_text(units))


def _answer(request: Request[None, None, State], slug: str, query: MeterQuery) -> Response[bytes]:
    app: App = request.app.state.app
    now_us = clock.now_us()
    who = security.caller(app, request.headers.get("authorization"), (Scope.READ,), now_us)
    asked = _asked(query)
    with app.ledger.reading() as session:
        found = meters.answer(session, who.key.account_id, who.charger, slug, asked, now_us)
    as_csv = request.headers.get("accept", "").split(",")[0].split(";")[0].strip() == "text/csv"
    headers = {"Cache-Control": CACHE, "Vary": "Accept, Authorization"}
    if as_csv:
        return Response(_csv(found.rows, slug, asked), media_type=export.CSV_TYPE, headers=headers)
    shape = {
        **({"windowSize": asked.window} if asked.window else {}),
        "from": days.instant_text(found.from_us),
        "to": days.instant_text(found.to_us),
        "data": [_row(row, slug, asked) for row in found.rows],
    }
    return Response(orjson.dumps(shape), media_type=MediaType.JSON, headers=headers)


def _row(row: Row, slug: str, asked: Asked) -> dict[str, object]:
    return {
        "value": orjson.Fragment(_number(slug, row.quantity)),
        "windowStart": days.instant_text(row.starts_us),
        "windowEnd": days.instant_text(row.ends_us),
        "subject": row.user,
        "groupBy": {"model": row.model} if asked.by_model else {},
    }


def _csv(rows: Sequence[Row], slug: str, asked: Asked) -> bytes:
    piece = io.StringIO()
    writer = csv.writer(piece)
    writer.writerow(("window_start", "window_end", "subject", *(["model"] if asked.by_model else []), "value"))
    for row in rows:
        model = [export.safe_cell(row.model or "")] if asked.by_model else []
        window = (days.instant_text(row.starts_us), days.instant_text(row.ends_us))
        writer.writerow((*window, export.safe_cell(row.user or ""), *model, _number(slug, row.quantity)))
    return piece.getvalue().encode()


def _number(slug: str, quantity: int | Fraction) -> str:
    """Credits as everywhere in the API, with six decimals; units and quantities exactly."""
    return credits.credits_text(int(quantity)) if slug == meters.CREDITS else meters.number(quantity)


def _parameters(query_string: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=_PARAMETERS_MAX)
    except ValueError:
        raise Invalid(f"a query may have {_PARAMETERS_MAX} parameters") from None


def _read_query(query_string: bytes) -> MeterQuery:
    """The question of an address. `filterGroupBy` comes as `filterGroupBy[model]=…`, or as Python's client writes it: as a dict of Python."""
    query = MeterQuery()
    chosen: dict[str, list[str]] = {}
    lists: dict[str, list[str]] = {}
    for name, value in _parameters(query_string):
        match name:
            case "from":
                query.begins = value
            case "to":
                query.to = value
            case "windowSize":
                query.window_size = value
            case "windowTimeZone":
                query.window_time_zone = value
            case "subject" | "filterCustomerId" | "groupBy":
                lists.setdefault(name, []).append(value)
            case "clientId":
                pass
            case _ if name == _FILTER:
                chosen.update(_literal(value))
            case _ if name.startswith(f"{_FILTER}[") and name.endswith("]"):
                chosen.setdefault(name[len(_FILTER) + 1 : -1], []).append(value)
            case _:
                raise Invalid(f"{name[:40]!r} is nothing that can be asked for here")
    query.subject, query.filter_customer_id, query.group_by = (lists.get(name) for name in ("subject", "filterCustomerId", "groupBy"))
    query.filter_group_by = chosen or None
    return query


def _literal(text: str) -> dict[str, list[str]]:
    """A dict of Python or of JSON, of texts and lists of texts alone."""
    try:
        if len(text) > _LITERAL_CHARACTERS_MAX:
            raise ValueError
        found = literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Invalid(f"{_FILTER} must read {_FILTER}[model]=gpt-4o")
    listed = {name: value if isinstance(value, list) else [value] for name, value in found.items()}
    if not all(isinstance(text, str) for name, values in listed.items() for text in (name, *values)):
        raise Invalid(f"{_FILTER} must hold texts")
    return listed


def _asked(query: MeterQuery) -> Asked:
    """The question; Invalid says which part of it cannot be answered exactly, or at all."""
    if query.advanced_meter_group_by_filters is not None:
        raise Invalid(f"advancedMeterGroupByFilters is not answered here; use {_FILTER}")
    by = set(query.group_by or ())
    chosen = {name: [value] if isinstance(value, str) else value for name, value in (query.filter_group_by or {}).items()}
    for name in (*by, *chosen):
        if name not in _NAMES:
            raise Invalid(f"sums are kept by subject and model, not by {name[:40]!r}")
    said = [each for each in (query.subject, query.filter_customer_id, chosen.get("subject")) if each]
    users = set(said[0]).intersection(*said[1:]) if said else None
    models = chosen.get("model")
    if len(users or ()) > _SUBJECTS_MAX or len(models or ()) > _SUBJECTS_MAX:
        raise Invalid(f"a question may name {_SUBJECTS_MAX} subjects and models")
    return Asked(
        from_us=_quarter("from", query.begins),
        to_us=_quarter("to", query.to),
        window=_window(query.window_size),
        zone=_zone(query.window_time_zone),
        users=None if users is None else tuple(sorted(user for user in users if is_key(user))),
        models=None if models is None else tuple(models),
        by_user="subject" in by or bool(query.subject or query.filter_customer_id),
        by_model="model" in by,
    )


def _window(text: str | None) -> Window | None:
    if not text:
        return None
    if text == "MINUTE":
        raise Invalid("windowSize must be HOUR, DAY or MONTH: usage is summed by quarter hours, so minutes cannot be told apart")
    if text not in set(Window):
        raise Invalid(f"windowSize must be HOUR, DAY or MONTH, not {text[:40]!r}")
    return Window(text)


def _zone(text: str | None) -> ZoneInfo:
    try:
        return days.zone(text or "UTC")
    except ValueError as error:
        raise Invalid(f"windowTimeZone: {error}") from None


def _instant(name: str, text: str) -> int:
    """An instant with an offset. A plus that came as a space, as it does where an address is not escaped, is taken for what it was."""
    try:
        moment = datetime.fromisoformat(text.strip().replace(" ", "+"))
        if moment.tzinfo is None:
            raise ValueError
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(f"{name} must be a time with an offset, such as 2026-11-22T00:00:00Z, not {text[:40]!r}") from None
    if not 1972 <= moment.year <= 9000:
        raise Invalid(f"{name} must lie between the years 1972 and 9000")
    return days.instant_us(moment)


def _quarter(name: str, text: str | None) -> int | None:
    if text is None or text == "":
        return None
    us = _instant(name, text)
    if us % days.SLOT_US:
        raise Invalid(f"{name} must be a whole quarter hour, such as 09:15:00: usage is summed by them, so nothing between is exact")
    return us


def _wanted(said: Mapping[str, str]) -> events.Wanted:
    for name in said.keys() - {"subject", "from", "to", "limit", "clientId"}:
        raise Invalid(f"{name[:40]!r} is nothing that events can be chosen by; subject, from, to and limit are")
    limit = said.get("limit") or "100"
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 6 and 1 <= int(limit) <= events.LIST_MAX):
        raise Invalid(f"limit must be a number from 1 to {events.LIST_MAX:,}")
    edges = {f"{to}_us": _instant(name, said[name]) for name, to in (("from", "from"), ("to", "to")) if said.get(name)}
    user = said.get("subject") or None
    if user is not None and not is_key(user):
        raise Invalid("subject must be a user's key")
    return events.Wanted(user, **edges, limit=int(limit))


ROUTES = (get_meters, get_sums, post_sums, get_events, get_entitlement, get_entitlement_of_subject)
