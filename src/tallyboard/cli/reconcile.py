"""`tallyboard reconcile`: proof that the rollups are what the events say."""

import typer

from tallyboard import days
from tallyboard.cli.options import Data, Json, Of, account_id_of, open_app, print_json, talk
from tallyboard.ledger import rollups
from tallyboard.ledger.rollups import Difference


def reconcile(account: Of = None, data: Data = None, as_json: Json = False) -> None:
    """Compare every rollup with the events. Exits with 0 where all agree to the unit, else with 1."""
    with open_app(data) as app, talk.status("Adding up every event…"), app.ledger.reading() as session:
        account_id = account_id_of(session, account)
        found = rollups.reconcile(session, account_id)
        events, units = rollups.totals(session, account_id)
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
