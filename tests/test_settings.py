"""Settings of signing in through a provider: what goes together, and what is refused in words before anything starts."""

import pytest

from tallyboard import settings
from tallyboard.errors import Invalid
from tallyboard.settings import OpenId

PROVIDER = {"TALLYBOARD_OPENID_ISSUER": "https://id.example.com/", "TALLYBOARD_OPENID_CLIENT_ID": "tallyboard"}


def read(**more: str) -> OpenId | None:
    return settings.read({}, {**PROVIDER, **{f"TALLYBOARD_{name.upper()}": value for name, value in more.items()}}).openid


def test_without_an_issuer_there_is_no_provider() -> None:
    assert settings.read({}, {"TALLYBOARD_OPENID_CLIENT_ID": "tallyboard"}).openid is None


def test_what_is_not_said_is_careful() -> None:
    found = read()
    assert found == OpenId(
        issuer="https://id.example.com/",
        client_id="tallyboard",
        client_secret="",
        name="single sign-on",
        scopes="openid email profile",
        domains=frozenset(),
        new_members=False,
        admin_claim="",
        admin_values=frozenset(),
    )


def test_lists_are_read_with_commas() -> None:
    found = read(openid_domains="Example.com, @example.org", openid_admin_claim="groups", openid_admin_values=" admins , owners")
    assert found
    assert (found.domains, found.admin_values) == ({"example.com", "example.org"}, {"admins", "owners"})


@pytest.mark.parametrize("domains", ["*", "example.com"])
def test_who_makes_members_says_of_whom(domains: str) -> None:
    found = read(openid_new_members="yes", openid_domains=domains)
    assert found
    assert found.new_members


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"openid_issuer": "http://id.example.com"}, "must begin with https://"),
        ({"openid_issuer": "id.example.com"}, "must begin with https://"),
        ({"openid_issuer": "https://"}, "must begin with https://"),
        ({"openid_issuer": "http://[::1"}, "must begin with https://"),
        ({"openid_client_id": " "}, "set TALLYBOARD_OPENID_CLIENT_ID"),
        ({"openid_client_secret": "geheim-ü"}, "plain ASCII"),
        ({"openid_new_members": "yes"}, "would let in whoever has an account at the provider"),
        ({"openid_new_members": "true"}, "TALLYBOARD_OPENID_NEW_MEMBERS must be yes or no"),
        ({"openid_domains": "example.com/"}, "allowed hosts and domains are names"),
        ({"openid_admin_claim": "groups"}, "go together"),
        ({"openid_admin_values": "admins"}, "go together"),
        ({"openid_scopes": "email"}, "must name openid"),
        ({"passwords": "maybe"}, "TALLYBOARD_PASSWORDS must be yes or no"),
        ({"passwords": "no", "openid_issuer": ""}, "set TALLYBOARD_OPENID_ISSUER, or TALLYBOARD_PASSWORDS=yes"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused_in_words(wrong: dict[str, str], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        read(**wrong)


@pytest.mark.parametrize(
    "issuer", ["https://id.example.com", "http://127.0.0.1:9400", "http://localhost:8080/realms/x", "http://[::1]:9400"]
)
def test_plain_http_is_for_this_machine_alone(issuer: str) -> None:
    found = read(openid_issuer=issuer)
    assert found
    assert found.issuer == issuer
