"""Who somebody is in the word of an OpenID provider, and the closed set of reasons not to let them in."""

from enum import StrEnum

from msgspec import Struct

from tallyboard.errors import TallyboardError
from tallyboard.people.accounts import FIRST_ACCOUNT_ID


class Why(StrEnum):
    """Why somebody is not let in through the provider; web/pages/openid.py says it to people."""

    OTHER_BROWSER = "other_browser"
    USED = "used"
    OTHER_ISSUER = "other_issuer"
    DECLINED = "declined"
    PROVIDER_AWAY = "provider_away"
    PROVIDER_WRONG = "provider_wrong"
    TOKEN_WRONG = "token_wrong"  # noqa: S105  A word, no secret.
    NO_EMAIL = "no_email"
    UNVERIFIED_EMAIL = "unverified_email"
    DOMAIN = "domain"
    NO_MEMBER = "no_member"
    DEACTIVATED = "deactivated"
    SOMEBODY_ELSES = "somebody_elses"


class NotLetIn(TallyboardError):
    """Somebody is not let in. `detail` is for administrators of the account; `email` is empty where the provider does not vouch for it."""

    def __init__(self, why: Why, detail: str = "", email: str = "", account_id: int = FIRST_ACCOUNT_ID) -> None:
        super().__init__(f"{why}: {detail}" if detail else why)
        self.why = why
        self.detail = detail
        self.email = email
        self.account_id = account_id


class Identity(Struct, frozen=True):
    """Somebody, as a verified token says. (issuer, subject) never changes; `email` may, and is plain, "" where none is told.

    `is_admin` is None where no claim decides.
    """

    issuer: str
    subject: str
    email: str
    email_verified: bool
    is_admin: bool | None
