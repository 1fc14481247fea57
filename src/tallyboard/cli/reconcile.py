"""`tallyboard reconcile`: proof that the rollups are what the events say."""

import typer

from tallyboard import days
from tallyboard.cli.options import ACCOUNT_ID, Data, Json, open_app, print_json, talk
from tallyboard.ledger import rollups
from tallyboard.ledger.rollups import Difference


def reconcile(data: Data = None, as_json: Json = False) -> None:
    """Compare every rollup with the events. Exits with 0 where all agree to the unit, else with 1."""
    with open_app(data) as app, talk.status("Adding up every event…"), app.ledger.reading() as session:
        found = rollups.reconcile(session, ACCOUNT_ID)
        events, units = rollups.totals(session, ACCOUNT_ID)
    if as_json:
        print_json({"events": events, "units": units, "differences": found})
    else:
        for difference in found:
            print(_line(difference))
        talk.print(f"{events:,} events, {units:,} units: " + ("the rollups differ" if found else "every rollup agrees to the unit."))
    if found:
        raise typer.Exit(1)


def _line(difference: Difference) -> str:
    where = days.instant_text(difference.place * days.SLOT_US) if difference.rollup == "slot" else str(days.from_number(difference.place))
    return f"{difference.rollup} {where} user {difference.user_id}: {difference.units:+,} units, {difference.events:+,} events, {difference.unrated:+,} unrated"
