"""The doors of Members, for administrators, and of invitations, for who has one."""

from collections.abc import Callable

from litestar import Response, get, post
from msgspec import Struct

from tallyboard import clock
from tallyboard.app import App
from tallyboard.errors import Invalid, NotFound, Taken, TallyboardError
from tallyboard.ledger.contract import Session
from tallyboard.people import accounts, roster, secrets, welcome
from tallyboard.people.members import Member, Role
from tallyboard.people.roster import Entry
from tallyboard.people.welcome import INVITATION_DAYS, Purpose
from tallyboard.usage.report import short_identifier
from tallyboard.web import security
from tallyboard.web.pages import figures, frame, render
from tallyboard.web.pages.frame import Ask, Form
from tallyboard.web.problems import Problem
from tallyboard.web.threads import in_thread

DONE = {
    "role": "The role has changed. The member has been signed out and signs in again with it.",
    "deactivated": "The member is deactivated: signed out everywhere, and let in no more.",
    "reactivated": "The member is let in again.",
}


class Line(Struct, frozen=True):
    """A line of the list of members."""

    id: int
    email: str
    role: Role
    state: str
    you: bool
    user: str


class NewLink(Struct, frozen=True):
    """An invitation that was just made: it is shown once."""

    email: str
    address: str


@get("/members", sync_to_thread=True, include_in_schema=False)
def get_members_page(request: Ask, done: str = "") -> Response[bytes]:
    """Members."""
    member = frame.administrator(request, clock.now_us())
    return frame.redirect("/sign-in") if member is None else _members_page(request, member, done=DONE.get(done, ""))


@post("/members/invite", sync_to_thread=True, include_in_schema=False)
def post_invitation(request: Ask, data: Form) -> Response[bytes]:
    """Invite somebody: the link is shown once."""
    email, role = frame.field(data, "email"), frame.field(data, "role")
    chosen = Role.ADMIN if role == Role.ADMIN else Role.MEMBER
    return _make_link(
        request, data, lambda session, by, now: roster.invite(session, by.account_id, email, chosen, by.email, now), email, chosen
    )


@post("/members/link", sync_to_thread=True, include_in_schema=False)
def post_another_invitation(request: Ask, data: Form) -> Response[bytes]:
    """Another invitation for a member: the link is shown once, earlier ones no longer work."""
    number = frame.member_number(data)
    return _make_link(request, data, lambda session, by, now: roster.invite_again(session, by.account_id, number, by.email, now))


@post("/members/role", sync_to_thread=True, include_in_schema=False)
def post_role(request: Ask, data: Form) -> Response[bytes]:
    """Make a member an administrator, or an administrator a member."""
    number, own = frame.member_number(data), frame.session_secret(request)
    role = Role.ADMIN if frame.field(data, "role") == Role.ADMIN else Role.MEMBER
    return _change(
        request, data, "role", lambda session, by, now: roster.change_role(session, by.account_id, number, role, by.email, now, own)
    )


@post("/members/deactivate", sync_to_thread=True, include_in_schema=False)
def post_deactivation(request: Ask, data: Form) -> Response[bytes]:
    """Let a member in no more."""
    number = frame.member_number(data)
    return _change(request, data, "deactivated", lambda session, by, now: roster.deactivate(session, by.account_id, number, by.email, now))


@post("/members/reactivate", sync_to_thread=True, include_in_schema=False)
def post_reactivation(request: Ask, data: Form) -> Response[bytes]:
    """Let a member in again."""
    number = frame.member_number(data)
    return _change(request, data, "reactivated", lambda session, by, now: roster.reactivate(session, by.account_id, number, by.email, now))


@get("/invitation", include_in_schema=False)
@in_thread
def get_invitation(request: Ask, token: str = "") -> Response[bytes]:
    """Where an invitation leads: choose a password. Looking uses nothing up."""
    return _invitation_page(request, token)


@post("/invitation", include_in_schema=False)
@in_thread
def post_password_chosen(request: Ask, data: Form) -> Response[bytes]:
    """Use the invitation up, set the password, sign in."""
    app: App = request.app.state.app
    token, new, again = (frame.field(data, name) for name in ("token", "new", "again"))
    if not app.settings.passwords:
        return _invitation_page(request, token, 403)
    try:
        frame.check_visit_form(request, data)
    except Problem:
        return _invitation_page(request, token, 403, "This page was open for too long, or the browser keeps no cookies. Try again.")
    if new != again:
        return _invitation_page(request, token, 400, "The two are not the same.")
    now_us = clock.now_us()
    try:
        secret = welcome.accept(app.ledger, token, new, frame.visitor(request), now_us)
    except Invalid as refused:
        return _invitation_page(request, token, 400, figures.sentence(str(refused)))
    return _invitation_page(request, token) if secret is None else frame.begin(request, secret, now_us)


