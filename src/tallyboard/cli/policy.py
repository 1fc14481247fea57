"""`tallyboard policy`: the default daily limit, and what a limit would have done."""

from typing import Annotated

import typer

from tallyboard import clock, credits, days
from tallyboard.cli.options import ACTOR, Data, Json, Of, account_id_of, open_app, print_json, talk
from tallyboard.policy import history, overrides, policy, preview
from tallyboard.policy.limits import amount, limit_text, parse_limit
from tallyboard.policy.policy import Policy

group = typer.Typer(help="Show and change the daily limit, and try one on history.", no_args_is_help=True)
Limit = Annotated[str, typer.Option("--limit", help="Credits per user per day, such as 0.5, or `unlimited`. 0 pauses everybody.")]


@group.command("show")
def show(account: Of = None, data: Data = None, as_json: Json = False) -> None:
    """Show the default limit and the timezone whose midnights end a day."""
    with open_app(data) as app, app.ledger.reading() as session:
        account_id = account_id_of(session, account)
        _print(policy.of(session, account_id), overrides.count(session, account_id), as_json)


@group.command("set")
def change(limit: Limit, account: Of = None, data: Data = None, as_json: Json = False) -> None:
    """Change the default limit; it counts from the next check on."""
    units = parse_limit(limit)
    with open_app(data) as app, app.ledger.writing() as session:
        account_id = account_id_of(session, account)
        before = policy.of(session, account_id)
        now_us = clock.now_us()
        after = policy.change(session, account_id, ACTOR, now_us, default_units=units, timezone=before.timezone)
        _print(after, overrides.count(session, account_id), as_json)


@group.command("preview")
def try_out(limit: Limit, account: Of = None, data: Data = None, as_json: Json = False) -> None:
    """Tell who would have been paused in the last 30 days, had this been the default limit."""
    units = parse_limit(limit)
    with open_app(data) as app, app.ledger.reading() as session:
        account_id = account_id_of(session, account)
        found = preview.preview(session, account_id, units, clock.now_us())
    if as_json:
        print_json(found)
        return
    print(
        f"With {limit_text(units)} a day, {found.users:,} of {found.all_users:,} users would have been paused "
        f"on {found.user_days:,} of {found.all_user_days:,} user-days in the last {preview.DAYS} days."
    )
    for one in found.who:
        print(f"{one.name or one.label}\t{len(one.days)} days, at most {credits.shown(one.most_units)} a day")


@group.command("history")
def changes(account: Of = None, data: Data = None, as_json: Json = False) -> None:
    """List the last 50 changes of limits and timezone, newest first."""
    with open_app(data) as app, app.ledger.reading() as session:
        account_id = account_id_of(session, account)
        found = history.changes(session, account_id)
    if as_json:
        print_json([{"at": days.instant_text(each.at_us), "by": each.actor, "action": each.action, **each.detail} for each in found])
        return
    for each in found:
        before, after = each.detail.get("before"), each.detail.get("after")
        print(f"{days.instant_text(each.at_us)}  {each.actor}  {each.action} {each.detail.get('user', '')}  {before} → {after}")
    if not found:
        talk.print("Nothing has been changed yet.")


def _print(found: Policy, own: int, as_json: bool) -> None:
    if as_json:
        limit = None if found.default_units is None else amount(found.default_units)
        print_json({"default_limit": limit, "timezone": found.timezone, "overrides": own})
        return
    credits_a_day = "" if found.default_units is None else " credits per user per day"
    print(f"default limit: {limit_text(found.default_units)}{credits_a_day}\nresets at midnight, {found.timezone}")
    print(f"users with a limit of their own: {own:,}")
