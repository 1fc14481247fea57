"""The doors of the Credit Policy page. What is typed is never lost: a form that cannot be taken comes back as it was sent."""

from collections.abc import Mapping
from typing import Annotated, Any

from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.params import Body

from tallyboard import clock, days
from tallyboard.app import App
from tallyboard.errors import Invalid, NotFound, Stale
from tallyboard.ledger.contract import Session
from tallyboard.people import accounts, directory
from tallyboard.people.directory import User
from tallyboard.people.members import Member
from tallyboard.policy import bulk, history, holds, overrides, policy, preview
from tallyboard.policy.bulk import LineMistake
from tallyboard.policy.holds import End, Ending
from tallyboard.policy.limits import limit_text
from tallyboard.policy.overrides import Wanted
from tallyboard.policy.policy import Policy
from tallyboard.web.pages import changes, render
from tallyboard.web.pages import policy as sight
from tallyboard.web.pages.frame import Ask, address, administrator, check_form, layout, page, redirect
from tallyboard.web.pages.policy import PATH, Dialog, Draft, Query, Seen, Typed
from tallyboard.web.pages.trial import Trial, trial
from tallyboard.web.threads import in_thread

PEOPLE_OFFERED = 50
Fields = Annotated[dict[str, Any], Body(media_type=RequestEncodingType.URL_ENCODED)]


@get(PATH, include_in_schema=False)
@in_thread
def get_policy_page(request: Ask) -> Response[bytes]:
    """Credit Policy: every state of it has a URL."""
    now_us = clock.now_us()
    member = administrator(request, now_us)
    if member is None:
        return redirect("/sign-in")
    values = {name: value[:1_000] for name, value in request.query_params.items()}
    app: App = request.app.state.app
    with app.ledger.reading() as session:
        dialog = _dialog(session, member.account_id, values)
    return _show(request, member, now_us, values, dialog=dialog, done=values.get("done", ""))


@post(PATH, include_in_schema=False, status_code=303)
@in_thread
def post_policy_page(request: Ask, data: Fields) -> Response[bytes]:
    """Save the default limit and the zone, or only show what they would do."""
    fields, now_us = _fields(data), clock.now_us()
    member = _sender(request, fields, now_us)
    if member is None:
        return redirect("/sign-in")
    if fields.get("action") == "preview":
        kept = {name: fields.get(name, "") for name in ("mode", "limit", "timezone")}
        return redirect(address(PATH, "preview", **kept))
    app: App = request.app.state.app
    with app.ledger.reading() as session:
        saved = policy.of(session, member.account_id)
    reading = sight.read(sight.draft(fields, saved))
    stale = fields.get("tag", "") != saved.tag  # Looked at before any other answer, since each carries the tag of now.
    if stale or not reading.good or reading.zone is None:
        return _show(request, member, now_us, fields, status=412 if stale else 400)
    if reading.units == 0 and saved.default_units != 0 and fields.get("confirmed") != "yes":
        return _show(request, member, now_us, fields, dialog=Dialog("pause"))
    units, zone, tag = reading.units, reading.zone.key, fields.get("tag", "")
    try:
        app.ledger.change(
            lambda session: policy.change(
                session, member.account_id, member.email, now_us, default_units=units, timezone=zone, expected=tag
            )
        ).result()
    except Stale:
        return _show(request, member, now_us, fields, status=412)
    return redirect(address(PATH, done="policy"))


@post(f"{PATH}/limit", sync_to_thread=True, include_in_schema=False, status_code=303)
def post_override(request: Ask, data: Fields) -> Response[bytes]:
    """Give a user a limit of their own, or change it."""
    fields, now_us = _fields(data), clock.now_us()
    member = _sender(request, fields, now_us)
    if member is None:
        return redirect("/sign-in")
    app: App = request.app.state.app
    typed = _typed(fields)
    units, problem = sight.read_limit(typed.limit) if typed.limit.strip() else (None, "Type a number of credits, or “unlimited”.")
    problems = {"limit": problem} if problem else {}
    with app.ledger.reading() as session:
        found = directory.meant(session, member.account_id, [typed.user.strip()]).get(typed.user.strip())
        user = found.user if found else typed.user.strip()
        before = overrides.of(session, member.account_id, user)
        zone = days.zone(policy.of(session, member.account_id).timezone)
    expires_us, wrong = _expires(typed.expires, zone)
    if before is not None and typed.expires and typed.expires == sight.expires_text(before, zone):
        expires_us = before.expires_us  # The form shows whole minutes; what was set may be finer.
    if wrong:
        problems["expires"] = wrong
    if not user:
        problems["user"] = "Say which user."
    if not problems:
        wanted = Wanted(user, units, typed.reason.strip(), expires_us)
        try:
            app.ledger.change(
                lambda session: overrides.put(session, member.account_id, [wanted], member.email, now_us, expected=typed.tag or None)
            ).result()
            return redirect(sight.link(Query(), "own", done="limit"))
        except Invalid as error:
            problems["form"] = _sentence(error)
        except Stale:
            return _show_changed(request, member, now_us, typed, user)
    dialog = Dialog("limit", typed, typed.tag not in {"", "none"}, problems)
    return _show(request, member, now_us, {}, dialog=dialog, status=400)


