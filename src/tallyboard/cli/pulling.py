"""`tallyboard pull`: a provider's own usage report, fetched now. Pulling the same days again changes only what the report says otherwise."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated, Protocol

import msgspec
import typer
from msgspec import Struct
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tallyboard import clock, days
from tallyboard.app import App
from tallyboard.cli.options import ACTOR, Data, Json, Of, account_id_of, open_app, print_json, talk
from tallyboard.errors import Invalid
from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.event import Refusal, is_key
from tallyboard.intake.replacing import From, Replacing, Report, Tally, Window
from tallyboard.ledger.contract import Batch, Outcome
from tallyboard.pulls import anthropic, cursor, litellm, openai
from tallyboard.pulls.asking import Asker, Place
from tallyboard.pulls.windows import DAY_US, HOUR_US, Names, Stretch

group = typer.Typer(help="Take usage in from a provider's own report.", no_args_is_help=True)
DAYS_BACK = 3
DAYS_MAX = 366
KEY_BYTES_MAX = 4_096
MAP_BYTES_MAX = 16 * 1_048_576

First = Annotated[
    str | None, typer.Option("--from", help="The first day (UTC), such as 2026-11-01. [default: 3 days before the end]", show_default=False)
]
Last = Annotated[str | None, typer.Option("--to", help="The last day (UTC). [default: up to the last full hour]", show_default=False)]
KeyFile = Annotated[Path | None, typer.Option("--key-file", help="Read the key from this file instead of the environment.")]
BaseUrl = Annotated[str | None, typer.Option("--base-url", help="Ask here instead: a proxy, or a test.")]
UserMap = Annotated[
    Path | None, typer.Option("--user-map", help="A JSON object of users' keys by what the provider calls them: an email or an id.")
]
Name = Annotated[str | None, typer.Option("--name", help="Tells several organizations of one provider apart, such as emea.")]
BesideLive = Annotated[bool, typer.Option("--beside-live", help="Count lines also on days on which usage of the same user was told live.")]


class Pull(Struct, frozen=True):
    """What somebody wants to be pulled, of what stretch of time, and how it is told."""

    first: str | None
    last: str | None
    key_file: Path | None
    base_url: str | None
    user_map: Path | None
    name: str | None
    beside_live: bool
    account: str | None
    data: Path | None
    as_json: bool


class Provider(Protocol):
    """A module of `pulls` whose reports later ones replace."""

    VARIABLE: str
    SOURCE: str

    def place(self, key: str, base_url: str | None) -> Place:
        """Where to ask, and as whom."""

    def reports(self, asker: Asker, stretch: Stretch, names: Names) -> Iterable[tuple[str, Iterator[Window]]]:
        """Each report's scope and windows."""


def _pull(provider: Provider, command: str, about: str) -> None:
    """Make the command that pulls the reports of a provider."""

    @group.command(command, help=f"{about} in {provider.VARIABLE}.")
    def pull(
        first: First = None,
        last: Last = None,
        key_file: KeyFile = None,
        base_url: BaseUrl = None,
        user_map: UserMap = None,
        name: Name = None,
        beside_live: BesideLive = False,
        account: Of = None,
        data: Data = None,
        as_json: Json = False,
    ) -> None:
        wanted = Pull(first, last, key_file, base_url, user_map, name, beside_live, account, data, as_json)
        _replace(wanted, provider, provider.place(_key(provider.VARIABLE, key_file), base_url))


_pull(openai, "openai", "OpenAI: tokens and requests by hour, user and model. The admin key is")
_pull(anthropic, "anthropic", "Anthropic: tokens and requests by hour, user, model and product. The key is")
_pull(cursor, "cursor", "Cursor: tokens and requests by hour, user, model and kind. The team's key is")


