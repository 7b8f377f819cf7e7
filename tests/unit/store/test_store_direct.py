"""Files written and read past the page cache, and the ways back to it."""

from __future__ import annotations

import errno
import mmap
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from absent import needs_disk
from holdfast.store import direct
from holdfast.store.residency import Residency

BLOCK = direct.BLOCK


def aligned(data: bytes) -> memoryview:
    memory = memoryview(mmap.mmap(-1, max(1, len(data))))
    memory[: len(data)] = data
    return memory[: len(data)]


def write(path: Path, buffers: list[memoryview], *, is_direct: bool = True) -> tuple[int, bool]:
    """Return the bytes written, and whether the file was direct to the end."""
    fd = direct.open_for_writing(str(path), 0o600, direct=is_direct)
    try:
        return direct.write_all(fd, buffers), direct.is_direct(fd)
    finally:
        os.close(fd)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def test_a_file_that_is_there_is_never_overwritten(path: Path) -> None:
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        direct.open_for_writing(str(path), 0o600, direct=False)
    with pytest.raises(FileExistsError):
        direct.open_for_writing(str(path), 0o600, direct=True)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("tail", [0, 1, 511, 512, 4095])
def test_a_ragged_tail_is_written(path: Path, tail: int) -> None:
    data = random.Random(tail).randbytes(8 * BLOCK + tail)
    written, _ = write(path, [aligned(data[: 3 * BLOCK]), aligned(data[3 * BLOCK :])])
    assert written == len(data)
    assert path.read_bytes() == data


def test_buffers_at_odd_addresses_are_written(path: Path) -> None:
    # ext4 and XFS refuse these with EINVAL at the write, not at the open.
    data = random.Random(0).randbytes(1 << 20)
    odd = aligned(b"abc" + data)[3:]
    assert write(path, [odd])[0] == len(data)
    assert path.read_bytes() == data


def test_short_writes_are_continued(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, counts = os.writev, iter([5, 1, 4096, 100, 7])

    def short(fd: int, buffers: list[memoryview]) -> int:
        n = next(counts, None)
        return real(fd, buffers) if n is None else os.write(fd, b"".join(buffers)[:n])

    monkeypatch.setattr(os, "writev", short)
    data = random.Random(1).randbytes(20_000)
    parts = [memoryview(data)[i : i + 3333] for i in range(0, len(data), 3333)]
    assert write(path, parts, is_direct=False)[0] == len(data)
    assert path.read_bytes() == data


def test_a_short_write_that_breaks_the_alignment_goes_on_buffered(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, counts = os.writev, iter([BLOCK])
    data = random.Random(2).randbytes(4 * BLOCK + 77)

    def short(fd: int, buffers: list[memoryview]) -> int:
        n = next(counts, None)
        return real(fd, buffers) if n is None else real(fd, [buffers[0][:n]])

    monkeypatch.setattr(os, "writev", short)
    written, still_direct = write(path, [aligned(data)])
    assert written == len(data)
    assert path.read_bytes() == data
    assert not still_direct


def test_a_file_system_that_takes_nothing_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "writev", lambda fd, buffers: 0)
    with pytest.raises(OSError, match="wrote nothing"):
        write(path, [aligned(b"x")], is_direct=False)


def test_a_refusal_that_is_not_about_direct_io_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, buffers: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "writev", refuse)
    with pytest.raises(OSError, match="Invalid argument"):
        write(path, [aligned(b"x" * BLOCK)])


