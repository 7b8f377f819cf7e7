"""Builds what is handed out, and installs it as anybody would, in folders of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from absent import absent

ROOT = Path(__file__).parents[2]
_UNREACHABLE = re.compile(r"NewConnectionError|NameResolutionError|ConnectTimeout|ProxyError")
FULL = os.environ.get("HOLDFAST_PACKAGING") == "full"


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command that knows of no tree of holdfast's, and return what it prints.

    Raises:
        AssertionError: It failed; with what it said.
    """
    ours = ("HOLDFAST_", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stderr}"
    return done.stdout


def build(into: Path, *what: str) -> Path:
    """Build the sdist, and from that the wheel, with the build tools that are installed here."""
    run(sys.executable, "-m", "build", "--no-isolation", *what, "--outdir", into, ROOT)
    return into


def pythons() -> list[str]:
    """Return the Pythons to install on: this one, or all on the path if all is asked for."""
    found = [shutil.which(f"python3.{minor}") for minor in range(11, 20)] if FULL else []
    usable = [python for python in found if python and _starts(python)]
    return usable or [sys.executable]


def _starts(python: str) -> bool:
    # Version managers put names on the path that stand for nothing.
    return subprocess.run([python, "-c", "import venv"], capture_output=True).returncode == 0


class Installed(NamedTuple):
    """An environment in which holdfast was installed."""

    folder: Path

    def python(self, code: str, cwd: Path | None = None) -> str:
        """Run code in a fresh interpreter, and return what it prints."""
        # Isolated: neither the folder that it runs in nor the user's packages are looked at.
        return run(self.folder / "bin" / "python", "-I", "-c", code, cwd=cwd).strip()

    def holdfast(self, *arguments: str | Path) -> str:
        """Run the command that was installed, and return what it prints."""
        return run(self.folder / "bin" / "holdfast", *arguments).strip()

    def distributions(self) -> dict[str, metadata.Distribution]:
        """Return what is installed, by name."""
        (site,) = self.folder.glob("lib/python3.*/site-packages")
        found = metadata.distributions(path=[str(site)])
        return {one.metadata["Name"].lower(): one for one in found}


def install(python: str, folder: Path, *what: str) -> Installed:
    """Install into a fresh environment; nothing is compiled, as there need be no compiler."""
    run(python, "-m", "venv", "--without-pip", folder)
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python")
    try:
        run(*pip, "--disable-pip-version-check", "install", "-q", "--only-binary", ":all:", *what)
    except AssertionError as failed:
        if _UNREACHABLE.search(str(failed)):
            absent("no package index can be reached, so that nothing can be installed")
        raise
    return Installed(folder)
