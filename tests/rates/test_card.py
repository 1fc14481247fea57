"""A rate card that is read is right: every mistake is found, named with its line, and said how to mend."""

import subprocess
from datetime import UTC, datetime
from fractions import Fraction
from importlib import resources
from pathlib import Path

import pytest
from tests.program import PROGRAM, environment

from tallyboard import days
from tallyboard.credits import UNITS_PER_CREDIT
from tallyboard.rates import card
from tallyboard.rates.card import CardError

HEAD = '[[meters]]\nname = "a"\ntype = "t"\nvalue = "v"\n'
GOOD = HEAD + "rates = [{ per_credit = 600 }]\n"

PUBLISHED = {
    "conversations": 600,
    "real_time_profiles": 1_000_000,
    "personalization_calls": 10_000_000,
    "incoming_events": 15_000_000,
    "trigger_activations": 25_000_000,
    "email_messages": 1_000_000,
    "mobile_push_messages": 10_000_000,
    "ml_predictions": 40_000_000,
    "rfm_predictions": 100_000_000,
}


def mistakes(text: str) -> list[tuple[int, str]]:
    with pytest.raises(CardError) as caught:
        card.read(text)
    for line, message in [(mistake.line, mistake.message) for mistake in caught.value.mistakes]:
        assert f"line {line}: {message}" in str(caught.value)
    return [(mistake.line, mistake.message) for mistake in caught.value.mistakes]


def test_the_default_card_is_the_published_one_and_every_meter_is_whole_units() -> None:
    found = card.read(card.default_text())
    assert {meter.name: meter.rates[0].per_credit for meter in found.meters} == PUBLISHED
    assert all(meter.value == meter.name and meter.type == "ai.usage.recorded" and len(meter.rates) == 1 for meter in found.meters)
    assert all((UNITS_PER_CREDIT / meter.rates[0].per_credit).denominator == 1 for meter in found.meters)
    assert [meter.stand_in.factor for meter in found.meters if meter.stand_in] == [Fraction(1, 5)]


def test_the_example_of_tokens_can_be_read_and_prices_every_class_once() -> None:
    found = card.read(resources.files("tallyboard.rates").joinpath("tokens.toml").read_text("utf-8"))
    assert {meter.value for meter in found.meters} == {"input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"}
    assert all(set(meter.contains) <= {"cache_read_tokens", "cache_write_tokens"} for meter in found.meters)


@pytest.mark.parametrize(
    ("written", "exact"),
    [
        ("600", "600"),
        ("0.2", "1/5"),
        ("1e6", "1000000"),
        ('"1/3"', "1/3"),
        ('"0.1"', "1/10"),
        ("1_000", "1000"),
        ("0.1e-3", "1/10000"),
        ('"1000000/3"', "1000000/3"),
    ],
)
def test_rates_are_read_exactly(written: str, exact: str) -> None:
    (meter,) = card.read(HEAD + f"rates = [{{ per_credit = {written} }}]").meters
    assert meter.rates[0].per_credit == Fraction(exact)
    assert meter.rates[0].units == UNITS_PER_CREDIT / Fraction(exact)


def test_rates_are_put_in_the_order_of_their_dates() -> None:
    text = HEAD + "rates = [{ per_credit = 3, from = 2026-07-01 }, { per_credit = 1 }, { per_credit = 2, from = 2026-01-01 }]"
    (meter,) = card.read(text).meters
    assert [rate.per_credit for rate in meter.rates] == [1, 2, 3]
    assert [rate.from_us for rate in meter.rates] == [0, *(days.instant_us(datetime(2026, month, 1, tzinfo=UTC)) for month in (1, 7))]


def test_one_text_stands_for_a_list_of_one() -> None:
    (meter,) = card.read(GOOD + 'models = "gpt-*"\ncontains = ["x", "y"]\n').meters
    assert (meter.models, meter.contains) == (("gpt-*",), ("x", "y"))


