"""The doors of limits: check, hold, settle, release. Plain ASGI in front of the framework: they stand before every AI request.

A check reads; the rest is decided by the ledger's writer (policy/holds.py), in the transaction that also adds events.
"""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
from litestar.types import HTTPScope, Receive, Send
from msgspec import Struct, structs

from tallyboard import clock, days
from tallyboard.app import App, Caller
from tallyboard.errors import Invalid, NotFound, Taken
from tallyboard.intake import accept, cloudevents
from tallyboard.intake.accept import Sender
from tallyboard.intake.cloudevents import BadBody
from tallyboard.intake.event import EVENT_BYTES_MAX, KEY_CHARACTERS_MAX, Refused, is_key, parse_time
from tallyboard.ledger.contract import Batch, Entry
from tallyboard.people import secrets
from tallyboard.people.keys import Scope as KeyScope
from tallyboard.policy import holds, refusal
from tallyboard.policy.holds import Decision, End, Ending, Grant, Hold
from tallyboard.policy.limits import Allowance, Amount, Standing, allowance, amount, read_units
from tallyboard.policy.refusal import Refusal, Shape
from tallyboard.rates.charge import UNITS_MAX, BadQuantity
from tallyboard.web import body, metrics, problems, raw
from tallyboard.web.security import caller, off_loop

_PREFIXES = ("/api/v1/check", "/api/v1/holds")
_ALLOWANCE = ("/api/v1/users/", b"/allowance")
USER_HEADER = "x-tallyboard-user"
SETTLE_DEFAULTS = {"specversion": "1.0", "source": "urn:tallyboard:hold", "type": "ai.usage.recorded"}
BODY_BYTES_MAX = EVENT_BYTES_MAX + 4_096
REMEMBERED_BYTES_MAX = 4_096
"""How large a check may be to be answered from memory: ten thousand of them are kept at most."""
_OUR_ROUTES = {"", "openai", "anthropic"}
_QUERY_FIELDS_MAX = 20
_DENY_STATUSES = {"": 429, "429": 429, "403": 403}
_HOLD_FIELDS = {"user", "units", "credits", "data", "type", "ttl_s", "id"}
_JSON = {"Content-Type": "application/json"}
_object = msgspec.json.Decoder(dict[str, Any], float_hook=cloudevents.exact)
_encode = msgspec.json.Encoder().encode


class Answer(Struct, frozen=True):
    """An answer before it is sent. Until `until_us` the same question gets the same one, unless something is committed."""

    status: int
    content: bytes
    headers: Mapping[str, str]
    until_us: int = 0


class _Remembered(Struct, frozen=True):
    """An answer that was sent and may be sent again from `from_us` until `until_us`."""

    prepared: raw.Prepared
    from_us: int
    until_us: int


class HoldAnswer(Struct, frozen=True):
    """A hold as the API shows it; `units` is what was set aside."""

    id: str
    user: str
    units: int
    state: str
    granted_at: str
    expires_at: str
    allowance: Allowance


class SettleAnswer(Struct, frozen=True):
    """What became of a hold and of the event that settles it. `charged` is what the event is charged, also where it was sent before."""

    id: str
    user: str
    state: str
    units: int
    charged: Amount
    accepted: int
    duplicate: int
    conflict: int
    allowance: Allowance


class _Asked(Struct, frozen=True):
    """One request: who calls, what its address and its body say, and when."""

    app: App
    who: Caller
    method: str
    path: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    content: bytes
    now_us: int


def is_for(scope: HTTPScope) -> bool:
    """Whether a request is about limits. A user's key may end in `/allowance`: its slash is escaped."""
    path = scope["path"]
    return path.startswith(_PREFIXES) or (path.startswith(_ALLOWANCE[0]) and scope["raw_path"].endswith(_ALLOWANCE[1]))


async def answer(app: App, scope: HTTPScope, receive: Receive, send: Send) -> None:
    """Answer a request that `is_for` these doors.

    The same check gets the same answer until somebody commits something, its user's day ends or a hold or the key expires: then it
    is prepared anew. So most checks cost one look at whether there was a commit.
    """
    try:
        raw_content = await body.received(receive, BODY_BYTES_MAX)
        question = (scope["method"], scope["raw_path"], scope["query_string"], raw_content, *scope["headers"])
        recent, now_us = app.recent.current(), clock.now_us()
        found: _Remembered | None = recent.get(question)
        if found is not None and found.from_us <= now_us < found.until_us:
            metrics.CHECKS_ALLOWED.inc()
            prepared = found.prepared
        else:
            answered = await _answer(await _read(app, scope, raw_content, now_us))
            prepared = raw.prepared(answered.status, answered.content, answered.headers)
            if answered.until_us and _bytes_of(scope, raw_content) <= REMEMBERED_BYTES_MAX:
                recent[question] = _Remembered(prepared, now_us, answered.until_us)
    except Exception as error:  # noqa: BLE001  The framework's net is behind us here.
        await raw.answer_problem(send, error)
        return
    for message in prepared:
        await send(message)


