"""The command line: one file a group of commands. stdout is data, stderr is talk; exit 0, 1 failed, 2 wrong usage."""

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup
from typer.main import get_group

from tallyboard import __version__
from tallyboard.errors import TallyboardError

_PLACES = {
    "demo": "serving.demo_command",
    "serve": "serving.serve",
    "import": "importing.import_files",
    "pull": "pulling.group",
    "usage": "usage.usage",
    "key": "key.group",
    "account": "account.group",
    "member": "member.group",
    "user": "user.group",
    "policy": "policy.group",
    "rates": "rates.group",
    "audit": "audit.group",
    "reconcile": "reconcile.reconcile",
    "migrate": "migrate.migrate",
    "copy": "copying.copy",
    "doctor": "doctor.doctor",
    "settings": "settings.settings",
}
"""Where each command is: a module of this folder, and the function or the group in it."""
_MANNERS: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}


class _Commands(Mapping[str, Any]):
    """Loads a command when it is asked for: to load what all of them need takes longer than most of them run."""

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = _PLACES[name].partition(".")
        found = getattr(import_module(f"{__name__}.{module}"), attribute)
        parent = typer.Typer(**_MANNERS)
        if isinstance(found, typer.Typer):
            parent.add_typer(found, name=name)
        else:
            parent.command(name)(found)
        return get_group(parent).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_PLACES)

    def __len__(self) -> int:
        return len(_PLACES)


class _Program(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": _Commands()})


program = typer.Typer(
    name="tallyboard",
    cls=_Program,
    help="The credit usage dashboard and credit policy for AI products.",
    no_args_is_help=True,
    **_MANNERS,
)


@program.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    if version:
        print(f"tallyboard {__version__}")
        raise typer.Exit


def main() -> None:
    """Run a command; what it cannot do is said in one line on stderr."""
    try:
        program()
    except TallyboardError as error:
        Console(stderr=True, soft_wrap=True).print(f"tallyboard: {error}", markup=False, highlight=False)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
