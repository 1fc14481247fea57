"""`tallyboard user`: the directory of users, and who is whom."""

from typing import Annotated

import typer

from tallyboard import clock
from tallyboard.cli.options import ACTOR, Data, Json, Of, account_id_of, open_app, print_json, talk
from tallyboard.ledger.told import EVERY_SOURCE
from tallyboard.people import aliases, directory, erasure, source_of_record
from tallyboard.people.directory import User
from tallyboard.policy import overrides
from tallyboard.policy.limits import parse_limit
from tallyboard.policy.overrides import Wanted

_EXPIRES_DAYS_MAX = 3_650
_DAY_US = 86_400_000_000

group = typer.Typer(help="Name users and find them.", no_args_is_help=True)


@group.command("set")
def change(
    user: Annotated[str, typer.Argument(help="The user's key: the subject of its events.")],
    email: Annotated[str | None, typer.Option(help="Email; leave away for none.")] = None,
    name: Annotated[str | None, typer.Option(help="Name; leave away for none.")] = None,
    account: Of = None,
    data: Data = None,
) -> None:
    """Set a user's email and name."""
    with open_app(data) as app, app.ledger.writing() as session:
        account_id = account_id_of(session, account)
        directory.name_user(session, account_id, User(user, email, name))


@group.command("override")
def override(
    user: Annotated[str, typer.Argument(help="The user's key: the subject of its events.")],
    limit: Annotated[str | None, typer.Option(help="Credits a day for this user, or `unlimited`.")] = None,
    reason: Annotated[str, typer.Option(help="Why, for whoever looks at it later.")] = "",
    expires: Annotated[int | None, typer.Option(help="Days until the default counts again.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the user's own limit away.")] = False,
    account: Of = None,
    data: Data = None,
) -> None:
    """Give a user a daily limit of their own, or take it away."""
    if (limit is None) != remove:
        raise typer.BadParameter("say --limit, or --remove")
    if expires is not None and not 0 < expires <= _EXPIRES_DAYS_MAX:
        raise typer.BadParameter(f"--expires takes 1 to {_EXPIRES_DAYS_MAX} days")
    now_us = clock.now_us()
    with open_app(data) as app, app.ledger.writing() as session:
        account_id = account_id_of(session, account)
        if limit is None:
            overrides.remove(session, account_id, user, ACTOR, now_us)
        else:
            expires_us = None if expires is None else now_us + expires * _DAY_US
            overrides.put(session, account_id, [Wanted(user, parse_limit(limit), reason, expires_us)], ACTOR, now_us)
    talk.print("The default limit counts for this user again." if remove else "Set.")


@group.command("source")
def source(
    user: Annotated[str, typer.Argument(help="The user's key: the subject of its events.")],
    only: Annotated[str | None, typer.Option(help="The only source that counts; what others tell is set aside.")] = None,
    every: Annotated[bool, typer.Option("--every", help="Every source counts.")] = False,
    as_account: Annotated[bool, typer.Option("--as-account", help="What the account says counts.")] = False,
    account: Of = None,
    data: Data = None,
) -> None:
    """Choose whose word counts where several sources tell a user's usage, from now on."""
    if (only is not None) + every + as_account != 1:
        raise typer.BadParameter("say one of --only SOURCE, --every and --as-account")
    with open_app(data) as app, app.ledger.writing() as session:
        account_id = account_id_of(session, account)
        chosen = None if as_account else only or EVERY_SOURCE
        source_of_record.choose_for(session, account_id, user, chosen, ACTOR, clock.now_us())
    talk.print(f"Only {only} counts." if only else "Every source counts." if every else "As for everybody.", markup=False)


@group.command("merge")
def merge(
    user: Annotated[str, typer.Argument(help="The key that is to be an alias.")],
    into: Annotated[str, typer.Argument(help="The user it is an alias of.")],
    account: Of = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make a user an alias of another: one user with several keys, and one limit. `user unmerge` undoes it."""
    with open_app(data) as app, app.ledger.writing() as session:
        account_id = account_id_of(session, account)
        merged = aliases.merge(session, account_id, user, into, ACTOR, clock.now_us())
    if as_json:
        print_json(merged)
        return
    along = f" Its own aliases came along: {', '.join(merged.aliases)}." if merged.aliases else ""
    limit = " Its own limit is kept, and not in force as long as it is an alias." if merged.kept_limit else ""
    talk.print(f"{merged.user} is an alias of {merged.alias_of} now.{along}{limit}", markup=False)


@group.command("unmerge")
def unmerge(
    user: Annotated[str, typer.Argument(help="The key that is an alias.")],
    account: Of = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Undo that a user is an alias: all that ever came under the key is its own again."""
    with open_app(data) as app, app.ledger.writing() as session:
        account_id = account_id_of(session, account)
        unmerged = aliases.undo(session, account_id, user, ACTOR, clock.now_us())
    if as_json:
        print_json(unmerged)
        return
    along = f" With it: {', '.join(unmerged.aliases)}." if unmerged.aliases else ""
    limit = " Its own limit is in force again." if unmerged.kept_limit else ""
    talk.print(f"{unmerged.user} is no longer an alias of {unmerged.was_alias_of}.{along}{limit}", markup=False)


@group.command("erase")
def erase(
    user: Annotated[str, typer.Argument(help="The user's key: the subject of its events.")],
    replace_key: Annotated[
        bool | None,
        typer.Option("--replace-key/--keep-key", help="Replace the key by a random one, or keep it. Default: replace what may be a name."),
    ] = None,
    account: Of = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Forget who a user is: email, name and reasons go, sums stay. Prints what the user is known by from then on."""
    with open_app(data) as app, app.ledger.writing() as session:
        account_id = account_id_of(session, account)
        erased = erasure.erase(session, account_id, user, ACTOR, clock.now_us(), replace_key=replace_key)
    if as_json:
        print_json(erased)
        return
    talk.print(
        "Erased; the key was replaced by a random one." if erased.replaced else "Erased; the key stays, since it tells nobody's name."
    )
    print("\n".join([erased.user, *erased.aliases]))


@group.command("find")
def find(
    search: Annotated[str, typer.Argument(help="Part of a key, an email or a name.")] = "",
    account: Of = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """List up to 200 users that match: key, email, name, and of whom it is an alias."""
    with open_app(data) as app, app.ledger.reading() as session:
        account_id = account_id_of(session, account)
        found = directory.find(session, account_id, search)
    if as_json:
        print_json(found)
        return
    for each in found:
        print("\t".join((each.user, each.email or "", each.name or "", *([f"alias of {each.alias_of}"] if each.alias_of else []))))
