"""`tallyboard account`: the accounts of this installation, their names and timezones."""

from typing import Annotated

import typer

from tallyboard import clock
from tallyboard.cli.options import ACTOR, Data, Json, Of, account_id_of, open_app, print_json, talk
from tallyboard.people import accounts, source_of_record
from tallyboard.people.accounts import Account

group = typer.Typer(help="Create and list accounts; show and change a name and timezone.", no_args_is_help=True)


@group.command("create")
def create(
    name: Annotated[str, typer.Option(help="What the account is called.")],
    timezone: Annotated[str, typer.Option(help="An IANA zone such as Europe/Berlin, whose midnights end its days.")] = "UTC",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Create one more account, strictly apart from the others. Its first administrator: `member add EMAIL --role admin --account ID`."""
    with open_app(data) as app, app.ledger.writing() as session:
        made = accounts.create(session, name, timezone, ACTOR, clock.now_us())
    if as_json:
        print_json({"id": made.account_id, "name": made.name, "timezone": made.timezone})
        return
    talk.print(f"Add its first administrator: tallyboard member add EMAIL --role admin --account {made.account_id}", markup=False)
    print(made.account_id)


@group.command("list")
def list_accounts(data: Data = None, as_json: Json = False) -> None:
    """List the accounts, oldest first."""
    with open_app(data) as app, app.ledger.reading() as session:
        found = accounts.listed(session)
    if as_json:
        print_json([{"id": each.account_id, "name": each.name, "timezone": each.timezone} for each in found])
        return
    for each in found:
        print(f"{each.account_id}\t{each.name}\t{each.timezone}")


@group.command("show")
def show(account: Of = None, data: Data = None, as_json: Json = False) -> None:
    """Show the account."""
    with open_app(data) as app, app.ledger.reading() as session:
        _print(accounts.meant(session, account), as_json)


@group.command("set")
def change(
    timezone: Annotated[
        str | None, typer.Option(help="An IANA zone such as Europe/Berlin. All history is regrouped into its days.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What the account is called.")] = None,
    only_source: Annotated[
        str | None, typer.Option(help="The only source that counts from now on, but for users with their own (user source).")
    ] = None,
    every_source: Annotated[bool, typer.Option("--every-source", help="Every source counts from now on; a call counts once.")] = False,
    account: Of = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Change the account."""
    if only_source is not None and every_source:
        raise typer.BadParameter("say --only-source or --every-source, not both")
    if timezone is None and name is None and only_source is None and not every_source:
        raise typer.BadParameter("say what to change: --timezone, --name, --only-source or --every-source")
    with open_app(data) as app:
        with app.ledger.writing() as session:
            account_id = account_id_of(session, account)
            if every_source or only_source is not None:
                source_of_record.choose(session, account_id, only_source, ACTOR, clock.now_us())
            changed = accounts.change(session, account_id, ACTOR, clock.now_us(), name=name, timezone=timezone)
        if timezone is not None:
            with talk.status("Regrouping history into the days of the new zone…"):
                while app.rebuild_days(account_id).result():
                    pass
    _print(changed, as_json)


def _print(account: Account, as_json: bool) -> None:
    if as_json:
        print_json({"name": account.name, "timezone": account.timezone})
    else:
        print(f"{account.name}\ndays end at midnight, {account.timezone}")
