"""The doors of the Intake page: what comes in, and a rate for what is not rated."""

from litestar import Response, get, post
from msgspec import structs

from tallyboard import clock, days
from tallyboard.app import App
from tallyboard.errors import NotFound
from tallyboard.ledger.arrivals import Kind
from tallyboard.ledger.contract import Session
from tallyboard.people import accounts, directory, keys, source_of_record
from tallyboard.people.members import Member
from tallyboard.rates import card
from tallyboard.rates.card import CardError
from tallyboard.usage import arrived
from tallyboard.web.pages import connect, figures, render
from tallyboard.web.pages import intake as sight
from tallyboard.web.pages.frame import Ask, Form, address_of, administrator, check_form, field, layout, page, redirect
from tallyboard.web.pages.intake import PATH, Choice, Wish
from tallyboard.web.threads import in_thread

TYPED_CHARACTERS_MAX = 1_000


@get(PATH, include_in_schema=False)
@in_thread
def get_intake_page(request: Ask) -> Response[bytes]:
    """What came in during the last days. With `rate`, a type of event, and `model`: asks for a rate. With `choose`: for the source of record."""
    now_us = clock.now_us()
    member = administrator(request, now_us)
    if member is None:
        return redirect("/sign-in")
    asked = {name: value[:TYPED_CHARACTERS_MAX] for name, value in request.query_params.items()}
    wish = Wish(asked["rate"], asked.get("model", "")) if asked.get("rate") else None
    return _show(request, member, now_us, wish=wish, choose=asked.get("choose", ""), user=asked.get("user", ""), done=asked.get("done", ""))


@post(PATH, include_in_schema=False)
@in_thread
def post_rate(request: Ask, data: Form) -> Response[bytes]:
    """Put a meter at the head of the account's card; a rate that cannot be comes back as it was typed."""
    now_us = clock.now_us()
    member = administrator(request, now_us)
    if member is None:
        return redirect("/sign-in")
    check_form(request, data)
    kind, model, value, buys = (field(data, name)[:TYPED_CHARACTERS_MAX].strip() for name in ("type", "model", "value", "per_credit"))
    wish = Wish(kind, model, value, buys)
    app: App = request.app.state.app

    def change(session: Session) -> None:
        _, text = accounts.card_of(session, member.account_id)
        changed = card.with_meter(text, wish.type, wish.model, wish.value, wish.per_credit.replace(",", "").replace("_", ""))
        accounts.set_card(session, member.account_id, changed, member.email, now_us)

    try:
        app.ledger.change(change).result()
    except CardError as error:
        problem = figures.sentence(error.mistakes[0].message)
        return _show(request, member, now_us, wish=structs.replace(wish, problem=problem), status=400)
    return redirect(f"{PATH}?done=rated")


@post(f"{PATH}/source", include_in_schema=False)
@in_thread
def post_source(request: Ask, data: Form) -> Response[bytes]:
    """Choose the source of record of the account, or of one user; a user that there is not comes back as it was typed."""
    now_us = clock.now_us()
    member = administrator(request, now_us)
    if member is None:
        return redirect("/sign-in")
    check_form(request, data)
    of_user, user, source = (field(data, name)[:TYPED_CHARACTERS_MAX].strip() for name in ("of_user", "user", "source"))
    choice = Choice(bool(of_user), user, source)
    app: App = request.app.state.app

    def change(session: Session) -> None:
        if not choice.of_user:
            return source_of_record.choose(session, member.account_id, choice.chosen, member.email, now_us)
        meant = directory.meant(session, member.account_id, [user]).get(user)
        return source_of_record.choose_for(session, member.account_id, meant.user if meant else user, choice.chosen, member.email, now_us)

    try:
        app.ledger.change(change).result()
    except NotFound as error:
        problem = figures.sentence(str(error)) if user else "Say whose: a user’s key or email."
        return _show(request, member, now_us, choice=structs.replace(choice, problem=problem), status=400)
    return redirect(f"{PATH}?done=chosen")


ROUTES = [get_intake_page, post_rate, post_source]


def _show(
    request: Ask,
    member: Member,
    now_us: int,
    *,
    wish: Wish | None = None,
    choice: Choice | None = None,
    choose: str = "",
    user: str = "",
    done: str = "",
    status: int = 200,
) -> Response[bytes]:
    app: App = request.app.state.app
    with app.ledger.reading() as session:
        account = accounts.of(session, member.account_id)
        found = arrived.arrived(session, member.account_id, now_us)
        chosen = source_of_record.chosen(session, member.account_id)
        names = {key.id: key.name for key in keys.listed(session, member.account_id)}
    if wish is not None:
        examples = [note.example for note in found.notes[Kind.UNRATED] if (note.subject, note.model) == (wish.type, wish.model)]
        fields = dict.fromkeys(name for example in examples for name in example.split(", ") if name)
        wish = structs.replace(wish, fields=tuple(fields))
    if choose in {"account", "user"}:
        choice = sight.choice_of(chosen, user, of_user=choose == "user")
    content = render.html(
        "intake.html",
        **layout(request, member, account.name, PATH),
        **sight.context(found, names, days.zone(account.timezone), now_us, wish=wish, done=done),
        **sight.truth(chosen, found, choice),
        zone_name=account.timezone,
        ways=connect.ways(address_of(request)),
    )
    return page(content, status=status)
