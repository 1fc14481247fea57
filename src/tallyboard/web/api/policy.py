"""The policy: default limit and timezone, users' own limits, what a limit would have done, and who changed what."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

from litestar import MediaType, Request, Response, delete, get, post, put
from litestar.datastructures import State
from msgspec import UNSET, Struct, UnsetType
from msgspec.json import encode

from tallyboard import clock, days
from tallyboard.app import App
from tallyboard.errors import Invalid, NotFound
from tallyboard.people.keys import ApiKey, Scope
from tallyboard.policy import history, overrides, policy, preview
from tallyboard.policy.history import Change
from tallyboard.policy.limits import Amount, amount, read_units
from tallyboard.policy.overrides import UserOverride, Wanted
from tallyboard.policy.policy import Policy
from tallyboard.web import raw, security
from tallyboard.web.problems import Problem
from tallyboard.web.threads import in_thread

Ask = Request[None, None, State]


class Limit(Struct, frozen=True, forbid_unknown_fields=True):
    """A limit as it is sent: credits as text or number with up to eight decimals, or units."""

    credits: Decimal | None = None
    units: int | None = None


class PolicyBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be the policy; what is left away stays as it is. No limit is null."""

    default_limit: Limit | UnsetType | None = UNSET
    timezone: str | UnsetType = UNSET


class OverrideBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be a user's own limit, null for none at all, and until when it counts."""

    limit: Limit | None
    reason: str = ""
    expires_at: str | None = None


class PreviewBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The default limit to try on history."""

    default_limit: Limit | None


class PolicyAnswer(Struct, frozen=True):
    """The policy in force and when the day ends that it counts for now."""

    default_limit: Amount | None
    timezone: str
    resets_at: str


class OverrideAnswer(Struct, frozen=True):
    """A user's own limit. `in_force` is false where it has expired, or the user is an alias of another."""

    user: str
    limit: Amount | None
    reason: str
    expires_at: str | None
    in_force: bool
    set_at: str
    set_by: str


class OverridePage(Struct, frozen=True):
    """Overrides in the order of their users' keys; `cursor` asks for the next page, null where there is none."""

    overrides: list[OverrideAnswer]
    cursor: str | None


@get("/api/v1/policy")
@in_thread
def get_policy(request: Ask) -> Response[PolicyAnswer]:
    """Default limit and timezone, with the ETag that a change must name."""
    app: App = request.app.state.app
    key = _key(request, Scope.READ)
    with app.ledger.reading() as session:
        return _policy(policy.of(session, key.account_id))


@put("/api/v1/policy")
@in_thread
def put_policy(request: Ask, data: PolicyBody) -> Response[PolicyAnswer]:
    """Takes effect at the next check. `If-Match` names the state that the change was made for: 428 without it, 412 where it has passed."""
    app: App = request.app.state.app
    key = _key(request, Scope.ADMIN)
    expected = _expected(request)
    if expected is None and request.headers.get("if-match", "").strip() != "*":
        raise Problem(428, "precondition-required", "Say what you change", "send If-Match with the ETag of GET /api/v1/policy")
    now_us = clock.now_us()
    wanted = None if isinstance(data.default_limit, UnsetType) else _units(data.default_limit, "default_limit")

    def change(session: Any) -> Policy:
        before = policy.of(session, key.account_id)
        return policy.change(
            session,
            key.account_id,
            key.actor,
            now_us,
            default_units=before.default_units if isinstance(data.default_limit, UnsetType) else wanted,
            timezone=before.timezone if isinstance(data.timezone, UnsetType) else data.timezone,
            expected=expected,
        )

    return _policy(app.ledger.change(change).result())


@get("/api/v1/policy/overrides", sync_to_thread=True)
def get_overrides(request: Ask, search: str = "", cursor: str = "") -> OverridePage:
    """Up to 200 at a time whose user or reason holds the searched text."""
    app: App = request.app.state.app
    key = _key(request, Scope.READ)
    with app.ledger.reading() as session:
        found = overrides.listed(session, key.account_id, search[:256], cursor[:256])
    now_us = clock.now_us()
    return OverridePage([_override(each, now_us) for each in found], found[-1].user if len(found) == overrides.PAGE_OVERRIDES_MAX else None)


@get("/api/v1/policy/overrides/{user:path}")
@in_thread
def get_override(request: Ask, user: str) -> Response[OverrideAnswer]:
    """404 where the user has none."""
    app: App = request.app.state.app
    key, user = _key(request, Scope.READ), _user(request, user)
    with app.ledger.reading() as session:
        found = overrides.of(session, key.account_id, user)
    if found is None:
        raise NotFound(f"{user[:80]!r} has no limit of their own")
    return Response(_override(found, clock.now_us()), headers={"ETag": f'"{found.tag}"'})