def _bytes_of(scope: HTTPScope, raw_content: bytes) -> int:
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    return headers + len(scope["raw_path"]) + len(scope["query_string"]) + len(raw_content)


async def _read(app: App, scope: HTTPScope, raw_content: bytes, now_us: int) -> _Asked:
    headers = raw.headers_of(scope)
    path, method = _path(scope), str(scope.get("method", ""))
    needed = (KeyScope.READ, KeyScope.CHECK) if method == "GET" and path[0] != "check" else (KeyScope.CHECK,)
    who = await off_loop(app, lambda: caller(app, headers.get("authorization"), needed, now_us))
    content = await body.unpacked(headers, raw_content)
    if len(content) > BODY_BYTES_MAX:
        raise problems.with_status(413, f"a request about a limit may hold {BODY_BYTES_MAX:,} bytes")
    return _Asked(app, who, method, path, _query(scope), headers, content, now_us)


async def _answer(asked: _Asked) -> Answer:  # noqa: PLR0911  A table of doors.
    match asked.method, *asked.path:
        case [_, "check", *route]:
            return await _check(asked, "/".join(route))
        case ["POST", "holds"]:
            return await _hold(asked, Shape.PROBLEM)
        case ["POST", "holds", ("openai" | "anthropic") as route]:
            return await _hold(asked, Shape(route))
        case ["GET", "holds"]:
            return await _outstanding(asked)
        case ["POST", "holds", hold_id, "settle"]:
            return await _settle(asked, hold_id)
        case ["DELETE", "holds", hold_id]:
            return await _release(asked, hold_id)
        case ["GET", "users", user, "allowance"]:
            return await _allowance(asked, user)
        case [_, *path] if allowed := _allowed(path):
            raise problems.with_status(405, f"this is asked by {allowed}, not by {asked.method[:20]}", {"Allow": allowed})
        case _:
            raise problems.with_status(404, "Nothing is found at this address.")


def _allowed(path: list[str]) -> str:
    """The methods of a door, nothing where there is none; a check takes any."""
    match path:
        case ["holds"]:
            return "GET, POST"
        case ["holds", "openai" | "anthropic"] | ["holds", _, "settle"]:
            return "POST"
        case ["holds", _]:
            return "DELETE"
        case ["users", _, "allowance"]:
            return "GET"
        case _:
            return ""


async def _check(asked: _Asked, route: str) -> Answer:
    """May the user go on? 200, or the refusal; nothing is set aside."""
    if route not in _OUR_ROUTES:  # Behind it stands the address that somebody wants to go to: what it says is not the gateway's word.
        asked = structs.replace(asked, query={}, content=b"")
    deny_status = _DENY_STATUSES.get(asked.query.get("deny_status", ""))
    if deny_status is None:
        raise Invalid("deny_status must be 429 or 403")
    said = _json(asked) if asked.content else {}
    user = _user(asked, said)
    app, account_id, now_us = asked.app, asked.who.key.account_id, asked.now_us
    standing = await off_loop(app, lambda: app.standing(account_id, user, now_us))
    if not standing.may_go_on:
        metrics.limit_answered("check", "refused")
        return _refuse(Refusal(standing, None, now_us), deny_status, refusal.shape_of(route))
    metrics.CHECKS_ALLOWED.inc()
    until_us = min(standing.good_until_us, asked.who.key.expires_us or standing.good_until_us)
    return Answer(200, _encode({"allowed": True, "allowance": allowance(standing)}), _JSON, until_us)


async def _allowance(asked: _Asked, user: str) -> Answer:
    """How a user stands: of everybody, or only of the user whom the key is bound to."""
    if not is_key(user) or asked.who.key.user not in {None, user}:
        raise NotFound(f"there is no user {user[:80]!r} that this key may ask for")
    account_id, now_us = asked.who.key.account_id, asked.now_us
    standing = await off_loop(asked.app, lambda: asked.app.standing(account_id, user, now_us))
    return Answer(200, _encode(allowance(standing)), _JSON)


