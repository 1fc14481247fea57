"""What one event is charged: its quantities times the rates in force at its time, exact, rounded once.

Several meters of one event add up. For one field of `data`, the first meter of the card whose
models match charges it, so a card may list special models before a rule for all.
"""

from collections.abc import Mapping
from decimal import Decimal
from fnmatch import fnmatchcase
from fractions import Fraction

from msgspec import Struct

from tallyboard.credits import UNITS_PER_CREDIT, whole_units
from tallyboard.rates.card import Card, Meter

UNITS_MAX = 1_000_000_000 * UNITS_PER_CREDIT
"""The most one event may be charged: a billion credits."""

QUANTITY_MAX = 10**15
QUANTITY_PLACES_MAX = 9
_MODELS_REMEMBERED_MAX = 10_000


class Charge(Struct, frozen=True, gc=False):
    """Units charged. `rated` is false where no meter matched, `negative` where a quantity is below zero."""

    units: int
    rated: bool
    negative: bool


class BadQuantity(ValueError):
    """A metered field that is not a number within bounds; the text names the field."""


class Charger:
    """Charges events by one card. Remembers, for each type and model seen, which meters apply."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self._types = {meter.type for meter in card.meters}
        self._applicable: dict[tuple[str, str], tuple[_Applied, ...]] = {}

    def charge(self, type: str, model: str, data: Mapping[str, object], at_us: int) -> Charge:
        """The charge of an event; BadQuantity where a metered field is no usable number."""
        if type not in self._types:
            return _UNRATED
        whole = 0
        exact: Fraction | None = None
        rated = negative = False
        for applied in self._meters(type, model):
            quantity = applied.quantity(data)
            if quantity is None:
                continue
            rated = True
            negative = negative or quantity < 0
            amount = quantity * applied.units_at(at_us)
            if isinstance(amount, int):
                whole += amount
            else:
                exact = amount if exact is None else exact + amount
        units = whole if exact is None else whole_units(whole + exact)
        if abs(units) > UNITS_MAX:
            raise BadQuantity("the event would be charged more than 1,000,000,000 credits")
        return Charge(units, rated, negative) if rated else _UNRATED

    def _meters(self, type: str, model: str) -> tuple["_Applied", ...]:
        found = self._applicable.get((type, model))
        if found is None:
            if len(self._applicable) >= _MODELS_REMEMBERED_MAX:
                self._applicable.clear()
            found = self._applicable[type, model] = _applicable(self.card, type, model)
        return found


class _Applied:
    """A meter made ready: whole units per quantity stay integers, so most charges are one multiplication."""

    __slots__ = ("_contains", "_rates", "_stand_in", "_value")

    def __init__(self, meter: Meter) -> None:
        self._value = meter.value
        self._contains = meter.contains
        self._stand_in = meter.stand_in
        self._rates = [(rate.from_us, _whole_if_possible(rate.units)) for rate in reversed(meter.rates)]

    def units_at(self, at_us: int) -> int | Fraction:
        """Units for a quantity of one at an instant; 0 before the first rate."""
        for from_us, units in self._rates:
            if at_us >= from_us:
                return units
        return 0

    def quantity(self, data: Mapping[str, object]) -> int | Fraction | None:
        stated = _number(data, self._value)
        if stated is None:
            if self._stand_in is None:
                return None
            stood_in = _number(data, self._stand_in.value)
            return None if stood_in is None else _whole_if_possible(stood_in * self._stand_in.factor)
        rest = stated
        for field in self._contains:
            rest -= _number(data, field) or 0
        if rest < 0 <= stated:
            contained = " + ".join(f"data.{field}" for field in self._contains)
            raise BadQuantity(f"data.{self._value} is less than what it contains: {contained}")
        return rest


def _applicable(card: Card, type: str, model: str) -> tuple[_Applied, ...]:
    by_value: dict[str, _Applied] = {}
    for meter in card.meters:
        matches = not meter.models or any(fnmatchcase(model, glob) for glob in meter.models)
        if meter.type == type and matches and meter.value not in by_value:
            by_value[meter.value] = _Applied(meter)
    return tuple(by_value.values())


def _number(data: Mapping[str, object], field: str) -> int | Fraction | None:
    found = data.get(field)
    if found is None:
        return None
    if type(found) is int:
        if -QUANTITY_MAX <= found <= QUANTITY_MAX:
            return found
        raise BadQuantity(f"data.{field} is beyond {QUANTITY_MAX:,}")
    if not isinstance(found, Decimal):
        raise BadQuantity(f"data.{field} must be a number")
    if found.is_zero():
        return 0
    if found.adjusted() > 15 or abs(found) > QUANTITY_MAX:
        raise BadQuantity(f"data.{field} is beyond {QUANTITY_MAX:,}")
    exponent = found.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent > QUANTITY_PLACES_MAX:
        raise BadQuantity(f"data.{field} has more than {QUANTITY_PLACES_MAX} decimals")
    return _whole_if_possible(Fraction(found))


def _whole_if_possible(number: int | Fraction) -> int | Fraction:
    return number.numerator if number.denominator == 1 else number


_UNRATED = Charge(0, rated=False, negative=False)
