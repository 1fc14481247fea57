"""The doors of the audit log: a page of lines, all of them as CSV or NDJSON, and the verdict of the chain when it is asked for."""

import threading
from collections.abc import Callable, Iterator

from litestar import Response, get, post
from litestar.response import Stream

from tallyboard import clock, days
from tallyboard.app import App
from tallyboard.errors import Overloaded
from tallyboard.ledger import audit
from tallyboard.ledger.audit import Entry, Place, Verified, Wanted
from tallyboard.people import accounts, keys
from tallyboard.people.members import Member
from tallyboard.usage import export
from tallyboard.web.pages import audit as sight
from tallyboard.web.pages import render
from tallyboard.web.pages.audit import PATH
from tallyboard.web.pages.frame import Ask, administrator, check_form, layout, page, redirect
from tallyboard.web.pages.keys_routes import Fields, text_fields

EXPORT_AT_ONCE = 2_000
_checking = threading.Lock()
"""Following the chain reads the whole log: one at a time in a process."""


@get(PATH, sync_to_thread=True, include_in_schema=False)
def get_audit_page(request: Ask) -> Response[bytes]:
    """The log, newest first: every state of it has a URL."""
    member = administrator(request, clock.now_us())
    return redirect("/sign-in") if member is None else _show(request, member)


@get(f"{PATH}.csv", sync_to_thread=True, include_in_schema=False)
def get_audit_csv(request: Ask) -> Response[bytes] | Stream:
    """What the page shows, all pages of it, for a spreadsheet."""
    head = ",".join(sight.COLUMNS) + "\r\n"
    return _export(request, "csv", export.CSV_TYPE, head, sight.csv_lines)


@get(f"{PATH}.ndjson", sync_to_thread=True, include_in_schema=False)
def get_audit_ndjson(request: Ask) -> Response[bytes] | Stream:
    """What the page shows, all pages of it, for programs: an object a line."""
    return _export(
        request, "ndjson", "application/x-ndjson", "", lambda lines: "".join(f"{audit.as_json(line).decode()}\n" for line in lines)
    )


@post(f"{PATH}/check", sync_to_thread=True, include_in_schema=False, status_code=200)
def post_audit_check(request: Ask, data: Fields) -> Response[bytes]:
    """Follow the chain through the whole log, and say what was found above the newest lines."""
    member = administrator(request, clock.now_us())
    if member is None:
        return redirect("/sign-in")
    check_form(request, text_fields(data))
    app: App = request.app.state.app
    if not _checking.acquire(blocking=False):
        raise Overloaded("the log is being checked for somebody else; try again when that is done", retry_seconds=10)
    try:
        with app.ledger.reading() as session:
            verified = audit.verify(session, member.account_id)
    finally:
        _checking.release()
    return _show(request, member, verified)


def _show(request: Ask, member: Member, verified: Verified | None = None) -> Response[bytes]:
    app: App = request.app.state.app
    query = dict(request.query_params.items())
    seen, before = sight.asked(query), sight.place(query.get("before", ""))
    with app.ledger.reading() as session:
        account = accounts.of(session, member.account_id)
        zone = days.zone(account.timezone)
        found = audit.newest(session, member.account_id, seen.wanted(zone), before, audit.PAGE_LINES + 1)
        actions, actors = audit.choices(session, member.account_id)
        names = {key.id: key.name for key in keys.listed(session, member.account_id)}
    content = render.html(
        "audit.html",
        **layout(request, member, account.name, PATH),
        **sight.context(
            found[: audit.PAGE_LINES],
            zone,
            names,
            seen,
            is_first=before is None,
            more=len(found) > audit.PAGE_LINES,
            actions=actions,
            actors=actors,
            verified=verified,
        ),
        zone_name=account.timezone,
    )
    return page(content)


def _export(request: Ask, ending: str, media_type: str, head: str, write: Callable[[list[Entry]], str]) -> Response[bytes] | Stream:
    now_us = clock.now_us()
    member = administrator(request, now_us)
    if member is None:
        return redirect("/sign-in")
    app: App = request.app.state.app
    with app.ledger.reading() as session:
        zone = days.zone(accounts.of(session, member.account_id).timezone)
    wanted = sight.asked(dict(request.query_params.items())).wanted(zone)
    headers = {"Content-Disposition": f'attachment; filename="audit-log-{days.today(now_us, zone)}.{ending}"', "Cache-Control": "no-store"}
    return Stream(_pieces(app, member.account_id, wanted, head, write), media_type=media_type, headers=headers)


def _pieces(app: App, account_id: int, wanted: Wanted, head: str, write: Callable[[list[Entry]], str]) -> Iterator[str]:
    """The log in pieces, each from a snapshot of its own: lines are only added, at the end that was read first."""
    yield head
    before: Place | None = None
    while True:
        with app.ledger.reading() as session:
            lines = audit.newest(session, account_id, wanted, before, EXPORT_AT_ONCE)
        if lines:
            yield write(lines)
            before = audit.place_of(lines[-1])
        if len(lines) < EXPORT_AT_ONCE:
            return