MISTAKES: dict[str, tuple[str, int, str]] = {
    "nothing": ("", 1, "at least one"),
    "no TOML": (GOOD + "rates =", 6, "not TOML"),
    "no TOML on the last line": (GOOD + '\n\nname = "', 8, "not TOML"),
    "a key said twice": (HEAD + 'name = "b"\n', 5, "not TOML"),
    "an unknown table": (GOOD + "[[tariffs]]\nx = 1\n", 6, "unknown key 'tariffs'"),
    "an unknown key": (GOOD + "currency = 'EUR'\n", 6, "unknown key 'currency'"),
    "meters that are no tables": ("meters = [1]\n", 1, "at least one"),
    "no name": ('[[meters]]\ntype = "t"\nvalue = "v"\nrates = [{ per_credit = 1 }]\n', 1, "name must be"),
    "an empty type": (GOOD.replace('type = "t"', 'type = ""'), 3, "type must be"),
    "a value that is a number": (GOOD.replace('value = "v"', "value = 1"), 4, "value must be"),
    "a name too long": (GOOD.replace('name = "a"', f'name = "{"a" * 257}"'), 2, "name must be"),
    "no rates": (HEAD, 1, "rates must list"),
    "an empty list of rates": (HEAD + "rates = []\n", 5, "rates must list"),
    "a rate that is no table": (HEAD + "rates = [600]\n", 5, "rates must list"),
    "a rate without a number": (HEAD + "rates = [{ from = 2026-01-01 }]\n", 5, "per_credit must be"),
    "a rate of 0": (HEAD + "rates = [{ per_credit = 0 }]\n", 5, "per_credit must be"),
    "a negative rate": (HEAD + "rates = [{ per_credit = -600 }]\n", 5, "per_credit must be"),
    "a rate that is true": (HEAD + "rates = [{ per_credit = true }]\n", 5, "per_credit must be"),
    "a rate of infinity": (HEAD + "rates = [{ per_credit = inf }]\n", 5, "per_credit must be"),
    "a rate that is no number": (HEAD + "rates = [{ per_credit = nan }]\n", 5, "per_credit must be"),
    "a rate of 1/0": (HEAD + 'rates = [{ per_credit = "1/0" }]\n', 5, "per_credit must be"),
    "a rate in words": (HEAD + 'rates = [{ per_credit = "six" }]\n', 5, "per_credit must be"),
    "a rate with an exponent of 20 digits": (HEAD + f"rates = [{{ per_credit = 1e{'9' * 20} }}]\n", 5, "per_credit must be"),
    "an unknown key of a rate": (HEAD + "rates = [{ per_credit = 1, until = 2026-01-01 }]\n", 5, "unknown key 'until'"),
    "a date that is a text": (HEAD + 'rates = [{ per_credit = 1, from = "2026-01-01" }]\n', 5, "from must be a date"),
    "a date with a time": (HEAD + "rates = [{ per_credit = 1, from = 2026-01-01T00:00:00Z }]\n", 5, "from must be a date"),
    "no such date": (HEAD + "rates = [{ per_credit = 1, from = 2026-02-30 }]\n", 5, "not TOML"),
    "one date twice": (HEAD + "rates = [{ per_credit = 1 }, { per_credit = 2 }]\n", 5, "same date"),
    "a date before 1970 beside none": (HEAD + "rates = [{ per_credit = 1 }, { per_credit = 2, from = 1970-01-01 }]\n", 5, "same date"),
    "models that are numbers": (GOOD + "models = [1]\n", 6, "models must be a list"),
    "an empty model": (GOOD + 'models = [""]\n', 6, "models must be a list"),
    "contains that is true": (GOOD + "contains = true\n", 6, "contains must be a list"),
    "a stand-in that is a text": (GOOD + 'stand_in = "requests"\n', 6, "stand_in must read"),
    "a stand-in with a wrong factor": (GOOD + 'stand_in = { value = "requests", factor = 0 }\n', 6, "factor must be"),
    "a stand-in with an unknown key": (GOOD + 'stand_in = { value = "requests", times = 5 }\n', 6, "stand_in must read"),
    "one name twice": (GOOD + "\n# the other\n" + GOOD, 9, "used twice"),
    "a mistake of the second meter": (GOOD + GOOD.replace('"a"', '"b"') + "colour = 1\n", 11, "meter 2: unknown key 'colour'"),
    "a megabyte": ("#" + "x" * 1_048_576, 1, "1,048,576 bytes"),
    "a value that it contains itself": (GOOD + 'contains = ["v"]\n', 6, "contains"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_line(name: str) -> None:
    text, line, words = MISTAKES[name]
    found = mistakes(text)
    assert [place for place, message in found if words in message] == [line], found


@pytest.mark.parametrize("written", ["1e999999999", "1e-999999999", '"1e999999999"', '"1e-999999999"'])
def test_a_huge_exponent_is_refused_in_no_time(tmp_path: Path, written: str) -> None:
    """In a process of its own, because it may need all memory and all day."""
    (tmp_path / "card.toml").write_text(HEAD + f"rates = [{{ per_credit = {written} }}]\n")
    done = subprocess.run(
        [PROGRAM, "rates", "check", tmp_path / "card.toml"], capture_output=True, timeout=8, check=False, env=environment()
    )
    assert done.returncode == 1
    assert b"card.toml:5: meter 1: per_credit must be" in done.stdout


def test_all_mistakes_are_told_at_once_in_the_order_of_lines() -> None:
    text = '[[meters]]\nname = ""\ntype = "t"\nvalue = 5\nrates = [{ per_credit = 0 }]\nextra = 1\n' + GOOD.replace("600", "-1")
    found = mistakes(text)
    assert [line for line, _ in found] == [2, 4, 5, 6, 11]


def test_more_than_500_meters_are_too_many() -> None:
    text = "".join(GOOD.replace('"a"', f'"a{number}"') for number in range(501))
    assert "500 meters" in mistakes(text)[0][1]
    assert len(card.read(text.rpartition("[[meters]]")[0]).meters) == 500