async def _hold(asked: _Asked, shape: Shape) -> Answer:
    """Set credits aside: 201, 200 where that was done before, or the refusal."""
    said = _json(asked)
    if unknown := sorted(said.keys() - _HOLD_FIELDS):
        raise Invalid(f"{unknown[0][:40]!r} is no field of a hold; its fields are {', '.join(sorted(_HOLD_FIELDS))}")
    key = asked.who.key
    grant = Grant(_hold_id(said), _user(asked, said), _estimate(asked, said), _ttl_us(said), key.actor)
    decision: Decision = await asyncio.wrap_future(asked.app.ledger.decide(key.account_id, grant))
    assert decision.standing is not None
    if decision.hold is None:
        metrics.limit_answered("hold", "refused")
        return _refuse(Refusal(decision.standing, grant.units, clock.now_us()), 429, shape)
    if decision.others:
        raise Taken(f"the id {grant.hold_id[:80]!r} is of another user's hold; choose ids that are never used again")
    metrics.limit_answered("hold", "granted" if decision.fresh else "repeated")
    return Answer(201 if decision.fresh else 200, _encode(_shown(decision.hold, decision.standing)), _JSON)


async def _settle(asked: _Asked, hold_id: str) -> Answer:
    """Record the usage that a hold was made for and free the hold, in one transaction."""
    hold = await _find(asked, hold_id)
    key = asked.who.key
    entry = _entry(asked, hold)
    batch = Batch(key.account_id, (entry,), asked.now_us, key.actor, settles=True)
    decision: Decision = await asyncio.wrap_future(asked.app.ledger.decide(key.account_id, End(hold_id, Ending.SETTLED), batch))
    outcome, settled = decision.outcome, decision.hold or structs.replace(hold, ending=Ending.EXPIRED)  # It may be forgotten by now.
    assert outcome is not None
    metrics.taken(outcome)
    metrics.limit_answered("settle", settled.state(asked.now_us))
    standing = decision.standing
    if standing is None:
        standing = await off_loop(asked.app, lambda: asked.app.standing(key.account_id, hold.user, clock.now_us()))
    answered = SettleAnswer(
        settled.hold_id,
        settled.user,
        settled.state(asked.now_us),
        settled.units,
        amount(entry.units),
        outcome.accepted,
        outcome.duplicate,
        outcome.conflict,
        allowance(standing),
    )
    return Answer(200, _encode(answered), _JSON)


async def _release(asked: _Asked, hold_id: str) -> Answer:
    """Free a hold without usage; one that has ended stays as it ended."""
    await _find(asked, hold_id)
    decision: Decision = await asyncio.wrap_future(asked.app.ledger.decide(asked.who.key.account_id, End(hold_id, Ending.RELEASED)))
    metrics.limit_answered("release", decision.hold.state(asked.now_us) if decision.hold else "unknown")
    return Answer(204, b"", {})


async def _outstanding(asked: _Asked) -> Answer:
    """The holds that have neither ended nor expired, oldest first."""
    account_id, now_us = asked.who.key.account_id, asked.now_us

    def read() -> list[Hold]:
        with asked.app.ledger.reading() as session:
            return holds.outstanding(session, account_id, now_us)

    found = await off_loop(asked.app, read)
    return Answer(200, _encode({"holds": [_listed(hold) for hold in found]}), _JSON)


async def _find(asked: _Asked, hold_id: str) -> Hold:
    """The hold, where there is one that the caller may end."""
    account_id = asked.who.key.account_id

    def read() -> Hold | None:
        with asked.app.ledger.reading() as session:
            return holds.of(session, account_id, hold_id)

    hold = await off_loop(asked.app, read) if is_key(hold_id) else None
    if hold is None or asked.who.key.user not in {None, hold.user}:
        raise NotFound(f"there is no hold {hold_id[:80]!r}; those that ended are known for {holds.REMEMBERED_DAYS} days")
    return hold


def _entry(asked: _Asked, hold: Hold) -> Entry:
    """The event that settles a hold, charged: of the hold's user, at the instant the hold was granted."""
    defaults = {**SETTLE_DEFAULTS, "id": hold.hold_id}
    try:
        item = cloudevents.decode_one(asked.headers, asked.content, defaults)
        if item.subject not in {None, "", hold.user}:
            raise Invalid(f"the hold is of {hold.user[:80]!r}, the event of {str(item.subject)[:80]!r}; leave subject away or say the same")
        if item.time is not None:
            parse_time(item.time, asked.now_us)
    except BadBody as bad:
        raise problems.with_status(bad.status, bad.detail) from None
    except Refused as refused:
        raise Invalid(f"{refused.reason}: {refused.detail}") from None
    timed = structs.replace(item, time=days.instant(hold.granted_us).isoformat())
    accepted = accept.accept([timed], Sender(hold.user, asked.who.sender.may_adjust), asked.who.charger, asked.now_us)
    if accepted.refused:
        raise Invalid(f"{accepted.refused[0].reason}: {accepted.refused[0].detail}")
    return accepted.entries[0]


