"""Environments of their own for clients that do not go together with the rest: made once by their hashed locks, kept in `.venv-NAME`."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def python_of(name: str) -> Path:
    """The Python of the environment that `requirements/NAME.txt` describes."""
    folder = ROOT / f".venv-{name}"
    python, ready = folder / "bin" / "python", folder / ".ready"
    lock = ROOT / "requirements" / f"{name}.txt"
    if not ready.exists() or ready.read_text() != lock.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True, capture_output=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "-r", lock]
        done = subprocess.run(install, capture_output=True, check=False, env=dict(os.environ))
        assert done.returncode == 0, done.stderr.decode()
        ready.write_text(lock.read_text())
    return python