@put("/api/v1/policy/overrides/{user:path}")
@in_thread
def put_override(request: Ask, user: str, data: OverrideBody) -> Response[OverrideAnswer]:
    """Takes effect at the next check. `If-Match`, or `If-None-Match: *` for a user who has none, guards against lost updates."""
    app: App = request.app.state.app
    key, user, now_us = _key(request, Scope.ADMIN), _user(request, user), clock.now_us()
    expected = "none" if request.headers.get("if-none-match", "").strip() == "*" else _expected(request)
    wanted = Wanted(user, _units(data.limit, "limit"), data.reason.strip(), _instant(data.expires_at))

    def change(session: Any) -> UserOverride:
        overrides.put(session, key.account_id, [wanted], key.actor, now_us, expected=expected)
        found = overrides.of(session, key.account_id, user)
        assert found is not None
        return found

    found = app.ledger.change(change).result()
    return Response(_override(found, now_us), headers={"ETag": f'"{found.tag}"'})


@delete("/api/v1/policy/overrides/{user:path}")
@in_thread
def delete_override(request: Ask, user: str) -> None:
    """From the next check on, the default counts again."""
    app: App = request.app.state.app
    key, expected, now_us = _key(request, Scope.ADMIN), _expected(request), clock.now_us()
    user = _user(request, user)
    app.ledger.change(lambda session: overrides.remove(session, key.account_id, user, key.actor, now_us, expected=expected)).result()


@post("/api/v1/policy/preview", sync_to_thread=True, status_code=200)
def post_preview(request: Ask, data: PreviewBody) -> Response[bytes]:
    """Who would have been paused on which of the last 30 days by this default limit; users with a limit of their own keep it."""
    app: App = request.app.state.app
    key = _key(request, Scope.READ)
    units = _units(data.default_limit, "default_limit")
    with app.ledger.reading() as session:
        found = preview.preview(session, key.account_id, units, clock.now_us())
    shape = {
        "users": found.users,
        "user_days": found.user_days,
        "of": {"users": found.all_users, "user_days": found.all_user_days},
        "days": [{"day": day, "users": users} for day, users in found.by_day],
        "who": [{"user": one.user, "label": one.label, "days": one.days, "most": amount(one.most_units)} for one in found.who],
    }
    return Response(encode(shape), media_type=MediaType.JSON)


@get("/api/v1/policy/history", sync_to_thread=True)
def get_history(request: Ask, cursor: int | None = None, user: str = "", at: str = "") -> Response[bytes]:
    """Up to 50 changes, newest first. With `user` and `at`, an instant: also which limit applied to the user then."""
    app: App = request.app.state.app
    key = _key(request, Scope.READ)
    if bool(user) != bool(at):
        raise Invalid("user and at go together: they ask which limit applied to a user at an instant")
    at_us = _instant(at or None)
    with app.ledger.reading() as session:
        found = history.changes(session, key.account_id, cursor)
        applied = history.limit_at(session, key.account_id, user[:256], at_us) if at_us is not None else None
    shape: dict[str, object] = {
        "changes": [_change(each) for each in found],
        "cursor": found[-1].audit_id if len(found) == history.PAGE_CHANGES_MAX else None,
    }
    if applied is not None:
        limit = None if applied.units is None else amount(applied.units)
        shape["applied"] = {"user": user, "at": at, "limit": limit, "origin": applied.origin}
    return Response(encode(shape), media_type=MediaType.JSON)


def _key(request: Ask, scope: Scope) -> ApiKey:
    return security.caller(request.app.state.app, request.headers.get("authorization"), (scope,), clock.now_us()).key


def _user(request: Ask, found: str) -> str:
    return raw.rest_of_path(request.scope, "/api/v1/policy/overrides", found)


def _expected(request: Ask) -> str | None:
    """The tag of `If-Match`, None where it names none."""
    found = re.search(r'"([^"]*)"', request.headers.get("if-match", ""))
    return found[1] if found else None


def _units(limit: Limit | None, name: str) -> int | None:
    return None if limit is None else read_units({"credits": limit.credits, "units": limit.units}, name)


def _instant(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError
        return days.instant_us(moment)
    except (ValueError, OverflowError):
        raise Invalid(f"an instant looks like 2026-11-22T09:00:00Z, not {text[:40]!r}") from None


def _policy(found: Policy) -> Response[PolicyAnswer]:
    limit = None if found.default_units is None else amount(found.default_units)
    ends_us = days.ends_at_us(clock.now_us(), days.zone(found.timezone))
    return Response(
        PolicyAnswer(limit, found.timezone, days.instant_text(ends_us)), headers={"ETag": f'"{found.tag}"', "Cache-Control": "no-store"}
    )


def _override(found: UserOverride, now_us: int) -> OverrideAnswer:
    return OverrideAnswer(
        found.user,
        None if found.units is None else amount(found.units),
        found.reason,
        None if found.expires_us is None else days.instant_text(found.expires_us),
        found.limit.counts(now_us) and found.alias_of is None,
        days.instant_text(found.set_us),
        found.actor,
    )


def _change(found: Change) -> dict[str, object]:
    return {"at": days.instant_text(found.at_us), "by": found.actor, "action": found.action, **found.detail}
