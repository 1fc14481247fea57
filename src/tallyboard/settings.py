"""Every setting in one table: name, variable, default, help. Read at the top and handed down."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from tallyboard.errors import Invalid


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, its environment variable, and its default as text."""

    name: str
    variable: str
    default: str
    help: str
    secret: bool = False
    """Whether its value is shown to nobody."""


TABLE = (
    Setting("data", "TALLYBOARD_DATA", "./data", "The data folder of the embedded engine."),
    Setting(
        "database_url",
        "TALLYBOARD_DATABASE_URL",
        "",
        "A PostgreSQL server to keep everything on instead of a data folder, such as postgresql://tallyboard@db.example.com/tallyboard.",
    ),
    Setting(
        "database_connections",
        "TALLYBOARD_DATABASE_CONNECTIONS",
        "10",
        "How many connections to the server this process may hold, beside one for large requests.",
    ),
    Setting("host", "TALLYBOARD_HOST", "127.0.0.1", "The address to listen on."),
    Setting("port", "TALLYBOARD_PORT", "8321", "The port to listen on."),
    Setting(
        "public_url", "TALLYBOARD_PUBLIC_URL", "", "The address people open, such as https://usage.example.com; https makes cookies secure."
    ),
    Setting(
        "session_idle_hours",
        "TALLYBOARD_SESSION_IDLE_HOURS",
        "12",
        "After so many hours without use a session ends; after 14 days it ends in any case.",
    ),
    Setting(
        "allowed_hosts",
        "TALLYBOARD_ALLOWED_HOSTS",
        "",
        "Further names that the pages may be opened under, separated by commas. The public URL's and those of this machine always are.",
    ),
    Setting(
        "trusted_proxies",
        "TALLYBOARD_TRUSTED_PROXIES",
        "",
        "Addresses or networks of your proxies, separated by commas: what they say in X-Forwarded-For and X-Forwarded-Proto is believed.",
    ),
    Setting(
        "plain_http",
        "TALLYBOARD_PLAIN_HTTP",
        "no",
        "yes lets `serve` listen where others reach it although the public URL is not https.",
    ),
    Setting(
        "openid_issuer",
        "TALLYBOARD_OPENID_ISSUER",
        "",
        "Sign in with OpenID Connect: the provider's issuer, exactly as it calls itself, such as https://accounts.google.com.",
    ),
    Setting("openid_client_id", "TALLYBOARD_OPENID_CLIENT_ID", "", "The id that the provider gave to this client."),
    Setting("openid_client_secret", "TALLYBOARD_OPENID_CLIENT_SECRET", "", "The secret that goes with it; none for a public client.", True),
    Setting("openid_name", "TALLYBOARD_OPENID_NAME", "single sign-on", "What people call the provider: the button says Sign in with …"),
    Setting(
        "openid_scopes",
        "TALLYBOARD_OPENID_SCOPES",
        "openid email profile",
        "What is asked of the provider, separated by spaces; some need groups here before they tell any.",
    ),
    Setting(
        "openid_domains",
        "TALLYBOARD_OPENID_DOMAINS",
        "",
        "Only emails of these domains get in through the provider, separated by commas; none or * for any.",
    ),
    Setting(
        "openid_new_members",
        "TALLYBOARD_OPENID_NEW_MEMBERS",
        "no",
        "yes makes a member of everybody with such an email who signs in for the first time; the domains must then be set.",
    ),
    Setting(
        "openid_admin_claim",
        "TALLYBOARD_OPENID_ADMIN_CLAIM",
        "",
        "The claim that decides at every sign-in who is an administrator, such as groups; without one Tallyboard keeps the role.",
    ),
    Setting(
        "openid_admin_values",
        "TALLYBOARD_OPENID_ADMIN_VALUES",
        "",
        "The values of that claim that make an administrator, separated by commas.",
    ),
    Setting("passwords", "TALLYBOARD_PASSWORDS", "yes", "no lets people in through the provider alone; sign-in links go on working."),
    Setting("log_level", "TALLYBOARD_LOG_LEVEL", "warning", "How much is logged: debug, info, warning or error."),
)