@post(f"{PATH}/limits", sync_to_thread=True, include_in_schema=False, status_code=303)
def post_overrides(request: Ask, data: Fields) -> Response[bytes]:
    """Give many users limits of their own: all of them or none."""
    fields, now_us = _fields(data), clock.now_us()
    member = _sender(request, fields, now_us)
    if member is None:
        return redirect("/sign-in")
    app: App = request.app.state.app
    typed = _typed(fields)
    asked, mistakes = bulk.read(typed.lines, typed.limit)
    with app.ledger.reading() as session:
        found = directory.meant(session, member.account_id, [each.user for each in asked])
        zone = days.zone(policy.of(session, member.account_id).timezone)
    expires_us, wrong = _expires(typed.expires, zone)
    problems = {"expires": wrong} if wrong else {}
    wanted: dict[str, Wanted] = {}
    for each in asked:
        user = found[each.user].user if each.user in found else each.user
        if user in wanted:
            mistakes.append(LineMistake(each.line, f"{each.user[:80]} is named twice, by key and by email"))
        wanted[user] = Wanted(user, each.units, typed.reason.strip(), expires_us)
    if not asked and not mistakes:
        problems["lines"] = "Name at least one user."
    if not problems and not mistakes:
        try:
            app.ledger.change(
                lambda session: overrides.put(session, member.account_id, list(wanted.values()), member.email, now_us)
            ).result()
            return redirect(sight.link(Query(), "own", done="limits"))
        except Invalid as error:
            problems["form"] = _sentence(error)
    dialog = Dialog("limits", typed, problems=problems, mistakes=tuple(sorted(mistakes, key=lambda one: one.line)))
    return _show(request, member, now_us, {}, dialog=dialog, status=400)


@post(f"{PATH}/limit/remove", sync_to_thread=True, include_in_schema=False, status_code=303)
def post_removal(request: Ask, data: Fields) -> Response[bytes]:
    """Take a user's own limit away."""
    fields, now_us = _fields(data), clock.now_us()
    member = _sender(request, fields, now_us)
    if member is None:
        return redirect("/sign-in")
    app: App = request.app.state.app
    typed = _typed(fields)
    try:
        app.ledger.change(
            lambda session: overrides.remove(session, member.account_id, typed.user, member.email, now_us, expected=typed.tag or None)
        ).result()
    except NotFound:
        pass  # Somebody else has removed it: it is as it was asked for.
    except Stale:
        return _show_changed(request, member, now_us, typed, typed.user, kind="remove")
    return redirect(sight.link(Query(), "own", done="removed"))


@post(f"{PATH}/release", sync_to_thread=True, include_in_schema=False, status_code=303)
def post_release(request: Ask, data: Fields) -> Response[bytes]:
    """Release a hold that nobody will settle; one that has ended meanwhile stays as it ended."""
    fields, now_us = _fields(data), clock.now_us()
    member = _sender(request, fields, now_us)
    if member is None:
        return redirect("/sign-in")
    app: App = request.app.state.app
    app.ledger.decide(member.account_id, End(fields.get("hold", ""), Ending.RELEASED)).result()
    return redirect(address(PATH, "aside", done="released"))


def _sender(request: Ask, fields: dict[str, str], now_us: int) -> Member | None:
    member = administrator(request, now_us)
    if member is not None:
        check_form(request, fields)
    return member


def _fields(data: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in data.items()}


def _typed(fields: Mapping[str, str]) -> Typed:
    names = ("user", "lines", "limit", "reason", "expires", "tag")
    return Typed(**{name: fields.get(name, "") for name in names})


def _expires(text: str, zone: Any) -> tuple[int | None, str]:
    if not text.strip():
        return None, ""
    try:
        return days.local_us(text, zone), ""
    except (ValueError, OverflowError):
        return None, "Type a day and a time, such as 2026-12-01T00:00."


def _sentence(error: Exception) -> str:
    text = str(error).removeprefix("limit: ")
    return f"{text[:1].upper()}{text[1:]}."


