"""Signing in through an OpenID provider, in the steps of a password's (sign_in.py): here it is the provider that looks and compares."""

from typing import TYPE_CHECKING

from msgspec import Struct

from tallyboard.ledger import audit
from tallyboard.ledger.contract import Ledger, Session
from tallyboard.ledger.locking import lock
from tallyboard.people import identities, sessions, throttle
from tallyboard.people.identity import NotLetIn, Why
from tallyboard.people.journey import Journey
from tallyboard.people.sign_in import UNKNOWN, Visitor, note_failure

if TYPE_CHECKING:
    from tallyboard.people.provider import Provider  # Loads slowly, and most have none.

NOT_THE_VISITORS = {Why.PROVIDER_AWAY, Why.PROVIDER_WRONG}
"""Failures that say nothing of who tries."""


class Answer(Struct, frozen=True):
    """What a browser brings back from the provider: the parameters of the address, and the journey that it was on."""

    state: str
    code: str
    issuer: str | None
    error: str
    journey: Journey | None


def to_provider(ledger: Ledger, provider: "Provider", journey: Journey, answer_at: str, now_us: int) -> str:
    """The address that a journey begins with; NotLetIn where the provider cannot be asked, which is in the audit log."""
    try:
        return provider.address(journey, answer_at)
    except NotLetIn as error:
        refused = error
    ledger.change(lambda session: _note_not_let_in(session, refused, provider.wanted.name, now_us)).result()
    raise refused


def by_provider(ledger: Ledger, provider: "Provider", answer: Answer, answer_at: str, visitor: Visitor, now_us: int) -> str:
    """The secret of a new session. NotLetIn says why there is none and is in the audit log; TooOften where one has to wait."""
    place = throttle.of_address(visitor.address)
    ledger.change(lambda session: throttle.take(session, (place,), now_us)).result()

    def finish(session: Session) -> str:
        lock(session, account_id)
        identities.spend(session, journey, now_us)
        member = identities.member_of(session, identity, provider.wanted, now_us)
        throttle.forgive(session, throttle.of_email(member.email), place)
        audit.note(session, member.account_id, member.email, "member.signed_in", {"by": provider.wanted.name}, now_us)
        return sessions.begin(session, member.member_id, visitor.browser, now_us)

    try:
        journey = _check(answer, provider)
        identity = provider.identify(answer.code, journey, answer_at, now_us // 1_000_000)
        with ledger.reading() as session:
            account_id = identities.account_of(session, identity)
        return ledger.change(finish).result()
    except NotLetIn as error:
        refused = error

    def tell(session: Session) -> None:
        _note_not_let_in(session, refused, provider.wanted.name, now_us)
        if refused.why in NOT_THE_VISITORS:
            throttle.take_back(session, place)

    ledger.change(tell).result()
    raise refused


def _check(answer: Answer, provider: "Provider") -> Journey:
    """The journey that an answer belongs to: this browser's, under way, and answered by the provider that was asked."""
    if answer.journey is None or not answer.journey.is_of(answer.state):
        raise NotLetIn(Why.OTHER_BROWSER)
    provider.check_issuer(answer.issuer)
    if answer.error:
        raise NotLetIn(Why.DECLINED, "".join(each for each in answer.error[:60] if each.isascii() and each.isprintable()))
    if not answer.code:
        raise NotLetIn(Why.PROVIDER_WRONG, "it sent neither a code nor an error")
    return answer.journey


def _note_not_let_in(session: Session, refused: NotLetIn, provider: str, now_us: int) -> None:
    """Into the audit log, not more than so many an hour; with an email only where the provider vouches for it."""
    detail = {"by": provider, "why": refused.why, "detail": refused.detail, "email": refused.email}
    note_failure(session, refused.account_id, UNKNOWN, {name: value for name, value in detail.items() if value}, now_us)
