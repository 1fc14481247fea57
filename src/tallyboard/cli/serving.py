"""`tallyboard serve` and `tallyboard demo`."""

import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from random import Random
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn

from tallyboard import clock, demo, settings
from tallyboard.app import App
from tallyboard.cli.options import ACCOUNT_ID, ACTOR, Data, talk
from tallyboard.errors import Invalid
from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.ledger import rollups
from tallyboard.ledger.contract import Batch
from tallyboard.people import accounts, directory, members
from tallyboard.policy import history, overrides, policy
from tallyboard.policy.limits import parse_limit
from tallyboard.policy.overrides import Wanted

Port = Annotated[int | None, typer.Option(help="The port to listen on. [default: 8321]", show_default=False)]
Host = Annotated[str | None, typer.Option(help="The address to listen on. [default: 127.0.0.1]", show_default=False)]

DEMO_PORT_TRIES = 50
TRICKLE_SECONDS = 2.0
_BATCH = 5_000
_DAY_US = 86_400_000_000


def serve(port: Port = None, host: Host = None, data: Data = None) -> None:
    """Serve the pages and the API."""
    from tallyboard.web import server  # noqa: PLC0415  Loading the framework takes longer than most commands do.

    chosen = settings.read({"data": data, "host": host, "port": port})
    chosen.check_exposure()
    listener = server.bind(chosen.host, chosen.port)
    with App(chosen, patient=True) as app:
        talk.print(f"Tallyboard listens on {server.address(listener)} with the data in {chosen.place}", markup=False)
        app.start_housekeeping(lambda: _greet(app, server.address(listener)), _tell)
        server.run(app, listener)


def demo_command(
    port: Port = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
    data: Annotated[Path | None, typer.Option("--data", help="Keep the demo in this folder. Default: a temporary one.")] = None,
) -> None:
    """Make a believable account and show it: a one-time sign-in link is printed on a line of its own."""
    from tallyboard.web import server  # noqa: PLC0415  Likewise.

    with _folder(data) as folder:
        chosen = settings.read({"data": folder, "port": port, "database_url": ""})
        chosen.check_exposure()
        listener = server.bind(chosen.host, chosen.port, tries=DEMO_PORT_TRIES)
        with App(chosen) as app:
            _fill(app)
            link = app.sign_in_link(server.address(listener))
            talk.print("The demo is ready. This link signs you in once; Ctrl+C ends the demo.")
            print(link, flush=True)
            ending = threading.Event()
            threading.Thread(target=_trickle, args=(app, ending), daemon=True).start()
            app.start_housekeeping(lambda: None, _tell)
            if not no_browser:
                webbrowser.open(link)
            try:
                server.run(app, listener)
            finally:
                ending.set()


def _tell(sentence: str) -> None:
    talk.print(sentence, markup=False)


def _greet(app: App, address: str) -> None:
    with app.ledger.reading() as session:
        if members.anybody_signed_in(session):
            return
    talk.print("Nobody has signed in yet. This link signs you in once, within 30 minutes, and sets the account up:")
    print(app.sign_in_link(address, to="set-up"), flush=True)


@contextmanager
def _folder(data: Path | None) -> Iterator[Path]:
    if data is not None:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="tallyboard-demo-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _fill(app: App) -> None:
    """Send the demo's history in; a folder that has it already gets only what is new."""
    now_us = clock.now_us()
    with app.ledger.writing() as session:
        account = accounts.of(session, ACCOUNT_ID)
        if account.name != demo.ACCOUNT and rollups.totals(session, ACCOUNT_ID) != (0, 0):
            raise Invalid(f"{app.settings.data} holds usage that is not the demo's; choose another folder with --data")
        accounts.change(session, ACCOUNT_ID, ACTOR, now_us - demo.DAYS * _DAY_US, name=demo.ACCOUNT, timezone=demo.TIMEZONE)
        for persona in demo.personas(Random(demo.SEED)):
            directory.name_user(session, ACCOUNT_ID, persona.user)
    _set_limits(app, now_us)
    while app.rebuild_days(ACCOUNT_ID).result():
        pass
    events = demo.history(now_us)
    columns = (TextColumn("Making 75 days of usage"), BarColumn())
    with Progress(*columns, console=talk, transient=True, disable=not talk.is_terminal) as progress:
        task = progress.add_task("fill", total=None)
        while part := list(islice(events, _BATCH)):
            _send(app, part, now_us)
            progress.advance(task)


def _set_limits(app: App, now_us: int) -> None:
    """Limits with a history, where nobody has set any yet."""
    everybody = demo.personas(Random(demo.SEED))
    with app.ledger.writing() as session:
        if any(each.action != "account.changed" for each in history.changes(session, ACCOUNT_ID)):
            return
        for limit in demo.LIMITS:
            at_us, units = demo.set_at_us(limit, now_us), parse_limit(limit.credits)
            if limit.rank is None:
                policy.change(session, ACCOUNT_ID, limit.actor, at_us, default_units=units, timezone=demo.TIMEZONE)
            else:
                expires_us = at_us + limit.expires_in_days * _DAY_US if limit.expires_in_days else None
                wanted = Wanted(everybody[limit.rank].user.user, units, limit.reason, expires_us)
                overrides.put(session, ACCOUNT_ID, [wanted], limit.actor, at_us)


def _trickle(app: App, ending: threading.Event) -> None:
    """Somebody is always using something."""
    random = Random(clock.now_us())
    everybody = demo.personas(Random(demo.SEED))
    number = 0
    while not ending.wait(TRICKLE_SECONDS):
        now_us = clock.now_us()
        _send(app, [demo.trickle(random, everybody, number, now_us)], now_us)
        number += 1


def _send(app: App, events: list[CloudEvent], now_us: int) -> None:
    accepted = accept(events, Sender(), app.charger(ACCOUNT_ID), now_us)
    assert not accepted.refused, accepted.refused[0]
    app.ledger.append(Batch(ACCOUNT_ID, accepted.entries, now_us, ACTOR)).result()
