"""Options that several commands share, and how they open the ledger and print."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from tallyboard import settings
from tallyboard.app import App
from tallyboard.people.accounts import FIRST_ACCOUNT_ID

ACTOR = "command line"
ACCOUNT_ID = FIRST_ACCOUNT_ID

Data = Annotated[Path | None, typer.Option("--data", help="The data folder. [env: TALLYBOARD_DATA; default: ./data]", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

talk = Console(stderr=True, soft_wrap=True, highlight=False)


def open_app(data: Path | None) -> App:
    """The ledger of a data folder; a new folder becomes a new account."""
    return App(settings.read({"data": data}))


def print_json(value: object) -> None:
    """One JSON value on stdout."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
