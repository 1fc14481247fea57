"""Every setting in one table: name, variable, default, help. Read at the top and handed down."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tallyboard.errors import Invalid


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, its environment variable, and its default as text."""

    name: str
    variable: str
    default: str
    help: str


TABLE = (
    Setting("data", "TALLYBOARD_DATA", "./data", "The data folder of the embedded engine."),
    Setting("host", "TALLYBOARD_HOST", "127.0.0.1", "The address to listen on."),
    Setting("port", "TALLYBOARD_PORT", "8321", "The port to listen on."),
    Setting(
        "public_url", "TALLYBOARD_PUBLIC_URL", "", "The address people open, such as https://usage.example.com; https makes cookies secure."
    ),
    Setting("log_level", "TALLYBOARD_LOG_LEVEL", "warning", "How much is logged: debug, info, warning or error."),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process."""

    data: Path
    host: str
    port: int
    public_url: str
    log_level: str

    @property
    def secure(self) -> bool:
        """Whether people come by https."""
        return self.public_url.startswith("https://")


def read(given: Mapping[str, object] | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from what was given by name, else from the environment, else the defaults; Invalid names what is wrong."""
    given = given or {}
    texts = {
        setting.name: str(given[setting.name])
        if given.get(setting.name) is not None
        else environment.get(setting.variable, setting.default)
        for setting in TABLE
    }
    if environment.get("TALLYBOARD_DATABASE_URL"):
        raise Invalid("TALLYBOARD_DATABASE_URL is set, but this version has the embedded engine only; unset it and use --data")
    if not texts["port"].isdecimal() or not 0 <= int(texts["port"]) <= 65_535:
        raise Invalid(f"the port must be a number from 0 to 65535, not {texts['port']!r}")
    if texts["log_level"] not in {"debug", "info", "warning", "error"}:
        raise Invalid(f"the log level must be debug, info, warning or error, not {texts['log_level']!r}")
    if texts["public_url"] and not texts["public_url"].startswith(("http://", "https://")):
        raise Invalid("the public URL must begin with https:// or http://")
    return Settings(Path(texts["data"]), texts["host"], int(texts["port"]), texts["public_url"].rstrip("/"), texts["log_level"])
