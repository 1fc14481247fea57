"""`tallyboard doctor`: what is wrong with this installation, in words, and how to mend it."""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import typer
from msgspec import Struct

from tallyboard import clock, days, settings
from tallyboard.cli.options import Data, Json, print_json
from tallyboard.cli.serving import Port
from tallyboard.errors import Invalid, Migrating, NewerSchema, Unavailable
from tallyboard.ledger import sqlite
from tallyboard.ledger.migrate import UNFINISHED, UNFINISHED_TEXT, migrations, pending
from tallyboard.people.identity import NotLetIn
from tallyboard.web.pages.render import ASSETS

FREE_BYTES_MIN = 256 * 1024 * 1024
CLOCK_MIN = datetime(2026, 11, 1, tzinfo=UTC)
APART_US_MAX = 2_000_000
CONNECTIONS = 2
_HOUR_US = 3_600_000_000


class Finding(Struct, frozen=True):
    """One thing looked at: whether it is well, and what it means."""

    ok: bool
    subject: str
    message: str


def doctor(data: Data = None, port: Port = None, as_json: Json = False) -> None:
    """Look for what keeps Tallyboard from working. Exits with 1 where something does."""
    chosen = settings.read({"data": data, "port": port})
    findings = list(examine(chosen))
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            print(f"{'ok   ' if finding.ok else 'WRONG'}  {finding.subject}: {finding.message}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def examine(chosen: settings.Settings) -> Iterator[Finding]:
    """Every check, in the order in which one would ask."""
    if chosen.database_url:
        yield from _server(chosen)
    else:
        yield _folder(chosen.data)
        yield _disk(chosen.data)
        yield from _database(chosen.data)
    yield _exposure(chosen)
    if chosen.openid:
        yield _provider(chosen.openid)
    yield _port(chosen.host, chosen.port)
    yield _clock()
    yield _assets()


def _provider(wanted: settings.OpenId) -> Finding:
    """Whether the provider that people sign in with can be asked."""
    from tallyboard.people.provider import Provider  # noqa: PLC0415  Loads slowly, and most have none.

    asked = Provider(wanted)
    try:
        asked.check()
    except NotLetIn as error:
        return Finding(False, "sign-in", f"{wanted.issuer}: {error.detail}")
    finally:
        asked.close()
    return Finding(True, "sign-in", f"{wanted.issuer} answers, and shows keys")


def _server(chosen: settings.Settings) -> Iterator[Finding]:
    from tallyboard.ledger.postgres import PostgresEngine  # noqa: PLC0415  Only who has a server loads its driver.

    engine = PostgresEngine(chosen.database_url, CONNECTIONS)
    try:
        before_us = clock.now_us()
        version, there_us = engine.look()
        yield Finding(True, "database", f"PostgreSQL {version} at {chosen.place} answers")
        yield _clocks(there_us - (before_us + clock.now_us()) // 2)
        with engine.reading() as session:
            waiting = pending(session)
        told = f"old ({len(waiting)} migrations pending); the next start, or `tallyboard migrate`, does them" if waiting else "up to date"
        yield Finding(not waiting, "schema", told)
    except NewerSchema as error:
        yield Finding(False, "schema", str(error))
    except Migrating:
        yield Finding(True, "schema", "there is none yet; the first start makes it")
    except Unavailable as error:
        yield Finding(False, "database", f"{error}; check TALLYBOARD_DATABASE_URL, the server, and that its role may connect")
    finally:
        engine.close()


def _clocks(apart_us: int) -> Finding:
    told = f"this machine and the database are {abs(apart_us) / 1_000_000:.1f} seconds apart"
    if abs(apart_us) > APART_US_MAX:
        return Finding(False, "clocks", f"{told}; set both by the same time server, else days end at two different moments")
    return Finding(True, "clocks", told)


def _folder(folder: Path) -> Finding:
    existing = _nearest(folder)
    if not existing.is_dir():
        return Finding(False, "data folder", f"{existing} is not a folder; choose another with --data")
    try:
        with tempfile.TemporaryFile(dir=existing) as probe:
            probe.write(b"x")
    except OSError as error:
        return Finding(
            False, "data folder", f"{folder} cannot be written ({error.strerror}); give it to this user or choose another with --data"
        )
    told = "can be written" if existing == folder else f"does not exist yet and can be made in {existing}"
    return Finding(True, "data folder", f"{folder} {told}")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(_nearest(folder)).free
    told = f"{free / 1024**3:,.1f} GiB free where the data is"
    if free < FREE_BYTES_MIN:
        return Finding(False, "disk", f"{told}; below {FREE_BYTES_MIN // 1024**2} MiB intake soon answers 503: free some space")
    return Finding(True, "disk", told)


def _database(folder: Path) -> Iterator[Finding]:
    try:
        condition = sqlite.inspect(folder)
    except Unavailable as error:
        yield Finding(False, "database", f"{error}; restore it from a backup")
        return
    if condition is None:
        yield Finding(True, "database", "there is none yet; the first start makes it")
        return
    yield _schema(condition.schema, condition.needs)
    yield _time_of(condition.latest_us)
    whole = condition.verdict == "ok"
    told = "is whole" if whole else f"is damaged ({condition.verdict}); restore it from a backup"
    yield Finding(whole, "database", f"{folder / sqlite.FILE_NAME} {told}")


def _schema(version: int, needs: int) -> Finding:
    known = len(migrations())
    if version >= UNFINISHED:
        return Finding(False, "schema", UNFINISHED_TEXT)
    if needs > known:
        return Finding(False, "schema", f"written by a newer Tallyboard (schema {version}, this one knows {known}); install that version")
    if version < known:
        return Finding(
            False, "schema", f"old (schema {version} of {known}); the next start brings it up to date: back the folder up before"
        )
    return Finding(True, "schema", f"up to date ({version})")


def _time_of(latest_us: int | None) -> Finding:
    if latest_us is not None and latest_us > clock.now_us() + _HOUR_US:
        return Finding(
            False, "history", f"something was written at {days.instant_text(latest_us)}, which is still to come: the clock was or is wrong"
        )
    return Finding(True, "history", "nothing was written in the future")


def _exposure(chosen: settings.Settings) -> Finding:
    try:
        chosen.check_exposure()
    except Invalid as error:
        return Finding(False, "exposure", str(error))
    return Finding(True, "exposure", "nothing that is typed goes over a network in the clear, as far as the settings tell")


def _port(host: str, port: int) -> Finding:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return Finding(
                False,
                "port",
                f"{host} port {port} cannot be used ({error.strerror}); a server may be running, or choose another with --port",
            )
    return Finding(True, "port", f"{host} port {port} is free")


def _clock() -> Finding:
    now = datetime.now(UTC)
    if now < CLOCK_MIN:
        return Finding(False, "clock", f"this machine says it is {now:%Y-%m-%d %H:%M} UTC, before this version was made; set the clock")
    return Finding(True, "clock", f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _assets() -> Finding:
    if not (ASSETS / "manifest.json").exists():
        return Finding(False, "pages", "the front end is not built; run `make setup`")
    return Finding(True, "pages", "the front end is built")


def _nearest(folder: Path) -> Path:
    """The path, or the nearest one above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
