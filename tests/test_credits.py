"""Credits are whole units from end to end; they are rounded once, half to even, and then only to be shown."""

import subprocess
import sys
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallyboard.credits import UNITS_PER_CREDIT, credits_text, parse_credits, shown, whole_units

AMOUNTS = st.one_of(st.integers(-(10**6), 10**6), st.integers(-(2**63), 2**63), st.integers(-(10**30), 10**30))
many = settings(max_examples=400, derandomize=True, deadline=None)


def half_even(exact: Fraction) -> int:
    """Rounding as it is defined, without help from the library."""
    floor = exact.numerator // exact.denominator
    rest = exact - floor
    return floor + (rest > Fraction(1, 2) or (rest == Fraction(1, 2) and floor % 2))


@many
@given(st.fractions(max_denominator=1_000))
def test_an_exact_amount_becomes_the_nearest_unit(exact: Fraction) -> None:
    assert whole_units(exact) == half_even(exact)


@pytest.mark.parametrize(("exact", "units"), [("1/2", 0), ("3/2", 2), ("5/2", 2), ("-1/2", 0), ("-3/2", -2), ("7/3", 2), ("8/3", 3)])
def test_halves_go_to_the_even_unit(exact: str, units: int) -> None:
    assert whole_units(Fraction(exact)) == units


@many
@given(AMOUNTS)
def test_json_has_six_decimals_of_the_nearest_value(units: int) -> None:
    text = credits_text(units)
    assert Fraction(text) == Fraction(half_even(Fraction(units * 10**6, UNITS_PER_CREDIT)), 10**6)
    whole, _, decimals = text.partition(".")
    assert len(decimals) == 6
    assert whole.removeprefix("-").isdecimal()
    assert text != "-0.000000"


@many
@given(AMOUNTS)
def test_people_see_two_decimals_below_a_thousand_and_grouped_numbers_above(units: int) -> None:
    text = shown(units)
    sign, size = ("-" if units < 0 else ""), abs(units)
    if size == 0:
        assert text == "0"
    elif size * 100 < UNITS_PER_CREDIT:
        assert text == (">-0.01" if sign else "<0.01")
    else:
        hundredths = half_even(Fraction(size * 100, UNITS_PER_CREDIT))
        whole = half_even(Fraction(size, UNITS_PER_CREDIT))
        assert text == sign + (f"{hundredths // 100}.{hundredths % 100:02}" if hundredths < 100_000 else f"{whole:,}")


@pytest.mark.parametrize(
    ("units", "text"),
    [
        (0, "0"),
        (1, "<0.01"),
        (5_999_999, "<0.01"),
        (6_000_000, "0.01"),
        (550_000_000, "0.92"),
        (75_000_000, "0.12"),
        (81_000_000, "0.14"),
        (-550_000_000, "-0.92"),
        (-1, ">-0.01"),
        (599_996_999_999, "999.99"),
        (599_997_000_000, "1,000"),
        (600_000_000_000, "1,000"),
        (48_512 * UNITS_PER_CREDIT, "48,512"),
        (1_000_500_000_000_000, "1,667,500"),
        (2**63 * 1_000, "15,372,286,728,091"),
    ],
)
def test_figures_as_the_page_shows_them(units: int, text: str) -> None:
    assert shown(units) == text


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("0", 0),
        ("10", 6_000_000_000),
        ("0.5", 300_000_000),
        (" 1.00000001 ", 600_000_006),
        ("1_000", 600_000_000_000),
        ("-2.5", -1_500_000_000),
        ("1e3", 600_000_000_000),
    ],
)
def test_credit_figures_are_read_exactly(text: str, units: int) -> None:
    assert parse_credits(text) == units


@many
@given(st.integers(0, 15 * 10**17))
def test_every_figure_of_eight_decimals_comes_back_as_it_was(hundred_millionths: int) -> None:
    with localcontext(prec=60):
        text = str(Decimal(hundred_millionths).scaleb(-8))
    assert Fraction(parse_credits(text), UNITS_PER_CREDIT) == Fraction(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ten",
        "1,5",
        "NaN",
        "Infinity",
        "1e400",
        "-1e400",
        "0.000000001",
        "1.123456789",
        "1e-9",
        "20000000000",
        "15372286729",
        "0x10",
        "1 2",
    ],
)
def test_what_is_no_credit_figure_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"credits|decimals"):
        parse_credits(text)


def test_a_tiny_exponent_is_refused_in_no_time() -> None:
    """In a process of its own, because it may need all memory and all day."""
    program = "from tallyboard.credits import parse_credits\nparse_credits('1e-999999999')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=8, check=False)
    assert b"ValueError" in done.stderr


@many
@given(st.lists(AMOUNTS))
def test_amounts_add_up_before_they_are_rounded(amounts: list[int]) -> None:
    """The text of a sum is the rounded sum, whatever the texts of its parts are."""
    exact = sum(amounts)
    with localcontext(prec=80):
        expected = (Decimal(exact) / UNITS_PER_CREDIT).quantize(Decimal("0.000001"), rounding=ROUND_HALF_EVEN)
    assert Decimal(credits_text(exact)) == expected
