"""The real command, serving a store to whoever asks."""

from __future__ import annotations

import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
