"""Asks somebody at a terminal which column of a table is what, shows what becomes of the first row, and keeps the answers as a mapping."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

import msgspec
import typer
from msgspec.structs import replace

from tallyboard import days
from tallyboard.cli.importing.sample import Sample, guess, is_number, source_of, unit_of
from tallyboard.cli.options import talk
from tallyboard.errors import Invalid
from tallyboard.intake import mapping
from tallyboard.intake.event import Refused, is_key
from tallyboard.intake.mapping import RowMapping, TimeUnit, quoted, visible
from tallyboard.intake.rows import Cell, RowReader
from tallyboard.intake.times import Clock, Moment, instant, written

NONE = "-"
_T = TypeVar("_T")
_SHOWN_COLUMNS_MAX = 60
_SHOWN_MAX = 60


def ask(sample: Sample, zone: ZoneInfo | None) -> RowMapping:
    """The mapping of a table, as whoever sits at the terminal says it; Invalid where they think better of it."""
    guessed = replace(guess(sample), timezone=zone)
    _show(sample)
    columns = dict(guessed.columns)
    columns["time"] = _column(sample, "Which column says when it happened?", columns.get("time"))
    user = _user(sample, columns.get("user"))
    for name, question in (("id", "Which column is the row's id"), ("model", "Which column names the model")):
        columns[name] = _column(sample, f"{question}? ({NONE} for none)", columns.get(name, NONE), optional=True)
    chosen = {name: column for name, column in columns.items() if column != NONE and name != "user"}
    found = replace(
        guessed,
        columns=chosen if user.startswith("=") else {**chosen, "user": user},
        fixed={"user": user[1:]} if user.startswith("=") else {},
    )
    found = replace(found, fixed={**found.fixed, **_source(sample, found)})
    found = _with_clock(sample, found)
    found = _with_fields(sample, found)
    _preview(sample, found)
    _offer_to_keep(found)
    return found


def _show(sample: Sample) -> None:
    talk.print(f"{sample.shown} has these columns; its first row is beside them.", markup=False)
    width = min(40, max(len(quoted(name)) for name in sample.columns))
    for number, name in enumerate(sample.columns[:_SHOWN_COLUMNS_MAX], 1):
        talk.print(f"{number:>4}  {quoted(name)[:width]:<{width}}  {_shown(sample.cell(name))}", markup=False)
    if len(sample.columns) > _SHOWN_COLUMNS_MAX:
        talk.print(f"      … and {len(sample.columns) - _SHOWN_COLUMNS_MAX:,} more")
    talk.print("Answer with a column's number or name.")


def _shown(cell: Cell) -> str:
    return quoted(written(cell) if isinstance(cell, Moment) else "" if cell is None else str(cell)[:_SHOWN_MAX])


def _asked(question: str, default: str | None, read: Callable[[str], _T]) -> _T:
    """An answer that can be used: what is wrong with it is said, and it is asked again."""
    while True:
        talk.print(f"{question}{'' if default is None else f' [{visible(default)}]'}: ", end="", markup=False)
        line = sys.stdin.readline()
        if not line:
            raise typer.Abort
        try:
            if answer := line.strip() or default:
                return read(answer)
        except ValueError as error:
            talk.print(f"  {error}", markup=False)


def _column(sample: Sample, question: str, default: str | None, *, optional: bool = False) -> str:
    def read(answer: str) -> str:
        if optional and answer == NONE:
            return NONE
        return _meant(sample, answer)

    return _asked(question, default, read)


def _meant(sample: Sample, answer: str) -> str:
    """The column of a name or number."""
    if answer in sample.columns and answer:
        return answer
    if answer.isascii() and answer.isdigit() and 0 < int(answer[:9]) <= len(sample.columns):
        return sample.columns[int(answer) - 1]
    raise ValueError(f"there is no column {quoted(answer[:_SHOWN_MAX])}; type its number")


def _user(sample: Sample, default: str | None) -> str:
    """A column, or = and a text for all rows."""

    def read(answer: str) -> str:
        if answer.startswith("=") and not is_key(answer[1:].strip()):
            raise ValueError("a user has 1 to 256 characters, none of them a control character")
        return f"={answer[1:].strip()}" if answer.startswith("=") else _meant(sample, answer)

    return _asked("Which column names the user? (=alice for the same user in every row)", default, read)


def _source(sample: Sample, found: RowMapping) -> dict[str, str]:
    """The source of ids, which are unique only within it."""

    def read(answer: str) -> str:
        if not is_key(answer):
            raise ValueError("a source has 1 to 256 characters, none of them a control character")
        return answer

    if "id" not in found.columns:
        return {}
    return {"source": _asked("Within what are these ids unique? Name the source", source_of(sample.shown), read)}


def _with_clock(sample: Sample, found: RowMapping) -> RowMapping:
    """How times are written, asked only where the first row does not tell."""
    cell = sample.cell(found.columns["time"])
    found = replace(found, time_unit=None)
    if unit_of(cell) or isinstance(cell, int):
        unit = _asked(f"{_shown(cell)} counts from 1970 in seconds or milliseconds?", unit_of(cell), _unit)
        return replace(found, time_unit=unit, timezone=None)
    if isinstance(cell, str) and cell.strip() and not _reads(cell, Clock(days.zone("UTC"))):
        form = _asked(f"How is {_shown(cell)} written? For example %d.%m.%Y %H:%M", None, lambda answer: _format(answer, cell))
        found = replace(found, time_format=form)
    elif isinstance(cell, bool) or cell is None or cell == "":
        return found
    if found.timezone is None and not _reads(cell, Clock(None, None, found.time_format)):
        return replace(
            found, timezone=_asked("The times have no offset; whose clock is it? For example Europe/Berlin", None, days.find_zone)
        )
    return found


def _reads(cell: str | Moment, clock: Clock) -> bool:
    try:
        instant(cell, clock)
    except Refused:
        return False
    return True


def _unit(answer: str) -> TimeUnit:
    for unit in ("seconds", "milliseconds"):
        if answer == unit:
            return unit
    raise ValueError("type seconds or milliseconds")


def _format(answer: str, cell: str) -> str:
    if not _reads(cell, Clock(days.zone("UTC"), None, answer)):
        raise ValueError(f"{_shown(cell)} is not written so")
    return answer


def _with_fields(sample: Sample, found: RowMapping) -> RowMapping:
    """What is counted, and what is kept besides."""
    used = set(found.columns.values())
    names = {column: field for field, column in found.quantities.items()}
    numbers = [name for name in sample.columns[:_SHOWN_COLUMNS_MAX] if name and name not in used and _has_number(sample, name)]
    quantities: dict[str, str | int] = {}
    for column in numbers:
        field = _asked(
            f"{quoted(column)[:_SHOWN_MAX]} is a number; as which field of data does it count? ({NONE} for none)",
            names.get(column, NONE),
            _field,
        )
        if field != NONE:
            quantities[field] = column
            used.add(column)
    if not quantities:
        talk.print("Nothing is counted of a row but that it is a request: requests = 1.")
    rest = [name for name in sample.columns[:_SHOWN_COLUMNS_MAX] if name and name not in used]
    default = " ".join(str(sample.columns.index(each) + 1) for each in found.dimensions.values() if each in rest) or NONE
    kept = (
        _asked(f"Which others are kept beside it, by number? ({NONE} for none)", default, lambda answer: _several(sample, answer))
        if rest
        else []
    )
    dimensions = {mapping.field_of(column): column for column in kept}
    clash = dimensions.keys() & {*quantities, "model"}
    return replace(
        found,
        quantities=quantities or {"requests": 1},
        dimensions={f"{field}_text" if field in clash else field: column for field, column in dimensions.items()},
    )


def _has_number(sample: Sample, column: str) -> bool:
    cell = sample.cell(column)
    return cell not in {None, ""} and not isinstance(cell, Moment) and is_number(cell)


def _field(answer: str) -> str:
    if not is_key(answer) or answer == "model":
        raise ValueError("name the field of data that a rate card prices, such as input_tokens")
    return answer


def _several(sample: Sample, answer: str) -> list[str]:
    return [] if answer == NONE else [_meant(sample, each) for each in re.split(r"[\s,]+", answer)]


def _preview(sample: Sample, found: RowMapping) -> None:
    """The first row as an event; nothing is imported unless it is right."""
    event = RowReader(found, sample.columns, "<sha-256 of the file>").event(2, sample.first) if sample.first else None
    if isinstance(event, Refused):
        talk.print(f"The first row would be refused: {event.reason}: {event.detail}", markup=False)
    elif event:
        said = {name: value for name, value in msgspec.structs.asdict(event).items() if value is not None}
        talk.print("The first row becomes:")
        talk.print(visible(msgspec.json.format(msgspec.json.encode(said), indent=2).decode()), markup=False)
    if not _asked("Import like this? (y or n)", "n" if isinstance(event, Refused) else "y", _yes):
        raise Invalid("nothing is imported")


def _yes(answer: str) -> bool:
    if answer.lower() not in {"y", "yes", "n", "no"}:
        raise ValueError("type y or n")
    return answer.lower().startswith("y")


def _offer_to_keep(found: RowMapping) -> None:
    def keep(answer: str) -> None:
        if answer == NONE:
            return
        try:
            with Path(answer).open("x", encoding="utf-8") as file:
                file.write(mapping.write(found))
        except FileExistsError:
            raise ValueError(f"there is a file {answer} already; choose another name") from None
        except OSError as error:
            raise ValueError(f"{answer} cannot be written: {error.strerror}") from None
        talk.print(f"{answer} is written; next time: --map {answer}", markup=False)

    _asked(f"Keep these answers for --map as ({NONE} for not)", "mapping.toml", keep)
