"""Members and the directory as an identity provider keeps them up to date: SCIM 2.0, RFC 7643 and 7644.

What the provider says is kept as it says it, and applied: to a member by the email, to a user of the directory by the key. Taking
somebody away deactivates the member; usage stays. A provider that deletes the last administrator is refused like anybody.
"""

from collections.abc import Callable, Collection, Sequence
from secrets import token_hex
from typing import Annotated, Any, ClassVar

from msgspec import Struct
from scim2_models import URN, ComplexAttribute, Context, Meta, Name, Required, Resource, ScimPolicy, SearchRequest, Uniqueness
from scim2_models import Role as ScimRole

from tallyboard import days
from tallyboard.errors import Invalid, NotFound, Stale, Taken
from tallyboard.intake.event import is_key
from tallyboard.ledger import audit
from tallyboard.ledger.contract import Line, Session
from tallyboard.ledger.locking import lock
from tallyboard.people import directory, members, roster
from tallyboard.people.members import Member, Role

PAGE_USERS_MAX = 200
SEARCHED_MAX = 10_000
DOCUMENT_CHARACTERS_MAX = 65_536
_PLACE_MAX = 1 << 31
POLICY = ScimPolicy(
    unknown=ScimPolicy.Unknown.ignore,
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)
"""Providers send far more attributes than concern us, and Entra ID reads the standard its own way."""


class Email(ComplexAttribute):
    """An email. Not only addresses that the whole internet can reach: companies have their own names."""

    value: str | None = None
    display: str | None = None
    type: str | None = None
    primary: bool | None = None


class User(Resource[Any]):
    """What is kept of a user; whatever else is sent is passed over."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str | None, Uniqueness.server, Required.true] = None
    name: Name | None = None
    Name: ClassVar[type[ComplexAttribute]] = Name
    display_name: str | None = None
    active: bool | None = None
    emails: list[Email] | None = None
    Emails: ClassVar[type[ComplexAttribute]] = Email
    roles: list[ScimRole] | None = None
    Roles: ClassVar[type[ComplexAttribute]] = ScimRole


class Kept(Struct, frozen=True):
    """A row: what the provider said last, and whom it is about here."""

    scim_id: str
    member_id: int | None
    user_key: str | None
    document: str
    created_us: int
    changed_us: int
    version: int


def create(session: Session, account_id: int, wanted: User, actor: str, now_us: int) -> User:
    """A new user. Taken where the userName or the member is another's; a member with the email that nobody provisioned is taken over."""
    lock(session, account_id)
    new = Kept(token_hex(16), None, None, "", now_us, now_us, 1)
    kept = _apply(session, account_id, new, wanted, actor, now_us)
    session.run(
        """
        INSERT INTO scim_user (account_id, scim_id, user_name, external_id, member_id, user_key, document, created_us, changed_us, version)
        VALUES (:account_id, :scim_id, :user_name, :external_id, :member_id, :user_key, :document, :now_us, :now_us, 1)
        """,
        account_id=account_id,
        now_us=now_us,
        **_columns(kept, wanted),
    )
    _note(session, account_id, "scim.user_created", kept, wanted, actor, now_us)
    return of(session, account_id, kept.scim_id)


def change(
    session: Session, account_id: int, scim_id: str, edit: Callable[[User], User], actor: str, now_us: int, if_match: str = ""
) -> User:
    """Let `edit` make of the user what it is to be. NotFound; Stale where it is no longer the version of `if_match`.

    Providers say the same again and again: that is applied, and otherwise leaves no trace.
    """
    lock(session, account_id)
    before = of(session, account_id, scim_id)
    check_version(before, if_match)
    said = _document(before)
    wanted = edit(before)
    kept = _apply(session, account_id, _kept(session, account_id, scim_id), wanted, actor, now_us)
    if kept.document == said:
        return of(session, account_id, scim_id)
    session.run(
        """
        UPDATE scim_user SET user_name = :user_name, external_id = :external_id, member_id = :member_id, user_key = :user_key,
            document = :document, changed_us = :now_us, version = version + 1
        WHERE account_id = :account_id AND scim_id = :scim_id
        """,
        account_id=account_id,
        now_us=now_us,
        **_columns(kept, wanted),
    )
    _note(session, account_id, "scim.user_changed", kept, wanted, actor, now_us)
    return of(session, account_id, scim_id)


def remove(session: Session, account_id: int, scim_id: str, actor: str, now_us: int, if_match: str = "") -> None:
    """Forget what the provider said and let the member in no more. Usage, and the member's line, stay."""
    lock(session, account_id)
    before = of(session, account_id, scim_id)
    check_version(before, if_match)
    kept = _kept(session, account_id, scim_id)
    if kept.member_id is not None:
        roster.deactivate(session, account_id, kept.member_id, actor, now_us)
    session.run("DELETE FROM scim_user WHERE account_id = :account_id AND scim_id = :scim_id", account_id=account_id, scim_id=scim_id)
    _note(session, account_id, "scim.user_deleted", kept, before, actor, now_us)


