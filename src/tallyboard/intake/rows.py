"""Rows of a table, CSV's or Parquet's, as CloudEvents by a mapping: every row an event, or the reason it is none. No I/O.

Numbers stay exact: they are read from the text as it stands, never through a float.
"""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from difflib import get_close_matches

from tallyboard.errors import Invalid
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.intake.event import Reason, Refused
from tallyboard.intake.mapping import ATTRIBUTES, EVENT_TYPE, SOURCE, RowMapping, quoted
from tallyboard.intake.times import Clock, Moment, instant, written

COLUMNS_MAX = 2_000
Cell = str | int | bool | Moment | None
"""What a table can hold. CSV holds texts; decimals and floats of Parquet are texts, too, digit by digit."""

_WHOLE = re.compile(r"[+-]?\d{1,30}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,3})?", re.ASCII)
_SHOWN_MAX = 40
_COLUMNS_SHOWN = 30

Take = Callable[[Sequence[Cell]], Cell]


class RowReader:
    """Reads rows of one table. `identity` says which file it is, where rows have no id of their own."""

    def __init__(self, mapping: RowMapping, columns: Sequence[str], identity: str) -> None:
        self._width = len(columns)
        self._identity = identity
        self._clock = Clock(mapping.timezone, mapping.time_unit, mapping.time_format)
        self._decimal = mapping.decimal
        places = _places(mapping, columns)
        fixed = {"type": EVENT_TYPE, "source": SOURCE, **mapping.fixed}
        self._attributes = {name: _of(places, mapping.columns.get(name), fixed.get(name)) for name in ATTRIBUTES}
        self._fixed = {field: each for field, each in mapping.quantities.items() if isinstance(each, int)}
        self._quantities = [(field, each, places[each]) for field, each in mapping.quantities.items() if isinstance(each, str)]
        self._dimensions = [(field, places[column]) for field, column in mapping.dimensions.items()]

    def event(self, number: int, cells: Sequence[Cell] | Refused) -> CloudEvent | Refused:
        """What the row of a number (from 1) says."""
        if isinstance(cells, Refused):
            return cells
        try:
            return self._event(number, cells)
        except Refused as refused:
            return refused

    def _event(self, number: int, cells: Sequence[Cell]) -> CloudEvent:
        if len(cells) != self._width:
            raise Refused(
                Reason.NOT_AN_EVENT,
                f"the row has {len(cells):,} cells, the header {self._width:,}; put cells that hold the delimiter or a line break in quotes",
            )
        said = self._attributes
        time = said["time"](cells)
        if time is None or isinstance(time, bool) or (isinstance(time, str) and not time.strip()):
            raise Refused(Reason.MISSING_FIELD, "the time is empty; a row of a file needs one")
        row_id = _text(said["id"](cells)) if self._has_id() else f"{self._identity}:{number}"
        return CloudEvent(
            specversion="1.0",
            id=row_id,
            source=_text(said["source"](cells)),
            type=_text(said["type"](cells)),
            subject=_text(said["user"](cells)) or None,
            time=instant(time, self._clock),
            data=self._data(cells, _text(said["model"](cells))),
        )

    def _has_id(self) -> bool:
        return self._attributes["id"] is not _nothing

    def _data(self, cells: Sequence[Cell], model: str) -> dict[str, object]:
        data: dict[str, object] = {"model": model, **self._fixed} if model else {**self._fixed}
        for field, column, place in self._quantities:
            found = quantity(cells[place], column, self._decimal)
            if found is not None:
                data[field] = found
        for field, place in self._dimensions:
            cell = cells[place]
            if cell is not None and cell != "":
                data[field] = _plain(cell)
        return data


def needed(mapping: RowMapping) -> dict[str, str]:
    """The columns that a mapping reads, each once, and what each is needed for."""
    found: dict[str, str] = {}
    tables = {"columns": mapping.columns, "quantities": mapping.quantities, "dimensions": mapping.dimensions}
    for table, fields in tables.items():
        for field, column in fields.items():
            if isinstance(column, str):
                found.setdefault(column, f"{field} in [{table}]")
    return found


def quantity(cell: Cell, column: str, decimal: str = ".") -> int | Decimal | None:
    """A number as it stands there, exact; None where the cell is empty."""
    if cell is None or type(cell) is int:
        return cell
    text = cell.strip() if isinstance(cell, str) else str(cell)
    if not text:
        return None
    if _WHOLE.fullmatch(text):
        return int(text)
    plain = text if decimal == "." else text.replace(".", "x").replace(decimal, ".")
    if isinstance(cell, str) and _DECIMAL.fullmatch(plain):
        return Decimal(plain)
    mend = f"write it plainly, such as 1234{decimal}5"
    if decimal == "." and re.fullmatch(r"[+-]?\d+,\d+", text, re.ASCII):
        mend = 'write it without separators of thousands; where the comma begins the decimals, say decimal = "," in the mapping'
    raise Refused(Reason.BAD_QUANTITY, f"{quoted(column[:_SHOWN_MAX])} is not a number: {text[:_SHOWN_MAX]!r}; {mend}")


def _places(mapping: RowMapping, columns: Sequence[str]) -> dict[str, int]:
    """Where the columns of a mapping stand; Invalid where one is missing, or there twice."""
    places: dict[str, int] = {}
    for wanted, use in needed(mapping).items():
        found = [place for place, name in enumerate(columns) if name == wanted]
        if not found:
            raise Invalid(f"{use}: {_missing(wanted, columns)}")
        if len(found) > 1:
            twice = " and ".join(f"{place + 1:,}" for place in found[:2])
            raise Invalid(f"{use}: the column {quoted(wanted)} is there more than once (columns {twice}); give them different names")
        places[wanted] = found[0]
    return places


def _missing(wanted: str, columns: Sequence[str]) -> str:
    close = get_close_matches(wanted, columns[:COLUMNS_MAX], 1)
    shown = ", ".join(map(quoted, columns[:_COLUMNS_SHOWN])) + (", …" if len(columns) > _COLUMNS_SHOWN else "")
    meant = f"; is it {quoted(close[0])}?" if close else "."
    alone = " One column only: does the mapping need a delimiter?" if len(columns) == 1 else ""
    return f"there is no column {quoted(wanted)}{meant} The columns are: {shown}.{alone}"


def _of(places: dict[str, int], column: str | None, fixed: str | None) -> Take:
    if column is not None:
        place = places[column]
        return lambda cells: cells[place]
    if fixed is not None:
        return lambda _: fixed
    return _nothing


def _nothing(_: Sequence[Cell]) -> Cell:
    return None


def _text(cell: Cell) -> str:
    """A name: a text without the blanks around it, or a whole number."""
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, (bool, Moment)):
        raise Refused(Reason.BAD_FIELD, f"{str(_plain(cell))[:_SHOWN_MAX]!r} cannot be a name; map a column of texts or whole numbers")
    return "" if cell is None else str(cell)


def _plain(cell: Cell) -> object:
    """A dimension as JSON can hold it. Text that looks like a formula is just text."""
    return written(cell) if isinstance(cell, Moment) else cell