@group.command("litellm")
def pull_litellm(
    first: First = None,
    last: Last = None,
    key_file: KeyFile = None,
    base_url: BaseUrl = None,
    user_map: UserMap = None,
    account: Of = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """LiteLLM: every call in a proxy's spend logs. Its master key is in LITELLM_MASTER_KEY, its address in LITELLM_BASE_URL."""
    base_url = base_url or os.environ.get(litellm.URL_VARIABLE, "").strip()
    if not base_url:
        raise Invalid(f"set {litellm.URL_VARIABLE}, or say --base-url, such as https://litellm.example.com")
    now_us = clock.now_us()
    stretch, names = _stretch(first, last, now_us), _names(user_map)
    calls = Calls()
    with open_app(data) as app, Asker(litellm.place(_key(litellm.VARIABLE, key_file), base_url)) as asker:
        with app.ledger.reading() as session:
            account_id = account_id_of(session, account)
        charger = app.charger(account_id)
        with talk.status("Reading spend logs…"):
            for page in litellm.calls(asker, stretch, names):
                accepted = accept(page, Sender(), charger, now_us)
                calls.add(app.ledger.append(Batch(account_id, accepted.entries, now_us, ACTOR)).result())
                for refusal in accepted.refused:
                    _refuse(app, account_id, refusal)
                calls.refused += len(accepted.refused)
    if as_json:
        print_json(calls)
    else:
        print("  ".join(f"{getattr(calls, field):,} {field}" for field in calls.__struct_fields__))


class Calls(Struct):
    """What became of the calls of spend logs. Set aside are those that another source told (ledger/told.py)."""

    accepted: int = 0
    duplicate: int = 0
    conflict: int = 0
    set_aside: int = 0
    refused: int = 0
    unrated: int = 0
    unattributed: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count a page."""
        for name in outcome.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(outcome, name))


def _replace(pull: Pull, provider: Provider, place: Place) -> None:
    """Fetch reports and have them replace what was counted of them before."""
    now_us = clock.now_us()
    stretch, names = _stretch(pull.first, pull.last, now_us), _names(pull.user_map)
    tally = Tally()
    with open_app(pull.data) as app, Asker(place) as asker:
        with app.ledger.reading() as session:
            account_id = account_id_of(session, pull.account)
        origin = From(account_id, ACTOR, app.charger(account_id))
        with _progress(place.name, stretch) as watched:
            for scope, windows in provider.reports(asker, stretch, names):
                report = Report(_source(provider.SOURCE, pull.name), scope, now_us, pull.beside_live)
                replacing = Replacing(app.ledger, report, origin)
                try:
                    replacing.take(watched(scope, windows), now_us)
                finally:
                    tell_refused(app, account_id, replacing)
                tally.add(replacing.tally)
    tell(tally, as_json=pull.as_json)


def tell(tally: Tally, *, as_json: bool) -> None:
    """Print what became of a report."""
    if as_json:
        print_json(tally)
        return
    shown = [f"{tally.windows:,} windows", f"{tally.lines:,} lines", *(f"{getattr(tally, each):,} {each}" for each in ("new", "changed"))]
    others = ("unchanged", "gone", "overtaken", "refused", "unrated", "unattributed")
    print("  ".join([*shown, *(f"{count:,} {each}" for each in others if (count := getattr(tally, each)))]))
    if tally.set_aside:
        print(f"set aside: {tally.set_aside:,} lines, already told live")
    if tally.of_another_source:
        print(f"set aside: {tally.of_another_source:,} lines, of whom another source is of record")
    if tally.not_yet:
        print(f"not yet: {tally.not_yet:,} lines of windows that are not half over")


def tell_refused(app: App, account_id: int, replacing: Replacing) -> None:
    """Say and note why lines were refused: the first ones, the others are only counted."""
    for refusal in replacing.examples:
        _refuse(app, account_id, refusal)


def _refuse(app: App, account_id: int, refusal: Refusal) -> None:
    talk.print(f"a line is refused: {refusal.reason}: {refusal.detail}", markup=False)
    app.refused(account_id, ACTOR, refusal.reason, 1, refusal.detail)


def _source(source: str, name: str | None) -> str:
    if name is None:
        return source
    if not is_key(f"{source}/{name}") or not name.strip():
        raise typer.BadParameter("--name must be a short text")
    return f"{source}/{name}"


def _stretch(first: str | None, last: str | None, now_us: int) -> Stretch:
    """The whole hours that are asked for and have ended."""
    end_us = now_us - now_us % HOUR_US
    if last is not None:
        end_us = min(end_us, _day_us(last, "--to") + DAY_US)
    start_us = end_us - DAYS_BACK * DAY_US if first is None else _day_us(first, "--from")
    if start_us >= end_us:
        raise Invalid("nothing is to be pulled: --from is after --to, or no hour of it has ended yet")
    if start_us < now_us - DAYS_MAX * DAY_US:
        raise Invalid(f"a pull may go back {DAYS_MAX} days")
    return Stretch(start_us, end_us)


def _day_us(text: str, option: str) -> int:
    try:
        return days.to_number(date.fromisoformat(text)) * DAY_US
    except ValueError:
        raise typer.BadParameter(f"{option} must be a day such as 2026-11-01, not {text[:40]!r}") from None


def _key(variable: str, file: Path | None) -> str:
    """The key that shows a provider who asks. It is never told to anybody else."""
    if file is None:
        key, place = os.environ.get(variable, "").strip(), variable
        if not key:
            raise Invalid(f"set {variable}, or name a file that holds the key with --key-file")
    else:
        key, place = _text(file, KEY_BYTES_MAX).strip(), str(file)
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise Invalid(f"{place} does not hold a key: one line of plain ASCII without spaces")
    return key


def _names(file: Path | None) -> Names:
    if file is None:
        return Names()
    try:
        found: Mapping[str, str] = msgspec.json.decode(_text(file, MAP_BYTES_MAX), type=dict[str, str])
    except msgspec.DecodeError as error:
        raise Invalid(f'{file} must be a JSON object such as {{"user-1": "alice@example.com"}}: {error}') from None
    bad = next((key for key in found.values() if not is_key(key)), None)
    if bad is not None:
        raise Invalid(f"{file}: a user's key has 1 to 256 characters and no control character, not {bad[:40]!r}")
    return Names(found)


def _text(file: Path, bytes_max: int) -> str:
    try:
        with file.open("rb") as opened:
            found = opened.read(bytes_max + 1)
        if len(found) > bytes_max:
            raise Invalid(f"{file} is larger than {bytes_max:,} bytes")
        return found.decode()
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Invalid(f"{file} is not UTF-8") from None


Watched = Callable[[str, Iterator[Window]], Iterator[Window]]


@contextmanager
def _progress(name: str, stretch: Stretch) -> Iterator[Watched]:
    """Shows how far a report has been read, by its hours."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("hours"))
    with Progress(*columns, console=talk, transient=True, disable=not talk.is_terminal) as progress:
        yield partial(_watch, progress, name, len(stretch.hours))


def _watch(progress: Progress, name: str, hours: int, scope: str, windows: Iterator[Window]) -> Iterator[Window]:
    task = progress.add_task(f"{name} {scope}", total=hours)
    for window in windows:
        yield window
        progress.advance(task)
