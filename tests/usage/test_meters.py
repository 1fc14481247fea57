"""Meters by names that OpenMeter allows, and quantities written without a loss."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tallyboard.rates import card
from tallyboard.rates.charge import Charger
from tallyboard.usage.meters import number, slugs

METER = '[[meters]]\nname = "{}"\ntype = "t"\nvalue = "{}"\nrates = [{{ per_credit = 1 }}]\n'


def test_slugs_are_letters_digits_and_underscores_and_no_two_are_the_same() -> None:
    names = ["input, small models", "Input (small) Models", "credits", "units", "€", "¥", "input_small_models_2"]
    read = card.read("".join(METER.format(name, index) for index, name in enumerate(names)))
    assert list(slugs(read)) == [
        "input_small_models",
        "input_small_models_2",
        "credits_2",
        "units_2",
        "meter",
        "meter_2",
        "input_small_models_2_2",
    ]
    assert [meter.name for meter in slugs(read).values()] == names


@given(st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**15), max_value=10**15))
def test_what_can_be_written_with_nine_decimals_is_written_exactly(quantity: Decimal) -> None:
    assert Fraction(number(Fraction(quantity))) == Fraction(quantity)


@given(st.fractions(min_value=-(10**15), max_value=10**15))
def test_what_cannot_be_written_is_at_most_half_of_the_last_decimal_off(quantity: Fraction) -> None:
    assert abs(Fraction(number(quantity)) - quantity) * 10**15 <= Fraction(1, 2)


def test_each_meter_counts_what_it_charges() -> None:
    tokens = """
        [[meters]]
        name = "small"
        type = "t"
        value = "input_tokens"
        contains = ["cache_read_tokens"]
        models = ["*mini*"]
        rates = [{ per_credit = 600 }]
        [[meters]]
        name = "all"
        type = "t"
        value = "input_tokens"
        stand_in = { value = "requests", factor = "1/3" }
        rates = [{ per_credit = 600 }]
    """
    charger = Charger(card.read(tokens))
    said = {"input_tokens": 100, "cache_read_tokens": 40, "requests": 2}
    assert charger.quantities("t", "gpt-mini", said) == {"small": 60}
    assert charger.quantities("t", "gpt", said) == {"all": 100}
    assert charger.quantities("t", "gpt", {"requests": 2}) == {"all": Fraction(2, 3)}
    assert charger.quantities("other", "gpt", said) == {}
