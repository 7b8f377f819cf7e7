"""How much memory is free: the system's word, and that of the control group."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.store.free_memory import free_memory_bytes

MEMINFO = "MemTotal:  8000 kB\nMemAvailable:  4000 kB\nHugePages_Total:  0\n"


@pytest.fixture
def meminfo(tmp_path: Path) -> str:
    (tmp_path / "meminfo").write_text(MEMINFO)
    return str(tmp_path / "meminfo")


def group(folder: Path, limit: str, used: int, files: int, shared: int) -> str:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\nfile {files}\nshmem {shared}\n")
    return str(folder)


def test_the_system_tells(meminfo: str, tmp_path: Path) -> None:
    assert free_memory_bytes(meminfo, str(tmp_path / "none")) == 4000 * 1024
    assert free_memory_bytes(str(tmp_path / "none"), str(tmp_path)) is None


@pytest.mark.parametrize(
    ("limit", "used", "free"),
    [
        ("max", 10, 4000 * 1024),
        ("9000000000", 10, 4000 * 1024),
        ("1000000", 600_000, 1_000_000 - 600_000 + 200_000 - 50_000),
        ("1000000", 3_000_000, 0),
    ],
)
def test_the_group_may_have_less(
    meminfo: str, tmp_path: Path, limit: str, used: int, free: int
) -> None:
    at = group(tmp_path, limit, used, files=200_000, shared=50_000)
    assert free_memory_bytes(meminfo, at) == free