CONNECTIONS_MIN, CONNECTIONS_MAX = 2, 500
IDLE_HOURS_MIN, IDLE_HOURS_MAX = 1, 336
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_ANY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104  Compared with, not bound to.
_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class OpenId:
    """How people sign in with OpenID Connect."""

    issuer: str
    client_id: str
    client_secret: str
    name: str
    scopes: str
    domains: frozenset[str]
    """Whose emails get in; empty for any."""
    new_members: bool
    admin_claim: str
    admin_values: frozenset[str]


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process."""

    data: Path
    database_url: str
    database_connections: int
    host: str
    port: int
    public_url: str
    session_idle_hours: int
    allowed_hosts: tuple[str, ...]
    trusted_proxies: tuple[str, ...]
    plain_http: bool
    openid: OpenId | None
    passwords: bool
    log_level: str

    @property
    def place(self) -> str:
        """Where the data is, for people: without a password."""
        if not self.database_url:
            return str(self.data)
        try:
            address = urlsplit(self.database_url)
        except ValueError:
            return "a database"
        return f"{address.hostname or 'local'}{address.path}" if address.path.strip("/") else address.hostname or "the local PostgreSQL"

    @property
    def address(self) -> str:
        """Where people reach it, as far as the settings tell."""
        return self.public_url or f"http://{self.host}:{self.port}"

    @property
    def secure(self) -> bool:
        """Whether people come by https."""
        return self.public_url.startswith("https://")

    @property
    def host_names(self) -> frozenset[str]:
        """The names and addresses, without a port, that a browser may call this server by."""
        named = {self.host, urlsplit(self.public_url).hostname or ""} - _ANY_ADDRESS - {""}
        return frozenset({*LOOPBACK_NAMES, *self.allowed_hosts, *named})

    def check_exposure(self) -> None:
        """Invalid where others reach the server and what they type may be read on its way, unless that is meant."""
        if not (_is_loopback(self.host) or self.secure or self.plain_http):
            raise Invalid(
                f"{self.host} is reached by others, and without https whoever is on the way reads passwords, keys and usage. Put a proxy "
                "with TLS in front and set TALLYBOARD_PUBLIC_URL=https://…, or listen on 127.0.0.1, or, where only a proxy or this machine "
                "gets to that address, set TALLYBOARD_PLAIN_HTTP=yes"
            )


def read(given: Mapping[str, object] | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from what was given by name, else from the environment, else the defaults; Invalid names what is wrong."""
    given = given or {}
    texts = {
        setting.name: str(given[setting.name])
        if given.get(setting.name) is not None
        else environment.get(setting.variable, setting.default)
        for setting in TABLE
    }
    if texts["database_url"] and not texts["database_url"].startswith(("postgresql://", "postgres://")):
        raise Invalid("the database URL must begin with postgresql://, such as postgresql://tallyboard@db.example.com/tallyboard")
    connections = texts["database_connections"]
    if not connections.isdecimal() or not CONNECTIONS_MIN <= int(connections) <= CONNECTIONS_MAX:
        raise Invalid(f"the database connections must be a number from {CONNECTIONS_MIN} to {CONNECTIONS_MAX}, not {connections!r}")
    if not texts["port"].isdecimal() or not 0 <= int(texts["port"]) <= 65_535:
        raise Invalid(f"the port must be a number from 0 to 65535, not {texts['port']!r}")
    idle = texts["session_idle_hours"]
    if not idle.isdecimal() or not IDLE_HOURS_MIN <= int(idle) <= IDLE_HOURS_MAX:
        raise Invalid(
            f"the hours after which an unused session ends must be a number from {IDLE_HOURS_MIN} to {IDLE_HOURS_MAX}, not {idle!r}"
        )
    if texts["log_level"] not in {"debug", "info", "warning", "error"}:
        raise Invalid(f"the log level must be debug, info, warning or error, not {texts['log_level']!r}")
    if texts["public_url"] and not texts["public_url"].startswith(("http://", "https://")):
        raise Invalid("the public URL must begin with https:// or http://")
    openid = _openid(texts)
    passwords = _yes("passwords", texts)
    if openid is None and not passwords:
        raise Invalid("without passwords people sign in through a provider: set TALLYBOARD_OPENID_ISSUER, or TALLYBOARD_PASSWORDS=yes")
    return Settings(
        data=Path(texts["data"]),
        database_url=texts["database_url"],
        database_connections=int(connections),
        host=texts["host"],
        port=int(texts["port"]),
        public_url=texts["public_url"].rstrip("/"),
        session_idle_hours=int(idle),
        allowed_hosts=tuple(_host_name(each) for each in _listed(texts["allowed_hosts"])),
        trusted_proxies=tuple(_proxy(each) for each in _listed(texts["trusted_proxies"])),
        plain_http=_yes("plain_http", texts),
        openid=openid,
        passwords=passwords,
        log_level=texts["log_level"],
    )


