"""A way to the provider and back, as pure values: what a browser keeps leads to one state, one nonce and one verifier."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallyboard.people import journey

NOW_US = 1_800_000_000_000_000
MINUTE_US = 60_000_000


def test_the_cookie_holds_all_of_it() -> None:
    begun = journey.begin("/policy?user=bob", NOW_US)
    kept = journey.of_cookie(begun.cookie, NOW_US + 1)
    assert kept == begun
    assert kept.arrival == "/policy?user=bob"
    assert kept.is_of(begun.state)
    assert len({begun.state, begun.nonce, begun.verifier, begun.cookie}) == 4


def test_no_two_journeys_share_anything() -> None:
    begun = [journey.begin("", NOW_US) for _ in range(50)]
    assert len({part for each in begun for part in (each.state, each.nonce, each.verifier)}) == 150
    assert not begun[0].is_of(begun[1].state)


@pytest.mark.parametrize(("minutes", "is_under_way"), [(-1, False), (0, True), (9, True), (10, False), (11, False)])
def test_it_takes_ten_minutes_at_most(minutes: int, is_under_way: bool) -> None:
    begun = journey.begin("", NOW_US)
    assert (journey.of_cookie(begun.cookie, NOW_US + minutes * MINUTE_US) is not None) == is_under_way


@given(st.text())
def test_no_text_of_a_cookie_does_harm(text: str) -> None:
    found = journey.of_cookie(text, NOW_US)
    assert found is None or found.cookie == text
    assert journey.begin("", NOW_US).is_of(text) is False


@given(st.integers(0, 200), st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789-_."))
def test_a_cookie_that_was_changed_fits_no_answer(place: int, letter: str) -> None:
    begun = journey.begin("/policy", NOW_US)
    place %= len(begun.cookie)
    changed = begun.cookie[:place] + letter + begun.cookie[place + 1 :]
    found = journey.of_cookie(changed, NOW_US)
    assert changed == begun.cookie or found is None or not found.is_of(begun.state)


@given(st.text() | st.from_regex(r"[/\\]{1,3}[a-z.:/\\@?#%\s]{0,20}", fullmatch=True))
def test_a_path_of_ours_is_a_path(text: str) -> None:
    path = journey.local(text)
    assert path in {"", text}
    assert path == "" or (path.startswith("/") and path[1:2] not in {"/", "\\"} and path.isascii() and path.isprintable())


@pytest.mark.parametrize("path", ["/usage", "/policy?user=a%20b", "/usage?window=7&q=x", "/my"])
def test_a_page_of_ours_is_one(path: str) -> None:
    assert journey.local(path) == path