def of(session: Session, account_id: int, scim_id: str) -> User:
    """The user with this id; NotFound where there is none."""
    return _shown(_kept(session, account_id, scim_id), roster.deactivated(session, account_id))


def find(session: Session, account_id: int, asked: SearchRequest[User]) -> tuple[int, list[User]]:
    """How many users match, and one page of them. Invalid where more than SEARCHED_MAX would have to be looked through."""
    first = min((asked.start_index or 1) - 1, _PLACE_MAX)
    count = PAGE_USERS_MAX if asked.count is None else min(asked.count, PAGE_USERS_MAX)
    column, value = _looked_up(str(asked.filter)) if asked.filter else ("", "")
    if column == "user_name":
        lines = session.all(_SELECT + " AND user_name = :value", account_id=account_id, value=value)
    elif column == "external_id":
        lines = session.all(_SELECT + " AND external_id = :value", account_id=account_id, value=value)
    elif asked.filter is None and asked.sort_by is None:
        (total,) = session.one("SELECT count(*) FROM scim_user WHERE account_id = :account_id", account_id=account_id) or (0,)
        lines = session.all(_SELECT + _IN_ORDER + " OFFSET :first", account_id=account_id, most=count, first=first)
        return total, _all_shown(session, account_id, lines)
    else:
        lines = session.all(_SELECT + _IN_ORDER, account_id=account_id, most=SEARCHED_MAX + 1)
    if len(lines) > SEARCHED_MAX:
        raise Invalid(f"there are more than {SEARCHED_MAX:,} users: ask for a userName or an externalId")
    found = _all_shown(session, account_id, lines)
    if asked.filter and not column:
        found = [user for user in found if asked.filter.match(user)]
    return len(found), asked.sort(found)[first : first + count]


def check_version(user: User, if_match: str) -> None:
    """Stale where a caller knows another version of a user."""
    assert user.meta is not None
    if if_match not in {"", "*"} and user.meta.version not in {each.strip() for each in if_match.split(",")}:
        raise Stale("the user has changed meanwhile; read it again")


_SELECT = """
    SELECT scim_id, member_id, user_key, document, created_us, changed_us, version FROM scim_user WHERE account_id = :account_id"""
_IN_ORDER = " ORDER BY created_us, scim_id LIMIT :most"


def _kept(session: Session, account_id: int, scim_id: str) -> Kept:
    line: Line | None = session.one(_SELECT + " AND scim_id = :scim_id", account_id=account_id, scim_id=scim_id)
    if line is None:
        raise NotFound("there is no such user")
    return Kept(*line)


def _looked_up(text: str) -> tuple[str, str]:
    """The column and the value of a filter that is only an equality of userName or externalId; nothing of any other."""
    attribute, operator, quoted = (*text.split(" ", 2), "", "")[:3]
    plain = len(quoted) > 1 and quoted[0] == quoted[-1] == '"' and '"' not in quoted[1:-1] and "\\" not in quoted
    column = {"username": "user_name", "externalid": "external_id"}.get(attribute.lower(), "")
    if not plain or operator.lower() != "eq" or not column:
        return "", ""
    return column, quoted[1:-1].casefold() if column == "user_name" else quoted[1:-1]


def _all_shown(session: Session, account_id: int, lines: Sequence[Line]) -> list[User]:
    gone = roster.deactivated(session, account_id)
    return [_shown(Kept(*line), gone) for line in lines]


def _shown(kept: Kept, gone: Collection[int]) -> User:
    """The user as it is now: whether active is what the member is, whoever changed that. `gone` are the members deactivated."""
    user = User.model_validate_json(kept.document, scim_policy=POLICY)
    user.id = kept.scim_id
    if kept.member_id is not None and (user.active is False) != (kept.member_id in gone):
        user.active = kept.member_id not in gone
    user.meta = Meta(
        resource_type="User",
        created=days.instant(kept.created_us),
        last_modified=days.instant(kept.changed_us),
        version=f'W/"{kept.version}"',
    )
    return user


def _columns(kept: Kept, wanted: User) -> dict[str, str | int | None]:
    assert wanted.user_name is not None
    return {
        "scim_id": kept.scim_id,
        "user_name": wanted.user_name.casefold(),
        "external_id": wanted.external_id,
        "member_id": kept.member_id,
        "user_key": kept.user_key,
        "document": kept.document,
    }


