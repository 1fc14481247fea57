"""The rate card: meters, and what one credit buys of each from a date on. Read from TOML, frozen, checked whole.

A card that is read is right: every mistake is found first and named with its line (`CardError`).
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from glob import escape
from importlib import resources

from msgspec.json import encode

from tallyboard import credits, days
from tallyboard.errors import Invalid

METERS_MAX = 500
RATES_MAX = 100
CARD_BYTES_MAX = 1_048_576

_NUMBER_MAX = 10**15
_NUMBER_CHARACTERS_MAX = 40
_METER_KEYS = {"name", "type", "value", "models", "contains", "stand_in", "rates"}
_HEADER = re.compile(r"^\s*\[\[\s*meters\s*\]\]")


@dataclass(frozen=True, slots=True)
class Rate:
    """From an instant on, `units` of credit for each one of the quantity (exact)."""

    from_us: int
    per_credit: Fraction

    @property
    def units(self) -> Fraction:
        """Units charged for a quantity of one."""
        return credits.UNITS_PER_CREDIT / self.per_credit


@dataclass(frozen=True, slots=True)
class StandIn:
    """A field of `data` that counts, times `factor`, where the meter's own value is not stated."""

    value: str
    factor: Fraction


@dataclass(frozen=True, slots=True)
class Meter:
    """A rule that turns events of one type into a quantity.

    The quantity is the number in `data[value]` less the numbers in the fields it `contains` (which
    other meters price). `models` are globs on `data["model"]`; empty matches every event.
    """

    name: str
    type: str
    value: str
    models: tuple[str, ...]
    contains: tuple[str, ...]
    stand_in: StandIn | None
    rates: tuple[Rate, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """The whole rate card and the text it was read from."""

    meters: tuple[Meter, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with a card, on which line of the file (from 1), and how to mend it."""

    line: int
    message: str


class CardError(Invalid):
    """A card that cannot be used; `mistakes` names each with its line."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        self.mistakes = sorted(mistakes, key=lambda mistake: mistake.line)
        super().__init__("\n".join(f"line {m.line}: {m.message}" for m in self.mistakes))


def with_meter(text: str, type: str, model: str, value: str, per_credit: str) -> str:
    """A card's text with one more meter at its head, where it goes before meters of the same field that match more models."""
    models = f"models = [{_quoted(escape(model))}]\n" if model else ""
    name = f"{value} of {model or type}"
    return (
        f"[[meters]]\nname = {_quoted(name)}\ntype = {_quoted(type)}\nvalue = {_quoted(value)}\n{models}"
        f"rates = [{{ per_credit = {_quoted(per_credit)} }}]\n\n{text}"
    )


def _quoted(text: str) -> str:
    """A text as TOML writes it, which is as JSON does."""
    return encode(text).decode()


def default_text() -> str:
    """The shipped card: the nine published meters."""
    return resources.files("tallyboard.rates").joinpath("default.toml").read_text("utf-8")


def read(text: str) -> Card:
    """Read a card; CardError names every mistake by line."""
    if len(text.encode()) > CARD_BYTES_MAX:
        raise CardError([Mistake(1, f"the card is larger than {CARD_BYTES_MAX:,} bytes")])
    try:
        document = tomllib.loads(text, parse_float=_decimal)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        line = int(found.group(1)) if found else text.count("\n") + 1
        raise CardError([Mistake(line, f"not TOML: {error}")]) from None
    reader = _Reader(text)
    meters = reader.meters(document)
    if reader.mistakes:
        raise CardError(reader.mistakes)
    return Card(tuple(meters), text)


class _Reader:
    """Collects meters and every mistake with its line."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        self.headers = [number for number, line in enumerate(self.lines) if _HEADER.match(line)]
        self.mistakes: list[Mistake] = []

    def meters(self, document: Mapping[str, object]) -> Iterator[Meter] | list[Meter]:
        for key in document.keys() - {"meters"}:
            self.wrong(None, key, f"unknown key {key!r}; a card has only [[meters]]")
        tables = document.get("meters")
        if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
            self.wrong(None, "meters", "a card needs at least one [[meters]] table")
            return []
        if len(tables) > METERS_MAX:
            self.wrong(METERS_MAX, "name", f"more than {METERS_MAX} meters")
            return []
        meters = [meter for index, table in enumerate(tables) if (meter := self.meter(index, table))]
        self.check_names(meters)
        return meters

    def meter(self, index: int, table: Mapping[str, object]) -> Meter | None:
        before = len(self.mistakes)
        for key in table.keys() - _METER_KEYS:
            self.wrong(index, key, f"unknown key {key!r}; a meter has {', '.join(sorted(_METER_KEYS))}")
        name = self.text(index, table, "name")
        kind = self.text(index, table, "type")
        value = self.text(index, table, "value")
        models = self.texts(index, table, "models")
        contains = self.texts(index, table, "contains")
        if value in contains:
            self.wrong(index, "contains", f"contains lists {value!r}, the meter's own value; list only the fields that are part of it")
        stand_in = self.stand_in(index, table.get("stand_in"))
        rates = self.rates(index, table.get("rates"))
        if len(self.mistakes) > before:
            return None
        return Meter(name, kind, value, models, contains, stand_in, rates)

    def text(self, index: int, table: Mapping[str, object], key: str) -> str:
        found = table.get(key)
        if isinstance(found, str) and 0 < len(found) <= 256:
            return found
        self.wrong(index, key, f'{key} must be a text of 1 to 256 characters, such as {key} = "{_EXAMPLES[key]}"')
        return ""

    def texts(self, index: int, table: Mapping[str, object], key: str) -> tuple[str, ...]:
        found = table.get(key, [])
        listed = [found] if isinstance(found, str) else found
        if isinstance(listed, list) and len(listed) <= 100 and all(isinstance(t, str) and t for t in listed):
            return tuple(listed)
        self.wrong(index, key, f"{key} must be a list of at most 100 texts")
        return ()

    def stand_in(self, index: int, found: object) -> StandIn | None:
        if found is None:
            return None
        if isinstance(found, dict) and isinstance(found.get("value"), str) and found.keys() <= {"value", "factor"}:
            factor = self.exact(index, "stand_in", found.get("factor", 1))
            return StandIn(found["value"], factor) if factor else None
        self.wrong(index, "stand_in", 'stand_in must read { value = "requests", factor = "1/5" }')
        return None

    def rates(self, index: int, found: object) -> tuple[Rate, ...]:
        if not isinstance(found, list) or not 0 < len(found) <= RATES_MAX or not all(isinstance(r, dict) for r in found):
            self.wrong(index, "rates", "rates must list what a credit buys: rates = [{ per_credit = 600 }]")
            return ()
        rates = [rate for entry in found if (rate := self.rate(index, entry))]
        starts = [rate.from_us for rate in rates]
        if len(set(starts)) < len(starts):
            self.wrong(index, "rates", "two rates begin on the same date; keep one of them")
        return tuple(sorted(rates, key=lambda rate: rate.from_us))

    def rate(self, index: int, entry: Mapping[str, object]) -> Rate | None:
        for key in entry.keys() - {"per_credit", "from"}:
            self.wrong(index, "rates", f"unknown key {key!r}; a rate has per_credit and from")
        per_credit = self.exact(index, "rates", entry.get("per_credit"))
        begins = entry.get("from")
        if begins is not None and (not isinstance(begins, date) or isinstance(begins, datetime)):
            self.wrong(index, "rates", "from must be a date such as from = 2026-01-01 (midnight UTC)")
            return None
        from_us = days.instant_us(datetime(begins.year, begins.month, begins.day, tzinfo=UTC)) if begins else 0
        return Rate(from_us, per_credit) if per_credit else None

    def exact(self, index: int, key: str, found: object) -> Fraction | None:
        """A positive exact number: an integer, a decimal, or a text such as "0.2" or "1/5"."""
        try:
            if isinstance(found, bool) or not isinstance(found, int | Decimal | str):
                raise ValueError
            number = _fraction(str(found))
            if not 0 < number <= _NUMBER_MAX or number.denominator > _NUMBER_MAX:
                raise ValueError
        except (ValueError, ZeroDivisionError):
            field = "factor" if key == "stand_in" else "per_credit"
            self.wrong(index, key, f'{field} must be a positive number such as 600, 0.2 or "1/3", not {found!r}')
            return None
        return number

    def check_names(self, meters: list[Meter]) -> None:
        seen: set[str] = set()
        for index, meter in enumerate(meters):
            if meter.name in seen:
                self.wrong(index, "name", f"the name {meter.name!r} is used twice; meters need different names")
            seen.add(meter.name)

    def wrong(self, index: int | None, key: str, message: str) -> None:
        where = f"meter {index + 1}: " if index is not None else ""
        self.mistakes.append(Mistake(self.line_of(index, key), where + message))

    def line_of(self, index: int | None, key: str) -> int:
        """The line of a key in the index-th meter, the meter's first line where the key is missing."""
        if index is None or index >= len(self.headers):
            first, last = 0, len(self.lines)
        else:
            first = self.headers[index]
            last = self.headers[index + 1] if index + 1 < len(self.headers) else len(self.lines)
        pattern = re.compile(rf"^\s*[\"']?{re.escape(key)}[\"']?\s*=|^\s*\[+\s*{re.escape(key)}\s*\]+")
        for number in range(first, last):
            if pattern.match(self.lines[number]):
                return number + 1
        return first + 1


def _fraction(text: str) -> Fraction:
    """A decimal or a fraction of two; its size is looked at before it is worked out, which could take for ever."""
    parts = [_decimal(part.strip()) for part in text.split("/")]
    if len(text) > _NUMBER_CHARACTERS_MAX or len(parts) > 2 or not all(p.is_finite() and abs(p.adjusted()) <= 30 for p in parts):
        raise ValueError
    whole, *divisor = (Fraction(part) for part in parts)
    return whole / divisor[0] if divisor else whole


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("NaN")


_EXAMPLES = {"name": "conversations", "type": "ai.usage.recorded", "value": "conversations"}
