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
        self._applicable: dict[tuple[str, str], dict[str, list[_Term]]] = {}

    def charge(self, type: str, model: str, data: Mapping[str, object], at_us: int) -> Charge:
        """The charge of an event; BadQuantity where a metered field is no usable number."""
        terms = self._terms(type, model)
        whole = 0
        exact: Fraction | None = None
        rated = negative = False
        for field in data:
            if field not in terms:
                continue
            for term in terms[field]:
                quantity = term.quantity(data)
                if quantity is None:
                    continue
                rated = True
                negative = negative or quantity < 0
                amount = quantity * term.units_at(at_us)
                if isinstance(amount, int):
                    whole += amount
                else:
                    exact = amount if exact is None else exact + amount
        units = whole if exact is None else whole_units(whole + exact)
        if abs(units) > UNITS_MAX:
            raise BadQuantity("the event would be charged more than 1,000,000,000 credits")
        return Charge(units, rated, negative) if rated else _UNRATED

    def quantities(self, type: str, model: str, data: Mapping[str, object]) -> dict[str, int | Fraction]:
        """What each meter counts of an event, by the meter's name; BadQuantity where a metered field is no usable number."""
        found: dict[str, int | Fraction] = {}
        terms = self._terms(type, model)
        for field in data:
            for term in terms.get(field, ()):
                quantity = term.quantity(data)
                if quantity is not None:
                    found[term.meter] = found.get(term.meter, 0) + quantity * term.factor
        return found

    def _terms(self, type: str, model: str) -> dict[str, list["_Term"]]:
        if type not in self._types:
            return {}
        found = self._applicable.get((type, model))
        if found is None:
            if len(self._applicable) >= _MODELS_REMEMBERED_MAX:
                self._applicable.clear()
            found = self._applicable[type, model] = _terms(self.card, type, model)
        return found


class _Term:
    """A field of `data` that a meter counts. Whole units per quantity stay integers, so most charges are one multiplication."""

    __slots__ = ("_contains", "_field", "_rates", "_unless", "factor", "meter")

    def __init__(self, meter: Meter, field: str, factor: Fraction, unless: str | None) -> None:
        self.meter = meter.name
        self.factor = _whole_if_possible(factor)
        self._field = field
        self._unless = unless
        self._contains = meter.contains if unless is None else ()
        self._rates = [(rate.from_us, _whole_if_possible(rate.units * factor)) for rate in reversed(meter.rates)]

    def units_at(self, at_us: int) -> int | Fraction:
        """Units for a quantity of one at an instant; 0 before the first rate."""
        for from_us, units in self._rates:
            if at_us >= from_us:
                return units
        return 0

    def quantity(self, data: Mapping[str, object]) -> int | Fraction | None:
        """What the field states, less what it contains; None where another field speaks in its stead."""
        if self._unless is not None and data.get(self._unless) is not None:
            return None
        stated = _number(data, self._field)
        if stated is None or not self._contains:
            return stated
        rest = stated
        for field in self._contains:
            rest -= _number(data, field) or 0
        if rest < 0 <= stated:
            contained = " + ".join(f"data.{field}" for field in self._contains)
            raise BadQuantity(f"data.{self._field} is less than what it contains: {contained}")
        return rest


def _terms(card: Card, type: str, model: str) -> dict[str, list[_Term]]:
    """By field, the terms that apply to events of a type and model: of each value, the first meter of the card."""
    terms: dict[str, list[_Term]] = {}
    charged: set[str] = set()
    for meter in card.meters:
        matches = not meter.models or any(fnmatchcase(model, glob) for glob in meter.models)
        if meter.type != type or not matches or meter.value in charged:
            continue
        charged.add(meter.value)
        terms.setdefault(meter.value, []).append(_Term(meter, meter.value, Fraction(1), None))
        if meter.stand_in:
            terms.setdefault(meter.stand_in.value, []).append(_Term(meter, meter.stand_in.value, meter.stand_in.factor, meter.value))
    return terms


def _number(data: Mapping[str, object], field: str) -> int | Fraction | None:
    found = data.get(field)
    if found is None:
        return None
    if type(found) is int:
        if -QUANTITY_MAX <= found <= QUANTITY_MAX:
            return found
        raise BadQuantity(f"data.{field} is beyond {QUANTITY_MAX:,}")
    if not isinstance(found, Decimal) or not found.is_finite():
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
