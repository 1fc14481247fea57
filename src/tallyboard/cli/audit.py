"""`tallyboard audit`: who changed what, and proof that nobody changed that."""

from typing import Annotated

import typer

from tallyboard.cli.options import Data, Json, Of, account_id_of, open_app, print_json, talk
from tallyboard.errors import Invalid
from tallyboard.ledger import audit

group = typer.Typer(help="Export the audit log, and verify that it was only ever added to.", no_args_is_help=True)


@group.command("verify")
def verify(
    expect: Annotated[str | None, typer.Option(help="The newest digest that an earlier run printed: it must still be there.")] = None,
    account: Of = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Follow the chain of digests through the whole log. Exit code 1 where it is broken."""
    with open_app(data) as app, app.ledger.reading() as session:
        account_id = account_id_of(session, account)
        found = audit.verify(session, account_id, _bytes(expect))
    missing = expect is not None and found.expected_at is None
    if as_json:
        newest = found.newest.hex() if found.newest else None
        print_json({"lines": found.lines, "newest": newest, "broken_at": found.broken_at, "expected_at": found.expected_at})
    elif found.newest:
        print(found.newest.hex())
    talk.print(found.verdict)
    if missing:
        talk.print("The digest that you expect is not there: the end of the log was cut off or written anew.")
    elif found.broken_at is None:
        talk.print("Keep the digest to ask for it again with --expect.")
    if found.broken_at is not None or missing:
        raise typer.Exit(1)


@group.command("export")
def export(
    after: Annotated[int, typer.Option(help="Only lines from after this number on, to go on where an earlier export ended.")] = 0,
    account: Of = None,
    data: Data = None,
) -> None:
    """Print the log as NDJSON, oldest first: one line an entry."""
    with open_app(data) as app, app.ledger.reading() as session:
        account_id = account_id_of(session, account)
        for line in audit.entries(session, account_id, after):
            print(audit.as_json(line).decode())


def _bytes(digest: str | None) -> bytes | None:
    try:
        return None if digest is None else bytes.fromhex(digest)
    except ValueError:
        raise Invalid("a digest is 64 hexadecimal digits, as `tallyboard audit verify` prints it") from None
