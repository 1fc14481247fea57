"""`tallyboard member`: who may sign in, and how they get in."""

from typing import Annotated

import typer

from tallyboard import clock
from tallyboard.app import App
from tallyboard.cli.options import ACTOR, Data, Json, Of, account_id_of, open_app, print_json, talk
from tallyboard.people import members, roster, welcome
from tallyboard.people.members import LINK_MINUTES, Role
from tallyboard.people.welcome import INVITATION_DAYS, Purpose

group = typer.Typer(help="Add, list and change members; let them sign in.", no_args_is_help=True)

Email = Annotated[str, typer.Argument(help="The member's email.")]


@group.command("add")
def add(
    email: Email,
    role: Annotated[Role, typer.Option(help="What the member may see.")] = Role.MEMBER,
    account: Of = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Add a member and print an invitation: a link that works once. No email is sent."""
    with open_app(data) as app:
        with app.ledger.writing() as session:
            account_id = account_id_of(session, account)
            _, secret = roster.invite(session, account_id, email, role, ACTOR, clock.now_us())
        _print_invitation(app, secret, as_json)


@group.command("list")
def list_members(account: Of = None, data: Data = None, as_json: Json = False) -> None:
    """List the members by email."""
    with open_app(data) as app, app.ledger.reading() as session:
        account_id = account_id_of(session, account)
        found = roster.listed(session, account_id)
    if as_json:
        print_json(
            [
                {"email": each.member.email, "role": each.member.role, "state": each.state, "user": each.user.user if each.user else None}
                for each in found
            ]
        )
        return
    for each in found:
        print("\t".join((each.member.email, each.member.role, each.state, each.user.user if each.user else "")))
    if not found:
        talk.print("There are no members. Add one: tallyboard member add alice@example.com --role admin")


@group.command("link")
def link(
    email: Annotated[str | None, typer.Argument(help="The member's email. Default: the account's first administrator.")] = None,
    invitation: Annotated[
        bool, typer.Option("--invitation", help="One at which the member chooses a new password, within 7 days.")
    ] = False,
    account: Of = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Print a new one-time sign-in link."""
    now_us = clock.now_us()
    with open_app(data) as app:
        with app.ledger.writing() as session:
            account_id = account_id_of(session, account)
            member = members.ensure_admin(session, account_id, now_us) if email is None else roster.find(session, account_id, email)
            roster.check_active(session, member)
            secret = welcome.make(session, member, Purpose.INVITATION, now_us) if invitation else members.invite(session, member, now_us)
        if invitation:
            _print_invitation(app, secret, as_json)
            return
        address = f"{app.settings.address}/sign-in?token={secret}"
    if as_json:
        print_json({"link": address})
        return
    talk.print(f"This link signs in once, within {LINK_MINUTES} minutes.")
    print(address)


@group.command("role")
def change_role(
    email: Email, role: Annotated[Role, typer.Argument(help="What the member may see.")], account: Of = None, data: Data = None
) -> None:
    """Give a member another role; the member signs in again."""
    with open_app(data) as app, app.ledger.writing() as session:
        account_id = account_id_of(session, account)
        member = roster.find(session, account_id, email)
        roster.change_role(session, account_id, member.member_id, role, ACTOR, clock.now_us())
    talk.print(f"{member.email} is {'an administrator' if role is Role.ADMIN else 'a member'}.")


@group.command("deactivate")
def deactivate(email: Email, account: Of = None, data: Data = None) -> None:
    """Let a member in no more, from now on."""
    with open_app(data) as app, app.ledger.writing() as session:
        account_id = account_id_of(session, account)
        member = roster.find(session, account_id, email)
        roster.deactivate(session, account_id, member.member_id, ACTOR, clock.now_us())
    talk.print(f"{member.email} is let in no more.")


@group.command("reactivate")
def reactivate(email: Email, account: Of = None, data: Data = None) -> None:
    """Let a member in again."""
    with open_app(data) as app, app.ledger.writing() as session:
        account_id = account_id_of(session, account)
        member = roster.find(session, account_id, email)
        roster.reactivate(session, account_id, member.member_id, ACTOR, clock.now_us())
    talk.print(f"{member.email} is let in again.")


def _print_invitation(app: App, secret: str, as_json: bool) -> None:
    address = f"{app.settings.address}/invitation?token={secret}"
    if as_json:
        print_json({"link": address})
        return
    talk.print(f"Copy this link now. It works once, within {INVITATION_DAYS} days.")
    print(address)
