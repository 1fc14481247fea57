"""The doors of My usage: what a member may see of their own, as a page and as CSV. Whose it is comes from the session alone."""

from hashlib import sha256

from litestar import Response, get
from litestar.response import Stream

from tallyboard import clock
from tallyboard.app import App
from tallyboard.people import accounts
from tallyboard.policy import own
from tallyboard.usage import export
from tallyboard.web.pages import frame, links, my, render
from tallyboard.web.pages.frame import Ask
from tallyboard.web.problems import Problem


@get("/my", sync_to_thread=True, include_in_schema=False)
def get_my_page(request: Ask, window: str = "", day: str = "") -> Response[bytes]:
    """My usage. What it depends on is what it says: the tag does not move with the usage of others."""
    app: App = request.app.state.app
    now_us = clock.now_us()
    member = frame.signed_in(request, now_us)
    if member is None:
        return frame.redirect("/sign-in")
    view = links.read(window, day)
    with app.ledger.reading() as session:
        account = accounts.of(session, member.account_id)
        user = own.user_of(session, member)
        found = own.own(session, member.account_id, user, view.window, now_us) if user else None
    more = my.context(found, view, now_us) if found else {}
    content = render.html("my.html", **frame.layout(request, member, account.name, "/my"), linked=found is not None, **more)
    tag = f'W/"{sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-store", "Vary": "Cookie"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers)
    return frame.page(content, headers=headers)


@get("/my.csv", sync_to_thread=True, include_in_schema=False)
def get_my_csv(request: Ask, window: str = "") -> Response[bytes] | Stream:
    """One's own days, to the unit."""
    app: App = request.app.state.app
    now_us = clock.now_us()
    member = frame.signed_in(request, now_us)
    if member is None:
        return frame.redirect("/sign-in")
    with app.ledger.reading() as session:
        user = own.user_of(session, member)
        if user is None:
            raise Problem(404, "not-found", "No usage of yours", "There is no user with your email.")
        report = own.own(session, member.account_id, user, links.read(window).window, now_us).report
    name = f"my-usage-{report.days[0].day}-{report.days[-1].day}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Stream(export.csv_text(report), media_type=export.CSV_TYPE, headers=headers)


ROUTES = [get_my_page, get_my_csv]
