"""Reads an ID token: signed by a key of the provider, for this client, for this journey, now. Pure: keys and time are given.

Source: OpenID Connect Core 1.0, 3.1.3.7. Only signatures by private keys count: a token that is unsigned, or whose "secret" is a public key,
is refused by its algorithm before any key is looked at.
"""

import json
from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from tallyboard.people.identity import NotLetIn, Why

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
LEEWAY_SECONDS = 60
SUBJECT_CHARACTERS_MAX = 255
KEYS_MAX = 100
_KINDS = {"RSA", "EC"}
_REGISTRY = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)

Claims = Mapping[str, Any]


class UnknownKey(Exception):
    """The token is signed by a key that was not there when the keys were read: they may have changed since."""


def read_keys(text: bytes) -> KeySet:
    """The keys of a JWK set that sign; ones of another kind or use, or that cannot be read, are passed over. NotLetIn where none is left."""
    try:
        listed = json.loads(text)["keys"]
        wanted = [each for each in listed if each.get("kty") in _KINDS and each.get("use", "sig") == "sig"][:KEYS_MAX]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise NotLetIn(Why.PROVIDER_WRONG, "its keys are no JWK set") from None
    found = [key for key in map(_key, wanted) if key is not None]
    if not found:
        raise NotLetIn(Why.PROVIDER_WRONG, "it shows no key that signs")
    return KeySet(found)


def read(token: str, keys: KeySet, issuer: str, client_id: str, nonce: str, now_s: int) -> Claims:
    """The claims of a token; NotLetIn names what is wrong with it, UnknownKey where its key is not among these."""
    try:
        claims = jwt.decode(token, keys, registry=_REGISTRY).claims
    except InvalidKeyIdError:
        raise UnknownKey from None
    except (JoseError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise NotLetIn(Why.TOKEN_WRONG, _named(error)) from None
    try:
        JWTClaimsRegistry(
            now=now_s,
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": issuer},
            sub={"essential": True},
            aud={"essential": True, "value": client_id},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        ).validate(claims)
    except JoseError as error:
        raise NotLetIn(Why.TOKEN_WRONG, _named(error)) from None
    _check_party(claims, client_id)
    _check_text(claims)
    return claims


def _check_party(claims: Claims, client_id: str) -> None:
    """A token for several audiences says whom it was made for, and that is this client."""
    audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if claims.get("azp", None if len(audiences) > 1 else client_id) != client_id:
        raise NotLetIn(Why.TOKEN_WRONG, "azp")


def _check_text(claims: Claims) -> None:
    """What is compared as text is text: a list that holds the value is not the value."""
    subject = claims["sub"]
    if not all(isinstance(claims[name], str) for name in ("iss", "nonce")):
        raise NotLetIn(Why.TOKEN_WRONG, "a claim of another type")
    if len(subject) > SUBJECT_CHARACTERS_MAX or not (subject.isascii() and subject.isprintable()):
        raise NotLetIn(Why.TOKEN_WRONG, "sub")


def _key(shown: dict[str, Any]) -> Key | None:
    try:
        return JWKRegistry.import_key(shown)
    except (JoseError, ValueError, TypeError, LookupError, AttributeError):
        return None


def _named(error: Exception) -> str:
    """What a library found wrong, in its short words."""
    return str(error)[:120] or type(error).__name__