def _refuse(refused: Refusal, status: int, shape: Shape) -> Answer:
    media_type = problems.MEDIA_TYPE if shape is Shape.PROBLEM else "application/json"
    return Answer(status, _encode(refusal.body(refused, status, shape)), {"Content-Type": media_type, **refusal.headers(refused)})


def _shown(hold: Hold, standing: Standing) -> HoldAnswer:
    return HoldAnswer(
        hold.hold_id,
        hold.user,
        hold.units,
        hold.state(clock.now_us()),
        days.instant_text(hold.granted_us),
        days.instant_text(hold.expires_us),
        allowance(standing),
    )


def _listed(hold: Hold) -> dict[str, object]:
    return {
        "id": hold.hold_id,
        "user": hold.user,
        "units": hold.units,
        "granted_at": days.instant_text(hold.granted_us),
        "expires_at": days.instant_text(hold.expires_us),
    }


def _path(scope: HTTPScope) -> tuple[str, ...]:
    """The parts of the address behind /api/v1, each decoded by itself: a hold's id may hold a slash."""
    given = scope.get("raw_path") or str(scope.get("path", "")).encode()
    parts = given.decode("latin-1").removesuffix("/").split("/")[3:]
    return tuple(unquote(part) for part in parts)


def _query(scope: HTTPScope) -> dict[str, str]:
    text = scope.get("query_string", b"").decode("latin-1")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_QUERY_FIELDS_MAX)) if text else {}
    except ValueError:
        raise Invalid(f"the address has more than {_QUERY_FIELDS_MAX} parameters") from None


def _json(asked: _Asked) -> dict[str, Any]:
    try:
        return _object.decode(asked.content)
    except msgspec.ValidationError:
        raise Invalid("the body must be a JSON object") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise problems.with_status(400, f"not JSON: {error}") from None


def _user(asked: _Asked, said: Mapping[str, Any]) -> str:
    """Who asks: the user the key is bound to, else the one the body, the address or the header names."""
    if asked.who.key.user is not None:
        return asked.who.key.user
    named = said.get("user")
    if named is None:
        named = asked.query.get("user") or _header_text(asked.headers.get(USER_HEADER, ""))
    if not isinstance(named, str) or not is_key(named):
        raise Invalid(f'say whom it is about: {{"user": "alice"}}, 1 to {KEY_CHARACTERS_MAX} printable characters')
    return named


def _header_text(value: str) -> str:
    """A header as UTF-8, which is how gateways pass it on."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise Invalid(f"the header {USER_HEADER} is not UTF-8") from None


def _hold_id(said: Mapping[str, Any]) -> str:
    hold_id = said.get("id")
    if hold_id is None:
        return secrets.make("hold_")
    if not isinstance(hold_id, str) or not is_key(hold_id):
        raise Invalid(f"id must be a text of 1 to {KEY_CHARACTERS_MAX} printable characters")
    return hold_id


def _ttl_us(said: Mapping[str, Any]) -> int:
    ttl = said.get("ttl_s")
    if ttl is None:
        ttl = holds.TTL_SECONDS
    if type(ttl) is not int or not 1 <= ttl <= holds.TTL_SECONDS_MAX:
        raise Invalid(f"ttl_s must be a whole number of seconds from 1 to {holds.TTL_SECONDS_MAX}")
    return ttl * 1_000_000


def _estimate(asked: _Asked, said: Mapping[str, Any]) -> int:
    """How much to set aside, in units: said as units or credits, or as the event's data and type, charged by the rates in force."""
    ways = [name for name in ("units", "credits", "data") if said.get(name) is not None]
    if len(ways) != 1:
        raise Invalid('say once how much to set aside: "units", "credits", or "data" and "type"')
    units = _charged(asked, said) if ways == ["data"] else read_units(said, "a hold")
    if units > UNITS_MAX:
        raise Invalid("a hold may set aside 1,000,000,000 credits")
    return units


def _charged(asked: _Asked, said: Mapping[str, Any]) -> int:
    data, kind = said["data"], said.get("type", SETTLE_DEFAULTS["type"])
    if not isinstance(data, dict) or not isinstance(kind, str):
        raise Invalid('data must be an object such as {"requests": 1} and type a text such as "ai.usage.recorded"')
    model = data.get("model")
    try:
        charge = asked.who.charger.charge(kind, model if isinstance(model, str) else "", data, asked.now_us)
    except BadQuantity as error:
        raise Invalid(str(error)) from None
    if not charge.rated:
        raise Invalid(f"no meter of the rate card matches an event of type {kind[:80]!r} with these data, so it cannot be estimated")
    if charge.negative:
        raise Invalid("an estimate cannot be below nothing")
    return charge.units