@post("/invitation/join", sync_to_thread=True, include_in_schema=False)
def post_join(request: Ask, data: Form) -> Response[bytes]:
    """Use the invitation up as who is signed in already."""
    app: App = request.app.state.app
    frame.check_form(request, data)
    now_us, token, before = clock.now_us(), frame.field(data, "token"), frame.session_secret(request)
    viewer = frame.signed_in(request, now_us)
    if viewer is None:
        return _invitation_page(request, token)
    secret = welcome.join(app.ledger, token, viewer, before, now_us)
    member = security.member(app, secret, now_us)
    return frame.redirect(frame.home(member), frame.session_cookie(app, secret or "")) if member else _invitation_page(request, token)


ROUTES = [
    get_members_page,
    post_invitation,
    post_another_invitation,
    post_role,
    post_deactivation,
    post_reactivation,
    get_invitation,
    post_password_chosen,
    post_join,
]


def _change(request: Ask, form: Form, done: str, work: Callable[[Session, Member, int], object]) -> Response[bytes]:
    """Change something about a member, and show the list; what cannot be is said above it."""
    app: App = request.app.state.app
    frame.check_form(request, form)
    now_us = clock.now_us()
    by = frame.administrator(request, now_us)
    if by is None:
        return frame.redirect("/sign-in")
    try:
        app.ledger.change(lambda session: work(session, by, now_us)).result()
    except (Invalid, NotFound) as refused:
        return _members_page(request, by, 400, problem=figures.sentence(str(refused)))
    return frame.redirect(f"/members?done={done}")


def _make_link(
    request: Ask,
    form: Form,
    work: Callable[[Session, Member, int], tuple[Member, str]],
    email: str = "",
    role: Role = Role.MEMBER,
) -> Response[bytes]:
    app: App = request.app.state.app
    frame.check_form(request, form)
    now_us = clock.now_us()
    by = frame.administrator(request, now_us)
    if by is None:
        return frame.redirect("/sign-in")
    try:
        invited, secret = app.ledger.change(lambda session: work(session, by, now_us)).result()
    except (Invalid, NotFound, Taken) as refused:
        return _members_page(request, by, _status(refused), invite_problem=figures.sentence(str(refused)), email=email, role=role)
    address = app.settings.public_url or f"{request.url.scheme}://{request.url.netloc}"
    return _members_page(request, by, link=NewLink(invited.email, f"{address}/invitation?token={secret}"))


def _status(refused: TallyboardError) -> int:
    return 409 if isinstance(refused, Taken) else 400


def _members_page(
    request: Ask,
    member: Member,
    status: int = 200,
    *,
    done: str = "",
    problem: str = "",
    invite_problem: str = "",
    email: str = "",
    role: Role = Role.MEMBER,
    link: NewLink | None = None,
) -> Response[bytes]:
    app: App = request.app.state.app
    with app.ledger.reading() as session:
        account = accounts.of(session, member.account_id)
        found = roster.listed(session, member.account_id)
    content = render.html(
        "members.html",
        **frame.layout(request, member, account.name, "/members"),
        lines=[_line(entry, member) for entry in found],
        count=figures.count(len(found), "member"),
        days=INVITATION_DAYS,
        done=done,
        problem=problem,
        invite_problem=invite_problem,
        email=email,
        role=role,
        link=link,
    )
    return frame.page(content, status=status)


def _line(entry: Entry, viewer: Member) -> Line:
    who, user = entry.member, entry.user
    shown = "" if user is None else user.name or short_identifier(user.user)
    return Line(who.member_id, who.email, who.role, entry.state, who.member_id == viewer.member_id, shown)


def _invitation_page(request: Ask, token: str, status: int = 200, problem: str = "") -> Response[bytes]:
    app: App = request.app.state.app
    now_us = clock.now_us()
    viewer = frame.signed_in(request, now_us)
    with app.ledger.reading() as session:
        invited = welcome.holder(session, token, Purpose.INVITATION, now_us)
        account = accounts.of(session, invited.account_id).name if invited else ""
    kept = request.cookies.get(security.visit_cookie_name(app), "")
    visit = kept or secrets.make()
    content = render.html(
        "invitation.html",
        email=invited.email if invited else "",
        account=account,
        token=token,
        csrf_token=security.form_token(visit),
        problem=problem,
        days=INVITATION_DAYS,
        join_token=frame.form_token(request) if viewer and invited and welcome.may_join(viewer, invited) else "",
        passwords=app.settings.passwords,
        provider=frame.provider_link(app),
    )
    return frame.page(content, status=status if invited else 403, cookie=None if kept else frame.visit_cookie(app, visit))
