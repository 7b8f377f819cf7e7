"""A store with everything in it that pages show, and the real command that shows it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from absent import absent
from web.chromium import ARGUMENTS
from web.serving import Served, served
from web.training import make_store


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that nobody shows or changes: what tests have are copies, made in no time."""
    return make_store(tmp_path_factory.mktemp("made") / "ckpts")


@pytest.fixture(scope="session")
def store(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(made, tmp_path_factory.mktemp("web") / "ckpts"))


@pytest.fixture(scope="session")
def site(store: Path) -> Iterator[Served]:
    """The store, read-only."""
    with served(store) as found:
        yield found


@pytest.fixture
def changing(made: Path, tmp_path: Path) -> Iterator[Served]:
    """A store of its own, which may be changed."""
    own = Path(shutil.copytree(made, tmp_path / "ckpts"))
    with served(own, "--allow-changes") as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = next(
        (p for name in ("chromium", "chromium-browser") if (p := shutil.which(name))), None
    )
    if found is None:
        absent("Chromium is not installed: NO PAGE IS SEEN IN A BROWSER (apt-get install chromium)")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield made
        made.close()