def is_private(address: str) -> bool:
    """Whether nobody on the way reads what goes to an address: by https, or to this machine itself."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or "")))


def _openid(texts: Mapping[str, str]) -> OpenId | None:
    """How the provider is asked, None where no issuer is set; Invalid where what is set does not go together."""
    issuer = texts["openid_issuer"].strip()
    if not issuer:
        return None
    if not is_private(issuer):
        raise Invalid(f"the OpenID issuer must begin with https://, such as https://accounts.google.com, not {issuer[:80]!r}")
    client_id, client_secret = texts["openid_client_id"].strip(), texts["openid_client_secret"].strip()
    if not client_id:
        raise Invalid("set TALLYBOARD_OPENID_CLIENT_ID to the id that the provider gave to this client")
    if not (client_id + client_secret).isascii():
        raise Invalid("the OpenID client's id and secret are plain ASCII")
    domains = frozenset(_host_name(each.removeprefix("@")) for each in _listed(texts["openid_domains"]) if each != "*")
    new_members = _yes("openid_new_members", texts)
    if new_members and not texts["openid_domains"].strip():
        raise Invalid(
            "TALLYBOARD_OPENID_NEW_MEMBERS=yes would let in whoever has an account at the provider: set TALLYBOARD_OPENID_DOMAINS, "
            "to * where the provider knows your people alone"
        )
    admin_claim, admin_values = texts["openid_admin_claim"].strip(), frozenset(_listed(texts["openid_admin_values"]))
    if bool(admin_claim) != bool(admin_values):
        raise Invalid("TALLYBOARD_OPENID_ADMIN_CLAIM and TALLYBOARD_OPENID_ADMIN_VALUES go together: which claim, and which values of it")
    scopes = texts["openid_scopes"].split()
    if "openid" not in scopes:
        raise Invalid("TALLYBOARD_OPENID_SCOPES must name openid")
    return OpenId(
        issuer=issuer,
        client_id=client_id,
        client_secret=client_secret,
        name=texts["openid_name"].strip() or "single sign-on",
        scopes=" ".join(scopes),
        domains=domains,
        new_members=new_members,
        admin_claim=admin_claim,
        admin_values=admin_values,
    )


def _yes(name: str, texts: Mapping[str, str]) -> bool:
    """A setting that is yes or no; Invalid where it is neither."""
    if texts[name] not in {"yes", "no"}:
        variable = next(each.variable for each in TABLE if each.name == name)
        raise Invalid(f"{variable} must be yes or no, not {texts[name]!r}")
    return texts[name] == "yes"


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _host_name(text: str) -> str:
    name = text.lower().strip("[]")
    if not (_HOST_NAME.fullmatch(name) or _is_address(name)):
        raise Invalid(f"allowed hosts and domains are names or addresses without a port, such as usage.example.com, not {text!r}")
    return name


def _proxy(text: str) -> str:
    try:
        ip_network(text)
    except ValueError:
        raise Invalid(f"the trusted proxies are addresses or networks, such as 10.0.0.5 or 10.0.0.0/24, not {text!r}") from None
    return text


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
