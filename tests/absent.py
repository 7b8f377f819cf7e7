"""What a test needs and does not find: elsewhere the test is skipped, in CI it fails.

CI installs all that apt and pip can bring, so that nothing of it is missing there unnoticed. What
no package brings (a GPU, the right to mount, another user than root) stays a plain skip, with its
reason.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pytest


def absent(reason: str) -> NoReturn:
    """Skip the test, or the file, that runs; in CI let it fail."""
    if os.environ.get("CI"):
        pytest.fail(f"absent, though CI has to bring it: {reason}", pytrace=False)
    pytest.skip(f"ABSENT: {reason}", allow_module_level=True)


def needs_package(name: str) -> None:
    """Look for a package without importing it, which another process will do."""
    if not _is_made_for_here(name):
        pytest.skip(f"there is no {name} for this system and Python", allow_module_level=True)
    if find_spec(name) is None:
        absent(f"{name} is not installed")


def required(name: str) -> Any:
    """Return a module of a package that may not be installed."""
    needs_package(name.partition(".")[0])
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        absent(f"{name} cannot be imported: {error}")


def _is_made_for_here(package: str) -> bool:
    # As the extra "dev" has them in pyproject.toml.
    is_linux = sys.platform == "linux"
    if package in ("tensorflow", "atheris"):
        return is_linux and sys.version_info < (3, 14)
    return is_linux or package != "xgboost"


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system mounted at a new folder, for as long as the block runs."""
    if shutil.which("mount") is None:
        absent("mount is not installed: NO TEST HAS A FILE SYSTEM OF ITS OWN")
    folder.mkdir()
    command = ["mount", *options, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        # Most containers may not, whatever is installed in them.
        pytest.skip(f"NOTHING CAN BE MOUNTED HERE, which takes root: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=20)


def needs_disk(folder: Path) -> None:
    """Skip where a folder is in memory: nothing can be dropped from the page cache there."""
    kinds = dict(line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines())
    place = max((m for m in kinds if folder.is_relative_to(m)), key=len)
    if kinds[place] in ("tmpfs", "ramfs"):
        pytest.skip("the temporary folder is in memory here (pytest --basetemp= takes another)")
