"""What this machine can do at best: memory copy, digest, raw direct write, raw read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from holdfast.bench import files
from holdfast.store.memory_pages import private_memory

_BLOCK_BYTES = 4096
_FILE_BYTES = 64 << 20
_IN_FLIGHT = 8
_O_DIRECT = getattr(os, "O_DIRECT", 0)

Range = tuple[int, int]


class Limits:
    """Measures with two touched, page-aligned buffers of the state's size."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self._source, self._target = _touched(nbytes, 1), _touched(nbytes, 2)

    def copy_s(self) -> float:
        """Time one copy of the state between touched buffers, one piece per core."""
        source, target = np.frombuffer(self._source, "u1"), np.frombuffer(self._target, "u1")

        def copy(piece: Range) -> None:
            np.copyto(target[slice(*piece)], source[slice(*piece)])

        return _timed(copy, _pieces(self.nbytes, -(-self.nbytes // cores())), cores())

    def digest_s(self) -> float:
        """Time one BLAKE3 pass over the state, all cores."""

        def digest(piece: Range) -> None:
            blake3(memoryview(self._source)[slice(*piece)]).digest()

        return _timed(digest, _pieces(self.nbytes, 16 << 20), cores())

    def write_s(self, folder: Path) -> float:
        """Time writing the state as new files: direct, several in flight, durable at the end."""
        folder.mkdir()
        view = memoryview(self._source)

        def write(piece: Range) -> None:
            start, stop = piece
            _write_new(folder / str(start), view[start:stop])

        def all_durable() -> None:
            files.sync(folder)
            files.sync(folder.parent)

        return _timed(write, _pieces(self.nbytes, _FILE_BYTES), _IN_FLIGHT, all_durable)

    def read_s(self, folder: Path, *, direct: bool) -> float:
        """Time reading what `write_s` wrote into a touched buffer; direct goes past the cache."""
        view = memoryview(self._target)

        def read(piece: Range) -> None:
            start, stop = piece
            _read_into(folder / str(start), view[start:stop], direct)

        return _timed(read, _pieces(self.nbytes, _FILE_BYTES), _IN_FLIGHT)

    def close(self) -> None:
        """Give the memory back."""
        for buffer in (self._source, self._target):
            with suppress(BufferError):  # A view in a traceback must not hide what went wrong.
                buffer.close()


def _write_new(path: Path, data: memoryview) -> None:
    """Write a file that did not exist: whole blocks directly, the rest buffered."""
    whole = len(data) - len(data) % _BLOCK_BYTES
    with _opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, direct=True) as fd:
        done = 0
        while done < whole:
            done += os.pwrite(fd, data[done:whole], done)
        os.fsync(fd)
    if whole < len(data):
        with _opened(path, os.O_WRONLY, direct=False) as fd:
            os.pwrite(fd, data[whole:], whole)
            os.fsync(fd)


def _read_into(path: Path, data: memoryview, direct: bool) -> None:
    whole = len(data) - len(data) % _BLOCK_BYTES if direct else len(data)
    with _opened(path, os.O_RDONLY, direct=direct) as fd:
        done = 0
        while done < whole:
            done += os.preadv(fd, [data[done:whole]], done)
    if whole < len(data):
        with _opened(path, os.O_RDONLY, direct=False) as fd:
            os.preadv(fd, [data[whole:]], whole)


@contextmanager
def _opened(path: Path, flags: int, *, direct: bool) -> Iterator[int]:
    """Open past the page cache where the file system lets us, ordinarily where it does not."""
    fd = -1
    if direct and _O_DIRECT:
        try:
            fd = os.open(path, flags | _O_DIRECT, 0o600)
        except OSError:
            # The refused open may have made the file.
            flags &= ~os.O_EXCL
    if fd < 0:
        fd = os.open(path, flags, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def _timed(
    work: Callable[[Range], None],
    pieces: Iterable[Range],
    threads: int,
    last: Callable[[], None] | None = None,
) -> float:
    pieces = list(pieces)
    with ThreadPoolExecutor(threads) as pool:
        # Threads start outside the measurement.
        list(pool.map(time.sleep, [0.001] * threads))
        start = time.perf_counter()
        list(pool.map(work, pieces))
        if last is not None:
            last()
        return time.perf_counter() - start


def _pieces(nbytes: int, piece_bytes: int) -> Iterator[Range]:
    return ((start, min(start + piece_bytes, nbytes)) for start in range(0, nbytes, piece_bytes))


def _touched(nbytes: int, value: int) -> Any:
    # Large pages: the disk reads and writes them faster, and a limit is the best that there is.
    buffer = private_memory(nbytes)
    np.frombuffer(buffer, "u1")[:] = value
    return buffer


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
