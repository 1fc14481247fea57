"""What the page weighs on its way to a browser, in kB of gzip (the font is compressed by itself)."""

import gzip
import json
from importlib import resources
from pathlib import Path

import httpx
from msgspec import Struct

from benchmarks import sample, sender, servers

USERS_ROWS = 200
EVENTS = 10_000
JS_BAR_KB = 25.0


class Weight(Struct, frozen=True):
    """A part of the page and its size as it is sent."""

    part: str
    kilobytes: float


def measure(folder: Path) -> list[Weight]:
    """The built assets, and the page of 200 users as the server sends it."""
    return [
        Weight("JavaScript", _asset_kilobytes(".js")),
        Weight("style", _asset_kilobytes(".css")),
        Weight("fonts (the second only for names beyond Latin)", _asset_kilobytes(".woff2")),
        Weight(f"HTML with {USERS_ROWS} users", _page_kilobytes(folder)),
    ]


def _asset_kilobytes(ending: str) -> float:
    """All assets of a kind that the manifest names."""
    assets = resources.files("tallyboard.web").joinpath("assets")
    names = [name for name in json.loads(assets.joinpath("manifest.json").read_text()).values() if name.endswith(ending)]
    contents = [assets.joinpath(name).read_bytes() for name in names]
    return sum(len(content) if ending == ".woff2" else len(gzip.compress(content, 6)) for content in contents) / 1000


def _page_kilobytes(folder: Path) -> float:
    """Sign in by the link that the server printed, and weigh the page."""
    with servers.tallyboard(folder / "page") as service, httpx.Client(follow_redirects=True, timeout=30) as browser:
        sender.send([service], 1_000, EVENTS // 1_000, 1, 29 * sample.DAY_US)
        browser.get(service.printed).raise_for_status()
        request = browser.build_request("GET", f"{service.address}/usage", headers={"accept-encoding": "gzip"})
        answer = browser.send(request, stream=True).raise_for_status()
        sent = b"".join(answer.iter_raw())
        html = gzip.decompress(sent).decode() if answer.headers.get("content-encoding") == "gzip" else sent.decode()
        assert html.count("<tr") >= USERS_ROWS, "the page does not show 200 users"
        return len(sent) / 1000