def _apply(session: Session, account_id: int, kept: Kept, wanted: User, actor: str, now_us: int) -> Kept:
    """Make the member and the user of the directory what the provider wants; what is to be kept of it."""
    document = _document(wanted)
    if len(document) > DOCUMENT_CHARACTERS_MAX:
        raise Invalid(f"a user has at most {DOCUMENT_CHARACTERS_MAX:,} characters in all")
    _check_name(session, account_id, kept.scim_id, wanted)
    email = _email(wanted)
    member = _member(session, account_id, kept, email, actor, now_us)
    if member is not None:
        _put_role_and_access(session, account_id, member, wanted, actor, now_us)
    return Kept(
        kept.scim_id,
        member.member_id if member else None,
        _put_profile(session, account_id, kept.user_key, wanted, email),
        document,
        kept.created_us,
        now_us,
        kept.version,
    )


def _document(user: User) -> str:
    return user.model_dump_json(scim_ctx=Context.DEFAULT, exclude={"id", "meta"})


def _check_name(session: Session, account_id: int, scim_id: str, wanted: User) -> None:
    name = wanted.user_name or ""
    if not is_key(name):
        raise Invalid("a userName has 1 to 256 printable characters")
    if wanted.external_id is not None and not is_key(wanted.external_id):
        raise Invalid("an externalId has 1 to 256 printable characters")
    if session.one(
        "SELECT 1 FROM scim_user WHERE account_id = :account_id AND user_name = :user_name AND scim_id <> :scim_id",
        account_id=account_id,
        user_name=name.casefold(),
        scim_id=scim_id,
    ):
        raise Taken("there is a user with this userName already")


def _email(wanted: User) -> str | None:
    """The primary email, else the first, else the userName where it is one; Invalid where what is said is none."""
    said = [each for each in wanted.emails or [] if each.value]
    chosen = next((each for each in said if each.primary), said[0] if said else None)
    if chosen is None or chosen.value is None:
        return members.plain(wanted.user_name or "") if directory.is_email(wanted.user_name or "") else None
    email = members.plain(chosen.value)
    if not directory.is_email(email):
        raise Invalid(f"{email[:80]!r} is not an email address")
    return email


def _member(session: Session, account_id: int, kept: Kept, email: str | None, actor: str, now_us: int) -> Member | None:
    """Whom it is about: as before, by another email perhaps; else who has the email; else somebody new. None without an email."""
    if kept.member_id is not None:
        member = members.of(session, kept.member_id)
        if email and email != member.email:
            if not members.rename(session, member, email):
                raise Taken(f"{email} is another member")
            audit.note(session, account_id, actor, "member.renamed", {"before": member.email, "after": email}, now_us)
        return members.of(session, kept.member_id)
    if email is None:
        return None
    try:
        member = roster.find(session, account_id, email)
    except NotFound:
        return members.add(session, account_id, email, Role.MEMBER, actor, now_us)
    if session.one(
        "SELECT 1 FROM scim_user WHERE account_id = :account_id AND member_id = :member_id",
        account_id=account_id,
        member_id=member.member_id,
    ):
        raise Taken(f"{email} is the email of another user")
    return member


def _put_role_and_access(session: Session, account_id: int, member: Member, wanted: User, actor: str, now_us: int) -> None:
    """Roles that are not said leave the role as it is; one called admin makes an administrator, others do not."""
    if wanted.active is not False:
        roster.reactivate(session, account_id, member.member_id, actor, now_us)
    if wanted.roles is not None:
        said = {(each.value or "").strip().casefold() for each in wanted.roles}
        role = Role.ADMIN if Role.ADMIN in said else Role.MEMBER
        roster.change_role(session, account_id, member.member_id, role, actor, now_us)
    if wanted.active is False:
        roster.deactivate(session, account_id, member.member_id, actor, now_us)


def _put_profile(session: Session, account_id: int, key: str | None, wanted: User, email: str | None) -> str:
    """Name the user of the directory: as before, else whose key the userName is, else the only one with the email, else a new one."""
    if key is None:
        name = wanted.user_name or ""
        same = (
            {} if email is None or name in directory.of(session, account_id, [name]) else directory.by_emails(session, account_id, [email])
        )
        key = same[email].user if email in same else name
    known = directory.of(session, account_id, [key]).get(key, directory.User(key, None, None))
    named = directory.User(key, email or known.email, _name(wanted) or known.name)
    if named != known or not directory.of(session, account_id, [key]):
        directory.name_user(session, account_id, named)
    return key


def _name(wanted: User) -> str | None:
    """The display name, else the formatted one, else given and family name."""
    parts = wanted.name
    whole = " ".join(part for part in (parts.given_name, parts.family_name) if part) if parts else ""
    return wanted.display_name or (parts.formatted if parts else None) or whole or None


def _note(session: Session, account_id: int, action: str, kept: Kept, wanted: User, actor: str, now_us: int) -> None:
    audit.note(session, account_id, actor, action, {"id": kept.scim_id, "user_name": wanted.user_name}, now_us)