def test_an_error_at_open_that_is_not_about_direct_io_is_raised(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        direct.open_for_reading(str(tmp_path / "none"), direct=True)


@pytest.mark.parametrize(
    ("offset", "nbytes"), [(0, 9999), (BLOCK, 5000), (BLOCK, BLOCK), (3, 5), (9998, 1)]
)
def test_reading_at_any_place(path: Path, offset: int, nbytes: int) -> None:
    data = random.Random(3).randbytes(9999)
    path.write_bytes(data)
    for is_direct in (False, True):
        fd = direct.open_for_reading(str(path), direct=is_direct)
        into = aligned(bytes(nbytes))
        direct.read_exactly(fd, into, offset)
        os.close(fd)
        assert into == data[offset : offset + nbytes]


def test_short_reads_are_continued(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random.Random(4).randbytes(10_000)
    path.write_bytes(data)
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, into, at: real(fd, [into[0][:999]], at))
    fd = direct.open_for_reading(str(path), direct=True)
    into = aligned(bytes(10_000))
    direct.read_exactly(fd, into, 0)
    os.close(fd)
    assert into == data


def test_the_end_of_the_file_is_told(path: Path) -> None:
    path.write_bytes(bytes(100))
    fd = direct.open_for_reading(str(path), direct=False)
    with pytest.raises(EOFError, match="byte 100"):
        direct.read_exactly(fd, aligned(bytes(101)), 0)
    os.close(fd)


# --- what the page cache holds ---


def drop(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="needs Linux")
def test_what_is_cached_is_known_without_touching_it(tmp_path: Path, path: Path) -> None:
    needs_disk(tmp_path)
    data = random.Random(5).randbytes(64 * BLOCK)
    path.write_bytes(data)
    drop(path)
    fd = direct.open_for_reading(str(path), direct=False)
    residency = Residency(fd, len(data))
    into = bytearray(BLOCK)
    assert not residency.covers(0, 1)
    assert not residency.covers(0, len(data))
    os.pread(fd, 1, 40 * BLOCK)
    assert residency.covers(40 * BLOCK, BLOCK)
    assert residency.covers(40 * BLOCK + 1, 3)
    assert direct.read_if_cached(fd, memoryview(into), 40 * BLOCK)
    assert into == data[40 * BLOCK : 41 * BLOCK]
    assert not residency.covers(0, len(data))
    path.read_bytes()
    assert residency.covers(0, len(data))
    assert not residency.covers(0, len(data) + 1)
    residency.close()
    assert not residency.covers(0, 1)
    os.close(fd)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="needs Linux")
def test_what_is_cached_only_in_part_is_found_out_by_the_read(tmp_path: Path, path: Path) -> None:
    needs_disk(tmp_path)
    data = random.Random(0).randbytes(3 << 20)
    path.write_bytes(data)
    drop(path)
    fd = direct.open_for_reading(str(path), direct=False)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # Nothing is read ahead.
    residency, into = Residency(fd, len(data)), memoryview(bytearray(len(data)))
    for page in (0, 1 << 20, 2 << 20, (3 << 20) - BLOCK):
        os.pread(fd, 1, page)
    assert residency.covers(0, len(data))
    assert not direct.read_if_cached(fd, into, 0)
    os.pread(fd, len(data), 0)
    assert residency.covers(0, len(data))
    assert direct.read_if_cached(fd, into, 0)
    assert into == data
    residency.close()
    os.close(fd)


def test_an_empty_file_has_nothing_cached(path: Path) -> None:
    path.write_bytes(b"")
    fd = direct.open_for_reading(str(path), direct=False)
    residency = Residency(fd, 0)
    assert not residency.covers(0, 1)
    residency.close()
    os.close(fd)


def test_a_file_that_cannot_be_mapped_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it can be read, reading tells; a disk that fails is told as such there."""
    holdfast.save(tmp_path / "store", {"w": np.arange(1000)}, run="r", step=1, rng=False)

    real, refused = mmap.mmap, []

    def of_memory_only(fd: int, *more: Any, **named: Any) -> mmap.mmap:
        if fd < 0:
            return real(fd, *more, **named)
        refused.append(fd)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(mmap, "mmap", of_memory_only)
    np.testing.assert_equal(holdfast.load(tmp_path / "store", "r@1"), {"w": np.arange(1000)})
    assert refused
