"""Credits: an exact amount of usage, kept as a whole number of units, and how it is written.

One credit is 600,000,000 units (a unit is a millionth of a conversation; 600 conversations are one
credit). No float is used anywhere: amounts are Python integers from intake to page.
"""

from decimal import Decimal, InvalidOperation, localcontext
from fractions import Fraction

UNITS_PER_CREDIT = 600_000_000
CELL_UNITS_MAX = 2**63 - 1
"""What one cell of the ledger holds: 15 billion credits."""
_TRACE = UNITS_PER_CREDIT // 100


def whole_units(exact: Fraction) -> int:
    """Round an exact number of units to a whole one, half to even: the only rounding of an amount."""
    return round(exact)


def credits_text(units: int) -> str:
    """Write units as credits with six decimals, half to even: the form of JSON and CSV."""
    return _rounded(units, 6)


def shown(units: int) -> str:
    """Write units as credits for a person: `0.92`, `48,512`, `<0.01`, `0`."""
    if units == 0:
        return "0"
    size = abs(units)
    sign = "-" if units < 0 else ""
    if size < _TRACE:
        return ">-0.01" if sign else "<0.01"
    if size < 1000 * UNITS_PER_CREDIT:
        text = _rounded(size, 2)
        if text != "1000.00":
            return sign + text
    return f"{sign}{int(_rounded(size, 0)):,}"


def exact(units: int) -> str:
    """Write units as credits to the last of eight decimals, for a limit somebody set: `0.5`, `4,000`, `0.00000001`."""
    with localcontext(prec=60):
        text = f"{Decimal(units) / UNITS_PER_CREDIT:,.8f}"
    return text.rstrip("0").rstrip(".")


def parse_credits(text: str) -> int:
    """Read a credit figure with up to eight decimals as units; ValueError says what is wrong."""
    try:
        number = Decimal(text.strip().replace("_", ""))
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number of credits") from None
    if not number.is_finite() or number.adjusted() > 10:
        raise ValueError(f"{text!r} is not a number of credits below 15 billion")
    if number and (number.adjusted() < -8 or int(number.normalize().as_tuple().exponent) < -8):
        raise ValueError(f"{text!r} has more than eight decimals")
    units = whole_units(Fraction(number) * UNITS_PER_CREDIT)
    if abs(units) > CELL_UNITS_MAX:
        raise ValueError(f"{text!r} is not a number of credits below 15 billion")
    return units


def _rounded(units: int, places: int) -> str:
    """Half to even, in integers: a credit is a whole number of units at every place written."""
    step = UNITS_PER_CREDIT // 10**places
    whole, rest = divmod(abs(units), step)
    whole += 2 * rest > step or (2 * rest == step and whole % 2)
    sign = "-" if units < 0 and whole else ""
    return f"{sign}{whole // 10**places}.{whole % 10**places:0{places}}" if places else f"{sign}{whole}"
