"""A store with everything in it that pages show, and the real command that shows it."""

from __future__ import annotations

import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from web.training import HOSTILE, make_store

COMMAND = Path(sysconfig.get_path("scripts")) / "holdfast"


@dataclass(frozen=True)
class Served:
    """A store that is shown, and the address to open."""

    store: Path
    address: str

    @property
    def origin(self) -> str:
        return self.address.partition("/?")[0].rstrip("/")


@contextmanager
def served(store: Path, *options: str) -> Iterator[Served]:
    """Start ``holdfast ui`` on a store."""
    command = [str(COMMAND), "--store", str(store), "ui", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://")
        yield Served(store, address)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("web") / "ckpts")


@pytest.fixture(scope="session")
def site(store: Path) -> Iterator[Served]:
    """The store, read-only."""
    with served(store) as found:
        yield found


@pytest.fixture
def changing(tmp_path: Path) -> Iterator[Served]:
    """A store of its own, which may be changed."""
    with served(make_store(tmp_path / "ckpts"), "--allow-changes") as found:
        yield found


__all__ = ["HOSTILE", "Served", "served"]
