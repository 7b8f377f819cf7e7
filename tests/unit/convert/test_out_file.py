"""Files that are made at offsets: past the page cache, through it, and in any mixture."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from holdfast.convert.out_file import OutFile
from holdfast.convert.reading_back import read_back
from holdfast.convert.streaming import WrittenSpan
from holdfast.errors import IncompleteWrite
from holdfast.store import stretches

MIB = 1 << 20
STRETCHES = [
    (0, 100),
    (100, 3 * MIB + 17),
    (4 * MIB, 2 * MIB),
    (7 * MIB + 1, 9 * MIB),
    (16 * MIB + 5, 1),
]
SIZE = 16 * MIB + 7


def written(path: Path) -> tuple[OutFile, bytes]:
    data = os.urandom(9 * MIB + 64)
    expected = bytearray(SIZE)
    file = OutFile(path, SIZE)

    def write(stretch: tuple[int, int]) -> None:
        offset, n = stretch
        # From memory that is aligned and from such that is not.
        piece = memoryview(data)[offset % 64 : offset % 64 + n]
        expected[offset : offset + n] = piece
        file.write(piece, offset)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, STRETCHES))
    file.sync()
    return file, bytes(expected)


def test_every_byte_is_where_it_should_be(tmp_path: Path) -> None:
    file, expected = written(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == expected
    for offset, n in [*STRETCHES, (5, SIZE), (SIZE - 1, 9), (12345, 10 * MIB)]:
        assert b"".join(map(bytes, file.read(offset, n))) == expected[offset : offset + n]
    file.close()


@pytest.mark.parametrize("refuses", ["open", "write"])
def test_a_file_system_without_direct_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: str
) -> None:
    real_open, real_write = os.open, os.pwrite

    def opening(path: object, flags: int, *more: int) -> int:
        if refuses == "open" and flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "no direct I/O")
        return real_open(path, flags, *more)  # type: ignore[call-overload, no-any-return]

    def writing(fd: int, data: memoryview, offset: int) -> int:
        import fcntl

        if refuses == "write" and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, "no direct I/O")
        return real_write(fd, data, offset)

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "pwrite", writing)
    file, expected = written(tmp_path / "x")
    file.close()
    assert (tmp_path / "x").read_bytes() == expected


def test_what_is_not_as_it_was_written_is_found(tmp_path: Path) -> None:
    import xxhash

    file, expected = written(tmp_path / "x")
    spans = [
        WrittenSpan(0, offset, n, xxhash.xxh3_64_intdigest(expected[offset : offset + n]))
        for offset, n in STRETCHES
    ]
    told: list[int] = []
    read_back(spans, [file], told.append)
    assert sum(told) == sum(n for _, n in STRETCHES)
    with open(tmp_path / "x", "r+b") as other:
        other.seek(9 * MIB)
        other.write(bytes(1) if expected[9 * MIB] else b"\x01")
    with pytest.raises(IncompleteWrite, match="not what is read back"):
        read_back(spans, [file], told.append)
    file.close()


@pytest.mark.parametrize("is_cached", [True, False])
def test_stretches_are_read_from_wherever_they_are(tmp_path: Path, is_cached: bool) -> None:
    data = os.urandom(6 * MIB + 11)
    (tmp_path / "x").write_bytes(data)
    fd = os.open(tmp_path / "x", os.O_RDWR)
    if not is_cached:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    for offset, n in [(0, len(data)), (13, 5 * MIB), (4096, 2 * MIB), (MIB + 1, 10 * MIB), (3, 9)]:
        into = bytearray(n)
        found = stretches.read_stretch(fd, memoryview(into), offset)
        assert bytes(into[:found]) == data[offset : offset + n]
        assert found == min(n, len(data) - offset)
    os.close(fd)
