"""Options that several commands share, and how they open the ledger and print."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from tallyboard import settings
from tallyboard.app import App
from tallyboard.ledger.contract import Session
from tallyboard.people import accounts

ACTOR = "command line"
ACCOUNT_ID = accounts.FIRST_ACCOUNT_ID
"""The demo's."""

Data = Annotated[Path | None, typer.Option("--data", help="The data folder. [env: TALLYBOARD_DATA; default: ./data]", show_default=False)]
Of = Annotated[
    str | None, typer.Option("--account", help="The account, by id or name. Needed only where there are several.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

talk = Console(stderr=True, soft_wrap=True, highlight=False)


def open_app(data: Path | None) -> App:
    """The ledger of a data folder; a new folder becomes a new account."""
    return App(settings.read({"data": data}))


def account_id_of(session: Session, account: str | None) -> int:
    """The account that a command is about: the one said, else the only one."""
    return accounts.meant(session, account).account_id


def print_json(value: object) -> None:
    """One JSON value on stdout."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
