"""An event is charged exactly: every quantity times the rate in force at its time, summed, rounded once."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from importlib import resources
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallyboard import days
from tallyboard.credits import UNITS_PER_CREDIT
from tallyboard.rates import card
from tallyboard.rates.charge import BadQuantity, Charge, Charger

TYPE = "ai.usage.recorded"
DEFAULT = Charger(card.read(card.default_text()))
TOKENS = Charger(card.read(resources.files("tallyboard.rates").joinpath("tokens.toml").read_text("utf-8")))
AT_US = days.instant_us(datetime(2026, 3, 1, tzinfo=UTC))
JULY_US = days.instant_us(datetime(2026, 7, 1, tzinfo=UTC))
many = settings(max_examples=300, derandomize=True, deadline=None)

QUANTITIES = st.one_of(st.integers(0, 10**6), st.decimals(0, 10**6, places=2), st.decimals(0, 1000, places=9))
PER_CREDIT = st.one_of(st.integers(1, 10**6), st.fractions(Fraction(1, 1_000), 10**6, max_denominator=1_000))


def charger(*meters: str) -> Charger:
    return Charger(card.read("\n".join(f"[[meters]]\n{meter}" for meter in meters)))


def meter(name: str, per_credit: object, value: str | None = None, more: str = "") -> str:
    return f'name = "{name}"\ntype = "{TYPE}"\nvalue = "{value or name}"\nrates = [{{ per_credit = "{per_credit}" }}]\n{more}\n'


def units(found: Charger, data: dict[str, object], model: str = "", at_us: int = AT_US) -> int:
    return found.charge(TYPE, model, data, at_us).units


@many
@given(st.lists(st.tuples(PER_CREDIT, st.none() | QUANTITIES), min_size=1, max_size=6))
def test_the_charge_is_the_exact_sum_rounded_once(pairs: list[tuple[Fraction | int, int | Decimal | None]]) -> None:
    found = charger(*(meter(f"m{index}", per_credit) for index, (per_credit, _) in enumerate(pairs)))
    data = {f"m{index}": quantity for index, (_, quantity) in enumerate(pairs) if quantity is not None}
    exact = sum((Fraction(quantity) * UNITS_PER_CREDIT / per_credit for per_credit, quantity in pairs if quantity is not None), Fraction(0))
    if abs(exact) > 10**9 * UNITS_PER_CREDIT:
        return
    assert found.charge(TYPE, "", data, AT_US) == Charge(round(exact), rated=bool(data), negative=False)


def test_two_halves_of_a_unit_make_one_and_not_none() -> None:
    found = charger(meter("a", 1_200_000_000), meter("b", 1_200_000_000))
    assert [units(found, data) for data in ({"a": 1}, {"a": 1, "b": 1}, {"a": 3}, {"a": 1, "b": 2})] == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("data", "charged"),
    [
        ({"conversations": 550}, 550_000_000),
        ({"conversations": 300, "email_messages": 500_000}, UNITS_PER_CREDIT),
        ({"conversations": Decimal("0.01")}, 10_000),
        ({"requests": 7}, 1_400_000),
        ({"requests": 7, "conversations": 0}, 0),
        ({"requests": 7, "conversations": Decimal("0.10")}, 100_000),
        ({"requests": 7, "conversations": None}, 1_400_000),
        ({"requests": Decimal("0.5")}, 100_000),
        ({"rfm_predictions": 1}, 6),
        ({"incoming_events": 15_000_000, "trigger_activations": 25_000_000}, 2 * UNITS_PER_CREDIT),
    ],
)
def test_the_default_card_charges_as_published(data: dict[str, object], charged: int) -> None:
    assert DEFAULT.charge(TYPE, "any", data, AT_US) == Charge(charged, rated=True, negative=False)


@pytest.mark.parametrize("order", [("requests", "conversations"), ("conversations", "requests")])
def test_a_stand_in_never_counts_beside_what_it_stands_for(order: tuple[str, str]) -> None:
    quantities = {"requests": 100, "conversations": 3}
    assert units(DEFAULT, {name: quantities[name] for name in order}) == 3_000_000


def test_what_no_meter_matches_is_unrated_and_not_silently_free() -> None:
    unrated = Charge(0, rated=False, negative=False)
    assert DEFAULT.charge("other.type", "", {"conversations": 5}, AT_US) == unrated
    assert DEFAULT.charge(TYPE, "", {}, AT_US) == unrated
    assert DEFAULT.charge(TYPE, "", {"tokens": 5, "model": "x"}, AT_US) == unrated
    assert charger(meter("a", 1, more='models = ["gpt-*"]')).charge(TYPE, "claude", {"a": 1}, AT_US) == unrated
    assert DEFAULT.charge(TYPE, "", {"conversations": 0}, AT_US) == Charge(0, rated=True, negative=False)


def test_a_rate_holds_from_its_day_on() -> None:
    data: dict[str, object] = {"input_tokens": 1_000}
    assert units(TOKENS, data, "gpt-5", JULY_US - 1) == 1_000 * 1_500
    assert units(TOKENS, data, "gpt-5", JULY_US) == 1_000 * 1_200
    later = charger(meter("a", 1).replace('"1" }', '"1", from = 2026-07-01 }'))
    assert later.charge(TYPE, "", {"a": 1}, JULY_US - 1) == Charge(0, rated=True, negative=False)
    assert units(later, {"a": 1}, at_us=JULY_US) == UNITS_PER_CREDIT


def test_the_first_meter_whose_glob_matches_charges_the_field() -> None:
    found = charger(
        meter("small", 100, "tokens", 'models = ["*mini*", "haiku-?"]'),
        meter("gpt", 10, "tokens", 'models = "gpt-[45]*"'),
        meter("rest", 1, "tokens"),
    )
    by_model = {"gpt-5-mini": 100, "haiku-3": 100, "haiku-35": 1, "gpt-5": 10, "gpt-3": 1, "GPT-5": 1, "": 1}
    assert {model: UNITS_PER_CREDIT // units(found, {"tokens": 1}, model) for model in by_model} == by_model


def test_what_a_field_contains_is_taken_out_before_its_rate() -> None:
    data: dict[str, object] = {"input_tokens": 1_000, "cache_read_tokens": 700, "cache_write_tokens": 100, "output_tokens": 10}
    assert units(TOKENS, data, "gpt-5") == 200 * 1_500 + 700 * 150 + 100 * 1_800 + 10 * 7_500
    assert units(TOKENS, {"input_tokens": 5}, "gpt-5-mini") == 5 * 150
    assert units(TOKENS, {"input_tokens": 5, "cache_read_tokens": None}, "gpt-5-mini") == 5 * 150
    with pytest.raises(BadQuantity, match=r"data.input_tokens is less than what it contains: data.cache_read_tokens"):
        units(TOKENS, {"input_tokens": 5, "cache_read_tokens": 6}, "gpt-5")


def test_negative_quantities_are_marked_also_where_the_sum_is_not() -> None:
    assert DEFAULT.charge(TYPE, "", {"conversations": -2}, AT_US) == Charge(-2_000_000, rated=True, negative=True)
    assert DEFAULT.charge(TYPE, "", {"conversations": -1, "email_messages": 10**6}, AT_US).negative
    assert DEFAULT.charge(TYPE, "", {"conversations": Decimal("-0.00")}, AT_US) == Charge(0, rated=True, negative=False)
    assert not DEFAULT.charge(TYPE, "", {"conversations": 1, "temperature": -1}, AT_US).negative


@pytest.mark.parametrize(
    "quantity",
    [
        "5",
        True,
        False,
        [1],
        {"value": 1},
        10**15 + 1,
        -(10**15) - 1,
        Decimal("1e16"),
        Decimal("1e400"),
        Decimal("1e-10"),
        Decimal("0.1234567891"),
        Decimal("Infinity"),
    ],
)
def test_a_metered_field_that_is_no_usable_number_is_named(quantity: object) -> None:
    with pytest.raises(BadQuantity, match=r"data\.conversations"):
        units(DEFAULT, {"conversations": quantity})
    assert units(DEFAULT, {"requests": 5, "not_metered": quantity}) == 1_000_000


def test_one_event_cannot_cost_more_than_a_billion_credits() -> None:
    assert units(DEFAULT, {"conversations": 600 * 10**9}) == 10**9 * UNITS_PER_CREDIT
    with pytest.raises(BadQuantity, match="1,000,000,000 credits"):
        units(DEFAULT, {"conversations": 600 * 10**9 + 1})


def test_what_is_remembered_of_models_changes_no_charge() -> None:
    """More models than are remembered."""
    chance = Random(2)
    found = charger(meter("small", 100, "tokens", 'models = ["*-mini"]'), meter("rest", 1, "tokens"))
    for _ in range(12_000):
        model = f"model-{chance.randrange(10**6)}{chance.choice(('', '-mini'))}"
        assert units(found, {"tokens": 1}, model) == UNITS_PER_CREDIT // (100 if model.endswith("-mini") else 1)
