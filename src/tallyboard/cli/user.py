"""`tallyboard user`: the directory of users."""

from typing import Annotated

import typer

from tallyboard.cli.options import ACCOUNT_ID, Data, Json, open_app, print_json
from tallyboard.people import directory
from tallyboard.people.directory import User

group = typer.Typer(help="Name users and find them.", no_args_is_help=True)


@group.command("set")
def change(
    user: Annotated[str, typer.Argument(help="The user's key: the subject of its events.")],
    email: Annotated[str | None, typer.Option(help="Email; leave away for none.")] = None,
    name: Annotated[str | None, typer.Option(help="Name; leave away for none.")] = None,
    data: Data = None,
) -> None:
    """Set a user's email and name."""
    with open_app(data) as app, app.ledger.writing() as session:
        directory.name_user(session, ACCOUNT_ID, User(user, email, name))


@group.command("find")
def find(
    search: Annotated[str, typer.Argument(help="Part of a key, an email or a name.")] = "", data: Data = None, as_json: Json = False
) -> None:
    """List up to 200 users that match."""
    with open_app(data) as app, app.ledger.reading() as session:
        found = directory.find(session, ACCOUNT_ID, search)
    if as_json:
        print_json(found)
        return
    for each in found:
        print("\t".join((each.user, each.email or "", each.name or "")))