def _dialog(session: Session, account_id: int, values: Mapping[str, str]) -> Dialog | None:
    """The question that an address asks for."""
    zone = days.zone(policy.of(session, account_id).timezone)
    if user := values.get("remove", ""):
        found = overrides.of(session, account_id, user)
        return Dialog("remove", sight.override_form(user, found, zone)) if found else None
    if user := values.get("edit", ""):
        found = overrides.of(session, account_id, user)
        return Dialog("limit", sight.override_form(user, found, zone), found is not None)
    if values.get("add"):
        return Dialog("limit", sight.override_form("", None, zone))
    return Dialog("limits") if values.get("bulk") else None


def _show_changed(request: Ask, member: Member, now_us: int, typed: Typed, user: str, kind: str = "limit") -> Response[bytes]:
    """A user's limit is no longer what the form was made for: what it is now, and what was typed."""
    app: App = request.app.state.app
    with app.ledger.reading() as session:
        found = overrides.of(session, member.account_id, user)
    if found is None:
        text, tag = "Meanwhile the limit of this user was removed. Saving sets it again.", "none"
    else:
        verb = "Removing takes that away." if kind == "remove" else "Saving replaces it."
        text = f"This user has a limit of {limit_text(found.units)}, set by {changes.actor(found.actor)}. {verb}"
        tag = found.tag
    dialog = Dialog(kind, Typed(user, "", typed.limit, typed.reason, typed.expires, tag), True, conflict=text)
    return _show(request, member, now_us, {}, dialog=dialog, status=412)


def _show(
    request: Ask,
    member: Member,
    now_us: int,
    values: Mapping[str, str],
    *,
    dialog: Dialog | None = None,
    status: int = 200,
    done: str = "",
) -> Response[bytes]:
    """The page, with what was typed."""
    app: App = request.app.state.app
    account_id = member.account_id
    query = Query(**{name: values.get(name, "") for name in ("q", "after", "before", "user", "at")})
    with app.ledger.reading() as session:
        saved = policy.of(session, account_id)
        draft = sight.draft(values, saved)
        seen = _seen(session, account_id, now_us, saved, draft, query, _number(values.get("who", "")))
        account = accounts.of(session, account_id)
        stale = status == 412 and dialog is None
        conflict = sight.conflict(saved, sight.read(draft), history.changes(session, account_id)) if stale else ""
    content = render.html(
        "policy.html",
        **layout(request, member, account.name, PATH),
        **sight.context(seen, query, draft, touched=request.method == "POST", dialog=dialog, conflict=conflict, done=done),
    )
    return page(content, status)


def _seen(session: Session, account_id: int, now_us: int, saved: Policy, draft: Draft, query: Query, skip: int) -> Seen:
    held = holds.outstanding(session, account_id, now_us)
    own = overrides.listed(session, account_id, query.q, query.after, overrides.PAGE_OVERRIDES_MAX + 1)
    named = {each.user for each in held} | {each.user for each in own}
    applied, applied_problem = _applied(session, account_id, saved, query)
    return Seen(
        now_us=now_us,
        policy=saved,
        trial=_trial(session, account_id, now_us, saved, draft, skip),
        overrides=own,
        overrides_total=overrides.count(session, account_id),
        holds=held,
        holds_total=holds.total(session, account_id, now_us),
        changes=history.changes(session, account_id, _number(query.before) or None, history.PAGE_CHANGES_MAX + 1),
        applied=applied,
        applied_problem=applied_problem,
        people=directory.find(session, account_id, query.user)[:PEOPLE_OFFERED],
        known=directory.of(session, account_id, sorted(named)),
    )


def _trial(session: Session, account_id: int, now_us: int, saved: Policy, draft: Draft, skip: int) -> Trial | None:
    """What the draft would have done, beside what is saved; nothing to tell of a limit that makes no sense."""
    reading = sight.read(draft)
    if reading.limit_problem:
        return None
    found = preview.preview(session, account_id, reading.units, now_us, skip)
    other = reading.units != saved.default_units
    beside = preview.preview(session, account_id, saved.default_units, now_us) if other else None
    return trial(reading.units, found, saved.default_units, beside, skip)


def _applied(session: Session, account_id: int, saved: Policy, query: Query) -> tuple[str, str]:
    """Which limit applied to a user at a time, as a sentence; or what is wrong with the question."""
    if not query.user or not query.at:
        return "", ""
    zone = days.zone(saved.timezone)
    at_us, wrong = _expires(query.at, zone)
    if at_us is None:
        return "", wrong
    keys = directory.of(session, account_id, [query.user]) or directory.meant(session, account_id, [query.user])
    user = keys.get(query.user, User(query.user, None, None))
    found = history.limit_at(session, account_id, user.user, at_us)
    return changes.applied(user.name or user.email or user.user, at_us, found, zone), ""


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0
