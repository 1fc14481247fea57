"""The command line: one file a group of commands. stdout is data, stderr is talk; exit 0, 1 failed, 2 wrong usage."""

import sys

import typer
from rich.console import Console

from tallyboard import __version__
from tallyboard.cli import (
    account,
    audit,
    copying,
    doctor,
    importing,
    key,
    member,
    migrate,
    policy,
    pulling,
    rates,
    reconcile,
    serving,
    settings,
    usage,
    user,
)
from tallyboard.errors import TallyboardError

program = typer.Typer(
    name="tallyboard",
    help="The credit usage dashboard and credit policy for AI products.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
program.command("demo")(serving.demo_command)
program.command("serve")(serving.serve)
program.command("import")(importing.import_files)
program.add_typer(pulling.group, name="pull")
program.command("usage")(usage.usage)
program.add_typer(key.group, name="key")
program.add_typer(account.group, name="account")
program.add_typer(member.group, name="member")
program.add_typer(user.group, name="user")
program.add_typer(policy.group, name="policy")
program.add_typer(rates.group, name="rates")
program.add_typer(audit.group, name="audit")
program.command("reconcile")(reconcile.reconcile)
program.command("migrate")(migrate.migrate)
program.command("copy")(copying.copy)
program.command("doctor")(doctor.doctor)
program.command("settings")(settings.settings)


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
