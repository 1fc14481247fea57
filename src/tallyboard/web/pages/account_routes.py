"""The doors of Your account: what every member may see and change of their own."""

from litestar import Response, get, post

from tallyboard import clock
from tallyboard.app import App
from tallyboard.errors import Invalid, TooOften
from tallyboard.people import accounts, members, sign_in
from tallyboard.people.members import Member
from tallyboard.web.pages import figures, frame, render
from tallyboard.web.pages.frame import Ask, Form

DONE = {"password": "Your password is set. Your other sessions have ended."}


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


ROUTES = [get_account_page, post_password]


def _account_page(
    request: Ask, member: Member, status: int = 200, *, done: str = "", old_problem: str = "", new_problem: str = ""
) -> Response[bytes]:
    app: App = request.app.state.app
    with app.ledger.reading() as session:
        account = accounts.of(session, member.account_id)
        has_password = members.password_of(session, member) is not None
    content = render.html(
        "account.html",
        **frame.layout(request, member, account.name, "/account"),
        has_password=has_password,
        done=done,
        old_problem=old_problem,
        new_problem=new_problem,
    )
    return frame.page(content, status=status)
