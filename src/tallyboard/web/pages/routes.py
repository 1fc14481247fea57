"""The pages' doors: Credit Usage and its CSV. Rules live below; here is who may and what is asked."""

from litestar import Response, get
from litestar.response import Stream

from tallyboard import clock, days
from tallyboard.app import App
from tallyboard.ledger.contract import Session
from tallyboard.ledger.rollups import zone_of
from tallyboard.people import accounts
from tallyboard.policy.reach import Reach, reach
from tallyboard.usage import export, overview, palette
from tallyboard.usage.overview import Overview, View
from tallyboard.usage.question import Question, answer
from tallyboard.web import security
from tallyboard.web.api.usage import etag
from tallyboard.web.pages import figures, frame, links, render, usage
from tallyboard.web.pages.frame import Ask
from tallyboard.web.problems import Problem

AXIS_DIGITS_MAX = 30
MISDIRECTED = 421


@get("/", sync_to_thread=True, include_in_schema=False)
def get_root(request: Ask) -> Response[bytes]:
    """There is no page here; what one may see is next door."""
    member = frame.signed_in(request, clock.now_us())
    return frame.redirect("/sign-in" if member is None else frame.home(member))


@get("/usage", sync_to_thread=True, include_in_schema=False)
def get_usage_page(request: Ask, window: str = "", day: str = "", user: str = "", q: str = "", axis: str = "") -> Response[bytes]:
    """Credit Usage: every state of it has a URL."""
    app: App = request.app.state.app
    now_us = clock.now_us()
    member = frame.administrator(request, now_us)
    if member is None:
        return frame.redirect("/sign-in")
    with app.ledger.reading() as session:
        current = accounts.state(session, member.account_id, now_us)
    form_token = security.form_token(frame.session_secret(request))  # Stands in the page, too.
    tag = etag(current, member, form_token, render.assets(), window, day, user, q, axis)
    headers = {"ETag": tag, "Cache-Control": "no-store", "Vary": "Cookie"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers)
    shown, reached = _overview(app, member.account_id, links.read(window, day, user, q), now_us)
    floor = int(axis) if axis.isascii() and axis.isdecimal() and len(axis) <= AXIS_DIGITS_MAX else 0
    content = render.html(
        "usage.html",
        **frame.layout(request, member, shown.report.account, "/usage"),
        **usage.context(shown, axis_floor_units=floor, reach=reached),
        state=current,
    )
    return frame.page(content, headers=headers)


@get("/usage.csv", sync_to_thread=True, include_in_schema=False)
def get_usage_csv(request: Ask, window: str = "", day: str = "", user: str = "") -> Response[bytes] | Stream:
    """All users of what the page shows, to the unit."""
    app: App = request.app.state.app
    now_us = clock.now_us()
    member = frame.administrator(request, now_us)
    if member is None:
        return frame.redirect("/sign-in")
    view = links.read(window, day, user, "")
    with app.ledger.reading() as session:
        span = days.window(view.window, days.today(now_us, zone_of(session, member.account_id).info))
        if view.day and view.day in span:
            span = days.DayRange(view.day, view.day)
        report = answer(session, member.account_id, Question(span, view.user, top=None), now_us)
    name = f"credit-usage-{span.first}-{span.last}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Stream(export.csv_text(report), media_type=export.CSV_TYPE, headers=headers)


def error_page(request: Ask, problem: Problem) -> bytes:
    """A problem as a page; who may not see the pages of this account can leave it."""
    app: App = request.app.state.app
    secret = request.cookies.get(security.cookie_name(app), "")
    csrf_token = security.form_token(secret) if problem.status == 403 and secret else ""
    way_on = ("/", "Your pages") if csrf_token else ("/usage", "Credit Usage")
    return render.html(
        "error.html",
        status=problem.status,
        title=problem.title,
        detail=figures.sentence(problem.detail),
        way_on=None if problem.status == MISDIRECTED else way_on,
        csrf_token=csrf_token,
    )


def _overview(app: App, account_id: int, view: View, now_us: int) -> tuple[Overview, Reach | None]:
    """The page's figures, and how far users are with their limits; users who appear in the chart for the first time get their colours before."""
    with app.ledger.reading() as session:
        kept = palette.of(session, account_id)
        shown = overview.overview(session, account_id, view, {user: place.slot for user, place in kept.items()}, now_us)
        visible = [row.user for row in shown.series]
        if shown.person and shown.person.usage.user not in visible:
            visible.append(shown.person.usage.user)
        if palette.is_settled(kept, visible, shown.today):
            return shown, _reach(session, account_id, shown, now_us)
        rankings = [overview.ranking(session, account_id, window, now_us) for window in reversed(days.WINDOWS)]
    app.ledger.change(lambda writing: palette.settle(writing, account_id, rankings, visible, shown.today)).result()
    with app.ledger.reading() as session:
        slots = {user: place.slot for user, place in palette.of(session, account_id).items()}
        shown = overview.overview(session, account_id, view, slots, now_us)
        return shown, _reach(session, account_id, shown, now_us)


def _reach(session: Session, account_id: int, shown: Overview, now_us: int) -> Reach | None:
    users = {row.user for row in shown.rows} | ({shown.person.usage.user} if shown.person else set())
    return reach(session, account_id, sorted(users), shown.view.day or shown.today, now_us)
