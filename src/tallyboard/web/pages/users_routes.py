"""The doors of the Users page: the directory, who is whom, and what a user is called. Every state of it has a URL."""

from collections.abc import Callable, Mapping

from litestar import Response, get, post

from tallyboard import clock, days
from tallyboard.app import App
from tallyboard.errors import Invalid, NotFound, Taken
from tallyboard.ledger.contract import Session
from tallyboard.people import accounts, aliases, directory
from tallyboard.people.directory import User
from tallyboard.people.members import Member
from tallyboard.policy import merging, policy
from tallyboard.web.pages import figures, render
from tallyboard.web.pages import users as sight
from tallyboard.web.pages.frame import Ask, Form, administrator, check_form, field, layout, page, redirect
from tallyboard.web.pages.users import PAGE_LINES, PATH, Asked, Naming
from tallyboard.web.threads import in_thread

TYPED_CHARACTERS_MAX = 256


@get(PATH, include_in_schema=False)
@in_thread
def get_users_page(request: Ask) -> Response[bytes]:
    """Users, searched and by pages; a question about one of them stands in front."""
    now_us = clock.now_us()
    member = administrator(request, now_us)
    if member is None:
        return redirect("/sign-in")
    values = {name: value[:TYPED_CHARACTERS_MAX] for name, value in request.query_params.items()}
    asked = Asked(**{name: values.get(name, "").strip() for name in Asked.__struct_fields__})
    return _show(request, member, now_us, asked, done=values.get("done", ""))


@post(f"{PATH}/merge", sync_to_thread=True, include_in_schema=False, status_code=303)
def post_merge(request: Ask, data: Form) -> Response[bytes]:
    """Make a user an alias of another."""
    user, into = field(data, "user"), field(data, "into")

    def merge(session: Session, member: Member, now_us: int) -> object:
        return aliases.merge(session, member.account_id, user, into, member.email, now_us)

    return _change(request, data, merge, Asked(merge=user, into=into), "merged")


@post(f"{PATH}/undo", sync_to_thread=True, include_in_schema=False, status_code=303)
def post_undo(request: Ask, data: Form) -> Response[bytes]:
    """Make an alias a user again."""
    user = field(data, "user")

    def undo(session: Session, member: Member, now_us: int) -> object:
        return aliases.undo(session, member.account_id, user, member.email, now_us)

    return _change(request, data, undo, Asked(undo=user), "undone")


@post(f"{PATH}/name", sync_to_thread=True, include_in_schema=False, status_code=303)
def post_name(request: Ask, data: Form) -> Response[bytes]:
    """Set a user's name and email; empty is none."""
    typed = Naming(field(data, "user"), field(data, "name").strip(), field(data, "email").strip())

    def name(session: Session, member: Member, _: int) -> None:
        if not directory.of(session, member.account_id, [typed.user]):
            raise NotFound("there is no such user")
        directory.name_user(session, member.account_id, User(typed.user, typed.email or None, typed.name or None))

    return _change(request, data, name, Asked(edit=typed.user), "named", typed)


def _change(
    request: Ask,
    data: dict[str, str],
    work: Callable[[Session, Member, int], object],
    asked: Asked,
    done: str,
    typed: Naming | None = None,
) -> Response[bytes]:
    """Do it for a member who may, or show the question again with what is wrong."""
    now_us = clock.now_us()
    member = administrator(request, now_us)
    if member is None:
        return redirect("/sign-in")
    check_form(request, data)
    app: App = request.app.state.app
    try:
        app.ledger.change(lambda session: work(session, member, now_us)).result()
    except (Invalid, NotFound, Taken) as error:
        status = 400 if isinstance(error, Invalid) else 404 if isinstance(error, NotFound) else 409
        return _show(request, member, now_us, asked, status=status, problem=figures.sentence(str(error)), typed=typed)
    return redirect(f"{PATH}?done={done}")


def _show(
    request: Ask,
    member: Member,
    now_us: int,
    asked: Asked,
    *,
    done: str = "",
    status: int = 200,
    problem: str = "",
    typed: Naming | None = None,
) -> Response[bytes]:
    app: App = request.app.state.app
    account_id = member.account_id
    with app.ledger.reading() as session:
        account = accounts.of(session, account_id)
        found = directory.persons(session, account_id, asked.q, asked.after, PAGE_LINES + 1)
        last = merging.last_days(session, account_id, [each.user for each in found])
        total = directory.count(session, account_id)
        dialog = _dialog(session, account_id, asked, now_us, typed)
    content = render.html(
        "users.html",
        **layout(request, member, account.name, PATH),
        **sight.context(asked, found, last, total, days.today(now_us, days.zone(account.timezone)), dialog, done),
        problem=problem,
    )
    return page(content, status)


def _dialog(session: Session, account_id: int, asked: Asked, now_us: int, typed: Naming | None) -> Mapping[str, object]:
    """The question that an address asks for; what makes no sense is passed over."""
    if asked.undo:
        apart = merging.apart(session, account_id, asked.undo, now_us)
        return sight.taking_apart(apart) if apart else {}
    known = directory.entries(session, account_id, [asked.edit or asked.merge]) if asked.edit or asked.merge else []
    if not known:
        return {}
    (who,) = known
    if asked.edit:
        return {"kind": "edit", "form": typed or Naming(who.user, who.name or "", who.email or "")}
    target = merging.side(session, account_id, asked.into, now_us) if asked.into else None
    alias = merging.side(session, account_id, asked.merge, now_us)
    if alias and target and alias.who.user != target.who.user:
        return sight.comparing(asked, alias, target, policy.of(session, account_id).default_units)
    found = directory.persons(session, account_id, asked.find, most=sight.TARGETS_MAX + directory.LIKELY_MAX + 2) if asked.find else []
    alike = [] if asked.find else directory.alike(session, account_id, who)
    return {
        "kind": "choose",
        "user": who.user,
        "name": sight.called(who),
        "targets": sight.targets(asked, alike, found),
        "likely": bool(alike),
    }


ROUTES = (get_users_page, post_merge, post_undo, post_name)
