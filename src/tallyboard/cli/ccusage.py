"""`tallyboard import --format ccusage`: daily reports of ccusage. Importing a newer one replaces its dates."""

import sys
from pathlib import Path

import typer
from msgspec import Struct

from tallyboard import clock, days
from tallyboard.cli.options import ACTOR, account_id_of, open_app
from tallyboard.cli.pulling import tell, tell_refused
from tallyboard.errors import Invalid
from tallyboard.intake import ccusage
from tallyboard.intake.event import is_key
from tallyboard.intake.replacing import From, Replacing, Report
from tallyboard.ledger.rollups import zone_of


class Whose(Struct, frozen=True):
    """Whose usage a report is: a user's key, a machine, its zone, the account's where it is None. `beside_live` counts it in any case."""

    user: str | None
    machine: str | None
    timezone: str | None
    beside_live: bool


def import_reports(files: list[str], whose: Whose, account: str | None, data: Path | None, *, as_json: bool) -> None:
    """Have the dates of a report replace what was counted of them before, for one user and machine."""
    user = whose.user
    if user is None or not is_key(user):
        raise typer.BadParameter("ccusage names nobody: say whose usage it is with --user, such as alice@example.com")
    if len(files) != 1:
        raise typer.BadParameter("a report of ccusage is imported alone: a second one of the same machine would replace its dates")
    text, now_us = _read(files[0]), clock.now_us()
    with open_app(data) as app:
        with app.ledger.reading() as session:
            account_id = account_id_of(session, account)
            zone = zone_of(session, account_id).info
        try:
            windows = ccusage.windows(text, user, days.find_zone(whose.timezone) if whose.timezone else zone)
        except (Invalid, ValueError) as error:
            raise Invalid(f"{files[0]}: {error}" if isinstance(error, Invalid) else str(error)) from None
        report = Report(ccusage.SOURCE, f"{len(user)}:{user}{whose.machine or ''}", now_us, whose.beside_live)
        replacing = Replacing(app.ledger, report, From(account_id, ACTOR, app.charger(account_id)))
        try:
            replacing.take(windows, now_us)
        finally:
            tell_refused(app, account_id, replacing)
    tell(replacing.tally, as_json=as_json)


def _read(name: str) -> bytes:
    try:
        if name == "-":
            text = sys.stdin.buffer.read(ccusage.BYTES_MAX + 1)
        else:
            with Path(name).open("rb") as file:
                text = file.read(ccusage.BYTES_MAX + 1)
    except OSError as error:
        raise Invalid(f"{name} cannot be read: {error.strerror}") from None
    if len(text) > ccusage.BYTES_MAX:
        raise Invalid(f"{name} is larger than {ccusage.BYTES_MAX // 1_048_576} MiB")
    return text
