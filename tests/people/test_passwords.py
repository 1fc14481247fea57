"""Which passwords are refused, how they are kept, and what a guess costs."""

import pytest

from tallyboard.errors import Invalid
from tallyboard.people import passwords

GOOD = "violet harbour 17 lamps"
EMAIL = "alice@northwind.example"


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("", "at least 12"),
        ("eleven char", "at least 12"),
        ("x" * 129, "at most 128"),
        ("y" * 100_000, "at most 128"),
        (EMAIL, "email address"),
        ("ALICE@Northwind.Example", "email address"),
        ("leavemealone", "first that anybody would guess"),
        ("Password2026!", "first that anybody would guess"),
        ("...dragon123456", "first that anybody would guess"),
        ("abcabcabcabc", "first that anybody would guess"),
        ("aaaaaaaaaaaaaaaa", "first that anybody would guess"),
        ("passwordpassword", "first that anybody would guess"),
        ("123456789012", "first that anybody would guess"),
        ("qwertyuiopasdf", "first that anybody would guess"),
        ("zyxwvutsrqponm", "first that anybody would guess"),
    ],
)
def test_what_is_easy_to_guess_is_refused_in_words(password: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        passwords.check(password, EMAIL)


@pytest.mark.parametrize("password", [GOOD, "x7#" * 4 + "q", "纸牌屋的第十二个字符都在这", "monkey business at eleven", "a" + "🦊b" * 40])
def test_what_is_not_is_taken(password: str) -> None:
    passwords.check(password, EMAIL)


def test_it_is_kept_as_argon2id_with_a_salt_and_found_again() -> None:
    first, second = passwords.hashed(GOOD), passwords.hashed(GOOD)
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert passwords.matches(first, GOOD)
    assert passwords.matches(second, GOOD)
    assert not passwords.matches(first, GOOD + " ")
    assert not passwords.outdated(first)


def test_one_that_nobody_has_is_compared_all_the_same_and_never_matches() -> None:
    assert not passwords.matches(None, GOOD)
    assert not passwords.matches(None, "the password of nobody at all")
    assert not passwords.matches("", "the password of nobody at all")
    assert not passwords.matches("no hash", GOOD)
    assert not passwords.matches(passwords.hashed(GOOD), GOOD + "x" * 200)


def test_the_same_word_typed_on_another_keyboard_matches() -> None:
    """Composed or decomposed, an é is an é."""
    assert passwords.matches(passwords.hashed("cafe\u0301 au lait trois"), "caf\u00e9 au lait trois")


def test_one_kept_with_other_parameters_is_outdated() -> None:
    weak = "$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43
    assert passwords.outdated(weak)
