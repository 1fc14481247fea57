"""What people read where the provider's word does not lead in, as pure functions: why, and what to do now."""

from tallyboard.people.identity import Why
from tallyboard.people.journey import MINUTES

_WORDS = {
    Why.OTHER_BROWSER: f"This sign-in was not begun in this browser, or more than {MINUTES} minutes ago. Begin again.",
    Why.USED: "This sign-in has been used already. Begin again.",
    Why.OTHER_ISSUER: "This answer does not come from {name}, so it is not believed. Begin again.",
    Why.DECLINED: "{name} has not signed you in: it was cancelled, or you are not allowed to use Tallyboard there.",
    Why.PROVIDER_AWAY: "{name} cannot be reached now. Try again in a minute; a sign-in link works meanwhile.",
    Why.PROVIDER_WRONG: "{name} gives an answer that Tallyboard does not understand. The audit log tells administrators more.",
    Why.TOKEN_WRONG: "What {name} says of you could not be verified, so it is not believed. The audit log tells administrators more.",
    Why.NO_EMAIL: "{name} does not tell your email, and Tallyboard knows people by it.",
    Why.UNVERIFIED_EMAIL: "{name} does not say that your email is really yours. Verify it there, then sign in again.",
    Why.DOMAIN: "Emails like yours are not let in here. Sign in at {name} with the one of your organization.",
    Why.NO_MEMBER: "You are known to {name}, but no member here. Ask an administrator to invite you.",
    Why.DEACTIVATED: "Your membership is deactivated. An administrator can reactivate it.",
    Why.SOMEBODY_ELSES: "A member with your email signs in at {name} as somebody else. Ask an administrator.",
}
_STATUS = {Why.PROVIDER_AWAY: 503, Why.PROVIDER_WRONG: 502}
_FOR_THE_LOG = {
    Why.OTHER_BROWSER: "not begun in that browser, or too long ago",
    Why.USED: "the sign-in had been used already",
    Why.OTHER_ISSUER: "the answer came from another provider",
    Why.DECLINED: "cancelled or not allowed there",
    Why.PROVIDER_AWAY: "the provider could not be reached",
    Why.PROVIDER_WRONG: "the provider answered what makes no sense",
    Why.TOKEN_WRONG: "its token could not be verified",
    Why.NO_EMAIL: "it told no email",
    Why.UNVERIFIED_EMAIL: "it did not vouch for the email",
    Why.DOMAIN: "not a domain that is let in",
    Why.NO_MEMBER: "no member",
    Why.DEACTIVATED: "the member is deactivated",
    Why.SOMEBODY_ELSES: "the member is known there as somebody else",
}


def words(why: Why, name: str) -> str:
    """Why somebody was not let in by a provider of this name, and what to do, as sentences."""
    told = _WORDS[why].format(name=name)
    return told[:1].upper() + told[1:]


def status(why: Why) -> int:
    """The status of that answer."""
    return _STATUS.get(why, 403)


def in_short(why: str) -> str:
    """The same for the audit log; a reason of another release as it is."""
    return _FOR_THE_LOG[Why(why)] if why in set(Why) else why
