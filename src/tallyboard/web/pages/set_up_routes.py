"""The doors of the first run: set up the account instead of being admin@localhost in «My organization»."""

from collections.abc import Mapping
from functools import lru_cache
from zoneinfo import available_timezones

from litestar import Response, get, post

from tallyboard import clock
from tallyboard.app import App
from tallyboard.people import accounts, set_up
from tallyboard.people.members import FIRST_EMAIL
from tallyboard.people.set_up import Wanted
from tallyboard.web.pages import figures, frame, render
from tallyboard.web.pages.frame import Ask, Form
from tallyboard.web.threads import in_thread

FIELDS = ("name", "timezone", "email", "password", "again")


@get("/set-up", include_in_schema=False)
@in_thread
def get_set_up_page(request: Ask) -> Response[bytes]:
    """The form, for the first administrator, until it is filled in."""
    member = frame.administrator(request, clock.now_us())
    if member is None:
        return frame.redirect("/sign-in")
    if not set_up.is_due(member):
        return frame.redirect(frame.home(member))
    app: App = request.app.state.app
    with app.ledger.reading() as session:
        account = accounts.of(session, member.account_id)
    name = "" if account.name == accounts.FIRST_NAME else account.name
    return _set_up_page(request, Wanted("", name, account.timezone, ""))


@post("/set-up", include_in_schema=False)
@in_thread
def post_set_up(request: Ask, data: Form) -> Response[bytes]:
    """Do it, and lead to the page."""
    app: App = request.app.state.app
    frame.check_form(request, data)
    now_us = clock.now_us()
    member = frame.administrator(request, now_us)
    if member is None:
        return frame.redirect("/sign-in")
    password = frame.field(data, "password") if app.settings.passwords else None
    email, name, timezone = (frame.field(data, field) for field in ("email", "name", "timezone"))
    wanted = Wanted(email, name, timezone, password)
    problems = dict(set_up.problems(wanted))
    if password is not None and frame.field(data, "again") != password:
        problems["again"] = "the two are not the same"
    if problems:
        return _set_up_page(request, wanted, problems, 400)
    if set_up.is_due(member):
        set_up.set_up(app.ledger, member, wanted, frame.session_secret(request), now_us)
    return frame.redirect(frame.home(member))


ROUTES = [get_set_up_page, post_set_up]


def _set_up_page(request: Ask, wanted: Wanted, problems: Mapping[str, str] | None = None, status: int = 200) -> Response[bytes]:
    app: App = request.app.state.app
    found = problems or {}
    content = render.html(
        "set_up.html",
        csrf_token=frame.form_token(request),
        wanted=wanted,
        problems={field: figures.sentence(found[field]) if field in found else "" for field in FIELDS},
        zones=[(zone, figures.zone_name(zone)) for zone in dict.fromkeys((*_zones(), wanted.timezone))],
        suggest=problems is None and wanted.timezone == "UTC",
        first_email=FIRST_EMAIL,
        passwords=app.settings.passwords,
        provider=app.provider_name,
    )
    return frame.page(content, status=status)


@lru_cache(maxsize=1)
def _zones() -> tuple[str, ...]:
    """What may be chosen: places, and UTC."""
    return ("UTC", *sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/")))
