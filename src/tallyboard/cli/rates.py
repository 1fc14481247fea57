"""`tallyboard rates`: the rate card."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tallyboard import clock, days
from tallyboard.cli.options import ACTOR, Data, Json, Of, account_id_of, open_app, print_json, talk
from tallyboard.errors import Invalid
from tallyboard.people import accounts
from tallyboard.rates import card
from tallyboard.rates.card import Card, CardError
from tallyboard.rates.charge import Charger
from tallyboard.usage import rerate

group = typer.Typer(help="Show, check and set what usage is charged.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(help="A rate card: a TOML file.")]


@group.command("show")
def show(account: Of = None, data: Data = None, as_json: Json = False) -> None:
    """Print the rate card in force."""
    with open_app(data) as app, app.ledger.reading() as session:
        account_id = account_id_of(session, account)
        _, text = accounts.card_of(session, account_id)
    if as_json:
        print_json(_shape(card.read(text)))
    else:
        print(text, end="")


@group.command("check")
def check(file: File, as_json: Json = False) -> None:
    """Read a rate card and explain its mistakes, line by line."""
    try:
        found = card.read(_text(file))
    except CardError as error:
        if as_json:
            print_json({"ok": False, "mistakes": [{"line": m.line, "message": m.message} for m in error.mistakes]})
        else:
            for mistake in error.mistakes:
                print(f"{file}:{mistake.line}: {mistake.message}")
        raise typer.Exit(1) from None
    if as_json:
        print_json({"ok": True, **_shape(found)})
    else:
        print(f"{file} is right: {len(found.meters)} meters.")


@group.command("set")
def change(file: File, account: Of = None, data: Data = None) -> None:
    """Put a rate card in force for the events that come from now on. Past charges stay as they are."""
    text = _text(file)
    with open_app(data) as app, app.ledger.writing() as session:
        account_id = account_id_of(session, account)
        accounts.set_card(session, account_id, text, ACTOR, clock.now_us())
    talk.print(f"{file} is in force. To charge past events by it: tallyboard rates apply --since 2026-11-01", markup=False)


@group.command("apply")
def apply(
    since: Annotated[str, typer.Option(help="Charge events from this instant or day (UTC) on again, such as 2026-11-01.")],
    account: Of = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Charge past events by the card in force. What changes is noted in the audit log."""
    since_us = _since(since)
    with open_app(data) as app:
        with app.ledger.reading() as session:
            account_id = account_id_of(session, account)
        charger: Charger = app.charger(account_id)
        with talk.status("Charging events again…"):
            result = rerate.apply(app.ledger, account_id, charger, since_us, ACTOR, clock.now_us())
    if as_json:
        print_json(result)
    else:
        print(f"{result.events:,} events read, {result.changed:,} charged otherwise, {result.units:+,} units in all.")


def _since(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"--since must be a day such as 2026-11-01, not {text!r}") from None
    return days.instant_us(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{file} cannot be read: {error}") from None


def _shape(found: Card) -> dict[str, object]:
    return {
        "meters": [
            {
                "name": meter.name,
                "type": meter.type,
                "value": meter.value,
                "models": meter.models,
                "contains": meter.contains,
                "stand_in": {"value": meter.stand_in.value, "factor": str(meter.stand_in.factor)} if meter.stand_in else None,
                "rates": [{"per_credit": str(rate.per_credit), "from": days.instant_text(rate.from_us)} for rate in meter.rates],
            }
            for meter in found.meters
        ]
    }
