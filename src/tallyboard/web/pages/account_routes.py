"""The doors of Your account: what every member may see and change of their own."""

from litestar import Response, get, post
from msgspec import Struct

from tallyboard import clock, days
from tallyboard.app import App
from tallyboard.errors import Invalid, TooOften
from tallyboard.people import accounts, members, persons, sessions, sign_in
from tallyboard.people.members import Member
from tallyboard.people.sessions import SignedIn
from tallyboard.web import security
from tallyboard.web.pages import figures, frame, render
from tallyboard.web.pages.frame import Ask, Form
from tallyboard.web.problems import with_status

DONE = {
    "password": "Your password is set. Your other sessions have ended.",
    "session": "The session has ended.",
}


class ShownSession(Struct, frozen=True):
    """A line of the list of sessions."""

    id: str
    browser: str
    began: str
    seen: str
    current: bool


@get("/account", sync_to_thread=True, include_in_schema=False)
def get_account_page(request: Ask, done: str = "") -> Response[bytes]:
    """Your account."""
    member = frame.signed_in(request, clock.now_us())
    return frame.redirect("/sign-in") if member is None else _account_page(request, member, done=DONE.get(done, ""))


@post("/account/password", sync_to_thread=True, include_in_schema=False)
def post_password(request: Ask, data: Form) -> Response[bytes]:
    """Set or change one's password."""
    app: App = request.app.state.app
    frame.check_form(request, data)
    now_us = clock.now_us()
    member = frame.signed_in(request, now_us)
    if member is None:
        return frame.redirect("/sign-in")
    if not app.settings.passwords:
        raise with_status(403, f"passwords are not used here; people sign in with {app.provider_name}")
    old, new, again = (frame.field(data, name) for name in ("old", "new", "again"))
    if new != again:
        return _account_page(request, member, 400, new_problem="The two are not the same.")
    try:
        right = sign_in.change_password(app.ledger, member, old, new, frame.session_secret(request), now_us)
    except Invalid as refused:
        return _account_page(request, member, 400, new_problem=figures.sentence(str(refused)))
    except TooOften as refused:
        problem = f"Too many wrong passwords. Try again in {figures.wait(refused.retry_seconds)}."
        return _account_page(request, member, 429, old_problem=problem)
    if not right:
        return _account_page(request, member, 403, old_problem="This is not your password.")
    return frame.redirect("/account?done=password")


@post("/account/sessions/end", sync_to_thread=True, include_in_schema=False)
def post_end_session(request: Ask, data: Form) -> Response[bytes]:
    """End one of one's sessions, perhaps this one."""
    app: App = request.app.state.app
    frame.check_form(request, data)
    member = frame.signed_in(request, clock.now_us())
    if member is None:
        return frame.redirect("/sign-in")
    app.ledger.change(lambda session: sessions.end_one(session, member.person_id, frame.field(data, "session"))).result()
    return frame.redirect("/account?done=session")


@post("/account/sessions/end-all", sync_to_thread=True, include_in_schema=False)
def post_end_all_sessions(request: Ask, data: Form) -> Response[bytes]:
    """Sign out everywhere, here too."""
    app: App = request.app.state.app
    frame.check_form(request, data)
    now_us = clock.now_us()
    member = frame.signed_in(request, now_us)
    if member is not None:
        app.ledger.change(
            lambda session: sessions.sign_out_everywhere(session, member.account_id, member.person_id, member.email, now_us)
        ).result()
    return frame.redirect("/sign-in", frame.session_cookie(app, ""))


@post("/account/switch", sync_to_thread=True, include_in_schema=False)
def post_switch(request: Ask, data: Form) -> Response[bytes]:
    """Go on in another of one's accounts. The session's secret changes with it, so that no open form can reach the wrong account."""
    app: App = request.app.state.app
    frame.check_form(request, data)
    now_us = clock.now_us()
    member = frame.signed_in(request, now_us)
    if member is None:
        return frame.redirect("/sign-in")
    number, before = frame.member_number(data), frame.session_secret(request)
    secret = app.ledger.change(lambda session: persons.switch(session, member, number, before, now_us)).result()
    if secret is None:
        return frame.redirect(frame.home(member))
    there = security.member(app, secret, now_us)
    return frame.redirect(frame.home(there or member), frame.session_cookie(app, secret))


ROUTES = [post_switch, get_account_page, post_password, post_end_session, post_end_all_sessions]


def _account_page(
    request: Ask, member: Member, status: int = 200, *, done: str = "", old_problem: str = "", new_problem: str = ""
) -> Response[bytes]:
    app: App = request.app.state.app
    now_us = clock.now_us()
    with app.ledger.reading() as session:
        account = accounts.of(session, member.account_id)
        signed_in = sessions.listed(session, member.person_id, frame.session_secret(request), now_us, app.settings.session_idle_hours)
        has_password = members.password_of(session, member) is not None
    content = render.html(
        "account.html",
        **frame.layout(request, member, account.name, "/account"),
        has_password=has_password,
        passwords=app.settings.passwords,
        provider=app.provider_name,
        zone=figures.zone_name(account.timezone),
        sessions=[_shown(each, account.timezone, now_us) for each in signed_in],
        done=done,
        old_problem=old_problem,
        new_problem=new_problem,
    )
    return frame.page(content, status=status)


def _shown(each: SignedIn, timezone: str, now_us: int) -> ShownSession:
    zone = days.zone(timezone)
    began, seen = (figures.lately(at_us, zone, now_us) for at_us in (each.began_us, each.seen_us))
    return ShownSession(each.id, each.browser or "Unknown browser", began, "now" if each.current else seen, each.current)
