"""`tallyboard account`: the account's name and timezone."""

from typing import Annotated

import typer

from tallyboard import clock
from tallyboard.cli.options import ACCOUNT_ID, ACTOR, Data, Json, open_app, print_json, talk
from tallyboard.people import accounts
from tallyboard.people.accounts import Account

group = typer.Typer(help="Show and change the account's name and timezone.", no_args_is_help=True)


@group.command("show")
def show(data: Data = None, as_json: Json = False) -> None:
    """Show the account."""
    with open_app(data) as app, app.ledger.reading() as session:
        _print(accounts.of(session, ACCOUNT_ID), as_json)


@group.command("set")
def change(
    timezone: Annotated[
        str | None, typer.Option(help="An IANA zone such as Europe/Berlin. All history is regrouped into its days.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What the account is called.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Change the account."""
    if timezone is None and name is None:
        raise typer.BadParameter("say what to change: --timezone, --name or both")
    with open_app(data) as app:
        with app.ledger.writing() as session:
            account = accounts.change(session, ACCOUNT_ID, ACTOR, clock.now_us(), name=name, timezone=timezone)
        if timezone is not None:
            with talk.status("Regrouping history into the days of the new zone…"):
                while app.rebuild_days(ACCOUNT_ID).result():
                    pass
    _print(account, as_json)


def _print(account: Account, as_json: bool) -> None:
    if as_json:
        print_json({"name": account.name, "timezone": account.timezone})
    else:
        print(f"{account.name}\ndays end at midnight, {account.timezone}")
