"""The pure rules of limits: what fits, what is left, which limit counts, and amounts that are read and written to the last decimal."""

from datetime import date
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tallyboard import credits
from tallyboard.credits import UNITS_PER_CREDIT
from tallyboard.errors import Invalid
from tallyboard.policy.limits import (
    LIMIT_UNITS_MAX,
    Origin,
    Override,
    Standing,
    allowance,
    limit_of,
    limit_text,
    parse_limit,
    read_limit,
    read_units,
)

many = settings(max_examples=300, derandomize=True, deadline=None)
UNITS = st.one_of(st.integers(0, 20), st.integers(0, LIMIT_UNITS_MAX), st.integers(LIMIT_UNITS_MAX - 20, LIMIT_UNITS_MAX))
USED = st.one_of(UNITS, st.integers(-20, 0), st.integers(-LIMIT_UNITS_MAX, LIMIT_UNITS_MAX))
"""Corrections may take more away than there was."""
LIMITS = st.one_of(st.none(), UNITS)
INSTANTS = st.integers(0, 2**53)


def standing(limit: int | None, used: int = 0, held: int = 0, origin: Origin = Origin.DEFAULT, **more: Any) -> Standing:
    values = {"user": "bob", "account": "Northwind", "timezone": "UTC", "day": date(2026, 11, 22), "resets_us": 10, **more}
    return Standing(limit=limit, origin=origin, used=used, held=held, **{"read_us": 0, "good_until_us": 10, **values})


@many
@given(LIMITS, USED, UNITS, UNITS)
@example(0, 0, 0, 0)
@example(10, 10, 0, 0)
def test_a_hold_fits_exactly_where_it_does_not_carry_the_user_beyond_the_limit(
    limit: int | None, used: int, held: int, estimate: int
) -> None:
    now = standing(limit, used, held)
    assert now.fits(estimate) == (limit is None or not used + held + estimate > limit)


@many
@given(LIMITS, USED, UNITS)
def test_what_is_left_fits_and_a_unit_more_does_not(limit: int | None, used: int, held: int) -> None:
    now = standing(limit, used, held)
    if limit is None:
        assert now.remaining is None
        assert now.fits(LIMIT_UNITS_MAX)
        assert now.may_go_on
        return
    assert now.remaining is not None
    assert now.remaining >= 0
    assert now.fits(now.remaining) == (used + held <= limit)
    assert not now.fits(now.remaining + 1)
    assert now.may_go_on == (now.remaining > 0) == now.fits(1)


@many
@given(UNITS, st.lists(st.tuples(UNITS, UNITS)))
def test_holds_granted_one_after_the_other_and_settled_for_no_more_never_exceed_the_limit(limit: int, asked: list[tuple[int, int]]) -> None:
    used = held = 0
    for estimate, really in asked:
        if standing(limit, used, held).fits(estimate):
            held += estimate
            assert used + held <= limit
            if really <= estimate:
                used, held = used + really, held - estimate
        assert used + held <= limit


@many
@given(LIMITS, LIMITS, st.one_of(st.none(), INSTANTS), INSTANTS)
def test_an_override_beats_the_default_until_the_instant_it_expires(
    default: int | None, own: int | None, expires: int | None, now: int
) -> None:
    expected = (own, Origin.OVERRIDE) if expires is None or now < expires else (default, Origin.DEFAULT)
    assert limit_of(default, Override(own, expires), now) == expected
    assert limit_of(default, None, now) == (default, Origin.DEFAULT)


@many
@given(INSTANTS, UNITS, LIMITS)
def test_an_override_counts_to_the_last_microsecond_and_not_at_its_expiry(expires: int, own: int, default: int | None) -> None:
    assume(own != default)
    override = Override(own, expires)
    assert [limit_of(default, override, expires + near)[0] for near in (-1, 0, 1)] == [own, default, default]


@many
@given(LIMITS, USED, UNITS)
def test_an_allowance_tells_the_standing_to_the_unit(limit: int | None, used: int, held: int) -> None:
    told = allowance(standing(limit, used, held, resets_us=1_763_787_600_000_000))
    assert (told.used.units, told.held.units) == (used, held)
    if limit is None:
        assert (told.limit, told.remaining) == (None, None)
    else:
        assert told.limit is not None
        assert told.remaining is not None
        assert (told.limit.units, told.remaining.units) == (limit, max(limit - used - held, 0))
    assert (told.user, told.day, told.resets_at) == ("bob", "2026-11-22", "2025-11-22T05:00:00.000Z")


