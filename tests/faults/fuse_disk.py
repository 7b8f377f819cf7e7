"""A disk in user space: a file whose every write and flush is noted, and which can be broken.

A loop device on that file is a disk to the kernel: what a file system sends to it arrives here. Run
as ``python -m faults.fuse_disk FOLDER``: serves ``FOLDER/image`` as ``FOLDER/served/disk``; obeys
``FOLDER/mode`` and appends to ``FOLDER/log`` where that exists.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.disks import CannotMake, unmount

GOOD, NO_WRITES, NOTHING = "good", "no writes", "nothing"
HEADER = struct.Struct("<BQI")
WRITE, FLUSH = 1, 2
_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes that the file system has sent to the disk."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """Everything that was sent before is on the disk."""


Event = Write | Flush


def events(log: bytes) -> Iterator[Event]:
    """Yield what a log has."""
    at = 0
    while at < len(log):
        kind, offset, length = HEADER.unpack_from(log, at)
        at += HEADER.size
        if kind == FLUSH:
            yield Flush()
        else:
            yield Write(offset, log[at : at + length])
            at += length


class ServedDisk:
    """The disk as it is seen by who uses it."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "image"
        self.device = folder / "served" / "disk"
        self._mode = folder / "mode"
        self._log = folder / "log"

    def be(self, mode: str) -> None:
        """Let the disk work, refuse to write, or refuse everything, from now on."""
        fresh = self._mode.with_suffix(".new")
        fresh.write_text(mode)
        fresh.rename(self._mode)

    def record(self) -> None:
        """Note from now on what is written."""
        self._log.write_bytes(b"")

    def recorded(self) -> bytes:
        return self._log.read_bytes()

    def stop_recording(self) -> bytes:
        log = self._log.read_bytes()
        self._log.unlink()
        return log


@contextmanager
def served_disk(folder: Path, nbytes: int) -> Iterator[ServedDisk]:
    """Serve an empty disk from a process of its own, until the end."""
    (folder / "served").mkdir(parents=True)
    disk = ServedDisk(folder)
    disk.be(GOOD)
    with open(disk.image, "wb") as file:
        file.truncate(nbytes)
    command = [sys.executable, "-m", "faults.fuse_disk", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with open(folder / "server.txt", "wb") as told:
        server = subprocess.Popen(command, stdout=told, stderr=told, env=environment)
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while not disk.device.exists():
            if server.poll() is not None or time.monotonic() > deadline:
                raise CannotMake(f"no FUSE here: {(folder / 'server.txt').read_text()[-300:]}")
            time.sleep(0.01)
        yield disk
    finally:
        disk.be(GOOD)
        if server.poll() is None:
            unmount(folder / "served")
            server.wait(_PATIENCE_S)


def serve(folder: Path) -> None:
    import mfusepy

    class Served(mfusepy.Operations):  # type: ignore[misc]
        """One file, ``disk``."""

        use_ns = True

        def __init__(self) -> None:
            self._fd = os.open(folder / "image", os.O_RDWR)
            self._mode = folder / "mode"
            self._log = folder / "log"

        def getattr(self, path: str, fh: Any = None) -> dict[str, int]:
            if path == "/":
                return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
            if path != "/disk":
                raise mfusepy.FuseOSError(errno.ENOENT)
            size = os.fstat(self._fd).st_size
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": size}

        def readdir(self, path: str, fh: Any) -> list[str]:
            return [".", "..", "disk"]

        def open(self, path: str, flags: int) -> int:
            return 0

        def read(self, path: str, size: int, offset: int, fh: Any) -> bytes:
            self._unless(NOTHING)
            return os.pread(self._fd, size, offset)

        def write(self, path: str, data: bytes, offset: int, fh: Any) -> int:
            self._unless(NOTHING, NO_WRITES)
            self._note(WRITE, offset, data)
            return os.pwrite(self._fd, data, offset)

        def fsync(self, path: str, datasync: bool, fh: Any) -> int:
            self._unless(NOTHING, NO_WRITES)
            self._note(FLUSH, 0, b"")
            return 0

        def _unless(self, *modes: str) -> None:
            if self._mode.read_text() in modes:
                raise mfusepy.FuseOSError(errno.EIO)

        def _note(self, kind: int, offset: int, data: bytes) -> None:
            if self._log.exists():
                with open(self._log, "ab") as log:
                    log.write(HEADER.pack(kind, offset, len(data)) + data)

    mfusepy.FUSE(Served(), str(folder / "served"), foreground=True, nothreads=True, direct_io=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
