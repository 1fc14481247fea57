"""The doors to get in and out: a one-time link, email and password, sign-out. Through a provider: openid_routes.py."""

from litestar import Response, get, post

from tallyboard import clock
from tallyboard.app import App
from tallyboard.errors import TooOften
from tallyboard.people import members, secrets, sessions, sign_in
from tallyboard.web import security
from tallyboard.web.pages import figures, frame, render
from tallyboard.web.pages.frame import Ask, Form
from tallyboard.web.problems import Problem
from tallyboard.web.threads import in_thread

EMAIL_CHARACTERS_MAX = 254
WRONG = "Email and password do not belong together."


@get("/sign-in", include_in_schema=False)
@in_thread
def get_sign_in(request: Ask, token: str | None = None, to: str = "", next: str = "") -> Response[bytes]:
    """With a one-time token: sign in, perhaps to set the account up. Without: the form; `next` is where the provider's way ends."""
    app: App = request.app.state.app
    now_us = clock.now_us()
    if token is None:
        member = frame.signed_in(request, now_us)
        return sign_in_page(request, arrival=next) if member is None else frame.redirect(frame.home(member))
    browser = frame.visitor(request).browser
    secret = app.ledger.change(lambda session: members.sign_in(session, token, now_us, browser)).result()
    if secret is None:
        return sign_in_page(request, f"This sign-in link has been used or is older than {members.LINK_MINUTES} minutes.", 403)
    return frame.begin(request, secret, now_us, "/set-up" if to == "set-up" else "")


@post("/sign-in", include_in_schema=False)
@in_thread
def post_sign_in(request: Ask, data: Form) -> Response[bytes]:
    """Email and password; who tries too often waits."""
    app: App = request.app.state.app
    email = frame.field(data, "email")[:EMAIL_CHARACTERS_MAX]
    if not app.settings.passwords:
        return sign_in_page(request, f"Passwords are not used here. Sign in with {app.provider_name}.", 403)
    try:
        frame.check_visit_form(request, data)
    except Problem:
        return sign_in_page(request, "This page was open for too long, or the browser keeps no cookies. Try again.", 403, email)
    now_us = clock.now_us()
    try:
        secret = sign_in.by_password(app.ledger, email, frame.field(data, "password"), frame.visitor(request), now_us)
    except TooOften as refused:
        return too_often(request, refused, email)
    if secret is None:
        return sign_in_page(request, WRONG, 403, email)
    return frame.begin(request, secret, now_us)


@post("/sign-out", sync_to_thread=True, include_in_schema=False, status_code=303)
def post_sign_out(request: Ask, data: Form) -> Response[bytes]:
    """End the session, on the server and in the browser."""
    app: App = request.app.state.app
    frame.check_form(request, data)
    secret = frame.session_secret(request)
    app.ledger.change(lambda session: sessions.end(session, secret)).result()
    return frame.redirect("/sign-in", frame.session_cookie(app, ""))


ROUTES = [get_sign_in, post_sign_in, post_sign_out]


def too_often(request: Ask, refused: TooOften, email: str = "") -> Response[bytes]:
    """The form, with how long to wait."""
    wait = figures.wait(refused.retry_seconds)
    answer = sign_in_page(request, f"Too many sign-ins have failed. Try again in {wait}; a sign-in link works meanwhile.", 429, email)
    answer.headers["Retry-After"] = str(refused.retry_seconds)
    return answer


def sign_in_page(request: Ask, problem: str | None = None, status: int = 200, email: str = "", arrival: str = "") -> Response[bytes]:
    """The form, bound to a cookie of this browser; and the way to the provider, which ends at `arrival`."""
    app: App = request.app.state.app
    kept = request.cookies.get(security.visit_cookie_name(app), "")
    visit = kept or secrets.make()
    content = render.html(
        "sign_in.html",
        problem=problem,
        email=email,
        csrf_token=security.form_token(visit),
        passwords=app.settings.passwords,
        provider=frame.provider_link(app, arrival),
    )
    return frame.page(content, status=status, cookie=None if kept else frame.visit_cookie(app, visit))
