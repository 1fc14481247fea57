"""What a release consists of, and that everything it needs is pinned to the byte."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests import engines
from tests.environments import ROOT

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ \\;]+)", re.MULTILINE)


@pytest.mark.parametrize("lock", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda lock: lock.stem)
def test_everything_that_is_installed_is_pinned_with_hashes(lock: Path) -> None:
    blocks = re.split(r"\n(?=\S)", "\n".join(line for line in lock.read_text().splitlines() if not line.lstrip().startswith("#")))
    assert blocks
    for block in blocks:
        assert _PINNED.match(block), block
        assert "--hash=sha256:" in block, block


@engines.once
@pytest.mark.slow
def test_a_release_says_what_is_in_it(tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "release", f"DIST={tmp_path}", f"PYTHON={sys.executable}"], cwd=ROOT, capture_output=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr.decode()[-4_000:]
    for_python, interface = (_components(tmp_path / f"sbom-{part}.cdx.json") for part in ("python", "interface"))
    locked = set(_PINNED.findall((ROOT / "requirements" / "runtime.txt").read_text()))
    assert {(each["name"], each["version"]) for each in for_python} == locked
    assert all("SHA-256" in json.dumps(each) for each in for_python)
    shipped = json.loads((ROOT / "frontend" / "package.json").read_text())["dependencies"]
    assert {(each["name"], each["version"]) for each in interface} == set(shipped.items())
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("assets/manifest.json") for name in names)
    assert list(tmp_path.glob("*.tar.gz"))


def _components(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["components"]
    return found
