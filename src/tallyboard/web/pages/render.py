"""Templates: HTML with every value escaped and every name defined, and the built assets they refer to."""

from functools import lru_cache
from importlib import resources
from pathlib import Path

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined

ASSETS = Path(str(resources.files("tallyboard.web").joinpath("assets")))


@lru_cache(maxsize=1)
def assets() -> dict[str, str]:
    """The built files by the name the sources use; made by `make setup`."""
    manifest: dict[str, str] = orjson.loads((ASSETS / "manifest.json").read_bytes())
    return manifest


def html(template: str, **context: object) -> bytes:
    """A page."""
    return _environment().get_template(template).render(assets=assets(), **context).encode()


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("tallyboard.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
