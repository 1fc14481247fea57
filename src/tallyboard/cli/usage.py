"""`tallyboard usage`: the answer of GET /api/v1/usage on the command line."""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tallyboard import clock
from tallyboard.cli.options import Data, Json, Of, account_id_of, open_app
from tallyboard.credits import shown
from tallyboard.usage import asked, export
from tallyboard.usage.report import Report


def usage(
    window: Annotated[
        str | None, typer.Option(help="The last 7, 14 or 30 account days, today included. [default: 30]", show_default=False)
    ] = None,
    first: Annotated[str | None, typer.Option("--from", help="The first account day, such as 2026-11-01.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="The last account day.")] = None,
    user: Annotated[str | None, typer.Option(help="Only this user's usage.")] = None,
    timezone: Annotated[str | None, typer.Option(help="Days of another zone than the account's.")] = None,
    top: Annotated[str | None, typer.Option(help="How many users to show one by one, 0 to 200. [default: 200]", show_default=False)] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with exact figures.")] = False,
    account: Of = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Who used how much on which day."""
    if as_csv and as_json:
        raise typer.BadParameter("choose --json or --csv")
    now_us = clock.now_us()
    with open_app(data) as app, app.ledger.reading() as session:
        account_id = account_id_of(session, account)
        report = asked.ask(session, account_id, now_us, window=window, first=first, last=last, user=user, top=top, timezone=timezone)
    if as_json:
        print(export.json(report).decode())
    elif as_csv:
        sys.stdout.writelines(export.csv_text(report))
    else:
        _print(report)


def _print(report: Report) -> None:
    table = Table(box=None, pad_edge=False, show_footer=True)
    table.add_column("User", f"{report.user_count:,} users")
    table.add_column("Credits", shown(report.units), justify="right")
    for user in report.users:
        table.add_row(user.label, shown(user.units))
    if report.others.users:
        table.add_row(f"{report.others.users:,} others", shown(report.others.units))
    out = Console(highlight=False)
    out.print(f"{report.account}, {report.days[0].day} to {report.days[-1].day}, days of {report.timezone}", markup=False)
    out.print(table if report.user_count else "No usage data for the selected period.")