HUNDRED_MILLIONTHS = st.one_of(st.integers(0, 200), st.integers(0, LIMIT_UNITS_MAX // 6))
"""Amounts of eight decimals: six units each."""


def text_of(hundred_millionths: int) -> str:
    with localcontext(prec=60):
        return f"{Decimal(hundred_millionths).scaleb(-8):f}"


@many
@given(HUNDRED_MILLIONTHS, st.sampled_from(["", " ", "\t"]), st.booleans())
def test_a_limit_of_eight_decimals_is_read_to_the_unit_and_written_as_it_was(amount: int, space: str, grouped: bool) -> None:
    text = text_of(amount)
    with localcontext(prec=60):
        written = f"{Decimal(text):,f}" if grouped else text
    units = parse_limit(f"{space}{written}{space}")
    assert units == amount * 6
    assert Fraction(units, UNITS_PER_CREDIT) == Fraction(text)
    assert parse_limit(limit_text(units)) == units
    assert Fraction(limit_text(units).replace(",", "")) == Fraction(text)


@many
@given(st.one_of(st.integers(-LIMIT_UNITS_MAX, LIMIT_UNITS_MAX), st.integers(-(10**4), 10**4)))
def test_credits_written_to_the_last_of_eight_decimals_are_the_nearest_there_are(units: int) -> None:
    text = credits.exact(units)
    assert abs(Fraction(text.replace(",", "")) - Fraction(units, UNITS_PER_CREDIT)) <= Fraction(1, 2 * 10**8)
    if units % 6 == 0:
        assert Fraction(text.replace(",", "")) * UNITS_PER_CREDIT == units
    whole, _, decimals = text.removeprefix("-").partition(".")
    assert len(decimals) <= 8
    assert not decimals.endswith("0")
    assert not text.endswith(".")
    assert whole == f"{int(whole.replace(',', '')):,}"


@pytest.mark.parametrize(
    ("units", "text"),
    [
        (0, "0"),
        (6, "0.00000001"),
        (300_000_000, "0.5"),
        (600_000_000, "1"),
        (6_000_000_000, "10"),
        (60_000_000_000, "100"),
        (2_400_000_000_000, "4,000"),
        (LIMIT_UNITS_MAX, "15,372,286,728.09129301"),
        (None, "Unlimited"),
    ],
)
def test_limits_as_people_see_them(units: int | None, text: str) -> None:
    assert limit_text(units) == text


@pytest.mark.parametrize("text", ["unlimited", " Unlimited ", "UNLIMITED"])
def test_unlimited_is_a_word(text: str) -> None:
    assert parse_limit(text) is None


@pytest.mark.parametrize("text", ["-1", "-0.00000001", "", "none", "NaN", "inf", "1e12", "0.000000001", "15372286729", "1 2", "0x1", "½"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="limit: "):
        parse_limit(text)


@pytest.mark.parametrize("text", ["1,5", "0,25", "1,00", "1,0000", ",500", "1,,000", "1.000,5", "12,34,567", "1,000,", "1.5,000"])
def test_a_comma_that_groups_no_thousands_is_no_limit(text: str) -> None:
    """Half the world writes one and a half as 1,5: read as fifteen it would be a limit nobody meant."""
    with pytest.raises(Invalid, match="decimals follow a point"):
        parse_limit(text)


@many
@given(HUNDRED_MILLIONTHS)
def test_json_says_an_amount_as_text_number_or_units_and_means_the_same(amount: int) -> None:
    text = text_of(amount)
    units = amount * 6
    for shape in ({"credits": text}, {"credits": Decimal(text)}, {"units": units}, {"credits": text, "units": units}):
        assert read_units(shape, "a hold") == read_limit(shape, "limit") == units
    if amount % 10**8 == 0:
        assert read_units({"credits": amount // 10**8}, "a hold") == units


@many
@given(st.integers(1, 10**15), st.integers(-5, 5).filter(bool))
def test_json_that_says_two_amounts_is_refused(amount: int, off: int) -> None:
    with pytest.raises(Invalid, match="once"):
        read_units({"credits": text_of(amount), "units": amount * 6 + off}, "a hold")


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"units": None},
        {"units": True},
        {"units": -1},
        {"units": 1.5},
        {"units": "1"},
        {"units": LIMIT_UNITS_MAX + 1},
        {"units": Decimal(1)},
        {"credits": True},
        {"credits": 0.5},
        {"credits": []},
        {"credits": {"units": 1}},
        {"credits": "-0.5"},
        {"credits": Decimal(-1)},
        {"credits": Decimal("1E+400")},
        {"credits": "0.000000001"},
        {"credits": Decimal("1E-999999999")},
        {"credits": 10**5_000},
        {"credits": "ten"},
        {"credits": ""},
    ],
)
def test_json_that_is_no_amount_is_refused(shape: dict[str, object]) -> None:
    with pytest.raises(Invalid, match=r"^a hold: "):
        read_units(shape, "a hold")


@pytest.mark.parametrize("shape", [0, "1", [], {}, {"credit": "1"}, True])
def test_a_limit_is_null_or_an_object(shape: object) -> None:
    with pytest.raises(Invalid, match="must be null"):
        read_limit(shape, "default_limit")


def test_no_limit_is_null() -> None:
    assert read_limit(None, "default_limit") is None
