"""A user's colour stays the user's."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tallyboard.usage.colours import SLOTS, Kept, assign

TODAY = date(2026, 11, 20)
YESTERDAY = TODAY - timedelta(days=1)
ALICE, BOB, CHARLIE = "alice", "bob", "charlie"
EIGHT = [f"user-{number}" for number in range(8)]


def slots(places: dict[str, Kept]) -> dict[str, int]:
    return {user: place.slot for user, place in places.items()}


def test_the_first_colours_go_by_rank() -> None:
    assert slots(assign({}, [[ALICE, BOB, CHARLIE]], TODAY)) == {ALICE: 0, BOB: 1, CHARLIE: 2}


def test_thirty_days_choose_before_fourteen_and_seven() -> None:
    assert slots(assign({}, [[ALICE], [BOB, ALICE], [CHARLIE, BOB]], TODAY)) == {ALICE: 0, BOB: 1, CHARLIE: 2}


def test_a_colour_is_kept_when_the_ranking_turns_round() -> None:
    before = assign({}, [[ALICE, BOB, CHARLIE]], YESTERDAY)
    assert slots(assign(before, [[CHARLIE, BOB, ALICE]], TODAY)) == slots(before)


def test_who_drops_out_of_sight_keeps_the_colour_while_there_is_room() -> None:
    after = assign(assign({}, [[ALICE, BOB]], YESTERDAY), [[CHARLIE]], TODAY)
    assert slots(after) == {ALICE: 0, BOB: 1, CHARLIE: 2}
    assert after[ALICE].visible_on == YESTERDAY
    assert after[CHARLIE].visible_on == TODAY


def test_a_place_given_back_is_the_first_to_be_given_again() -> None:
    assert slots(assign({BOB: Kept(1, YESTERDAY)}, [[ALICE]], TODAY)) == {BOB: 1, ALICE: 0}


def test_of_ten_taken_the_one_longest_out_of_sight_goes() -> None:
    kept = {user: Kept(slot, TODAY) for slot, user in enumerate(EIGHT)}
    kept |= {BOB: Kept(8, YESTERDAY), CHARLIE: Kept(9, YESTERDAY - timedelta(days=1))}
    after = assign(kept, [[*EIGHT[:7], ALICE]], TODAY)
    assert after[ALICE] == Kept(9, TODAY)
    assert CHARLIE not in after
    assert after[BOB].slot == 8


def test_who_was_seen_earlier_today_gives_way_to_who_is_visible_now() -> None:
    kept = {f"gone-{slot}": Kept(slot, TODAY) for slot in range(SLOTS)}
    assert slots(assign(kept, [[ALICE]], TODAY)) == {ALICE: 0} | {f"gone-{slot}": slot for slot in range(1, SLOTS)}


def test_the_visible_are_not_evicted_for_each_other() -> None:
    many = [f"user-{number:02}" for number in range(14)]
    after = assign({}, [many[:8], many[4:12], many[6:14]], TODAY)
    assert slots(after) == {user: slot for slot, user in enumerate(many[:SLOTS])}


def test_a_second_look_on_the_same_day_changes_nothing() -> None:
    once = assign({}, [EIGHT, [ALICE, *EIGHT]], TODAY)
    assert assign(once, [EIGHT, [ALICE, *EIGHT]], TODAY) == once


USERS = st.sampled_from([f"user-{number}" for number in range(20)])


@given(st.lists(st.lists(st.lists(USERS, max_size=8, unique=True), max_size=3), max_size=12))
def test_no_two_users_ever_share_a_place(history: list[list[list[str]]]) -> None:
    places: dict[str, Kept] = {}
    for number, rankings in enumerate(history):
        before, places = places, assign(places, rankings, TODAY + timedelta(days=number))
        taken = [place.slot for place in places.values()]
        assert len(set(taken)) == len(taken) <= SLOTS
        assert set(taken) <= set(range(SLOTS))
        assert all(places[user].slot == before[user].slot for user in places.keys() & before.keys())
        visible = {user for ranking in rankings for user in ranking}
        assert visible & before.keys() <= places.keys()
        assert visible <= places.keys() or len(visible) > SLOTS
