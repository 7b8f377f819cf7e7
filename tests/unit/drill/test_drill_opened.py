"""Whether a file is read by anybody, by whatever means."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.drill.opened import Opened

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify")


def test_what_is_read_is_seen_and_what_is_written_is_not(tmp_path: Path) -> None:
    path, link, other = tmp_path / "a.pt", tmp_path / "link.pt", tmp_path / "b.pt"
    path.write_text("x")
    other.write_text("x")
    link.symlink_to(path)
    with closing(Opened([str(path), str(tmp_path / "none")])) as opened:
        assert not opened.any()
        other.read_text()
        path.write_text("y")
        os.stat(path)
        assert not opened.any()
        link.read_text()
        assert opened.any() and not opened.any()
        # As a library does that is no Python: mapped into memory, without a call that reads.
        libc = ctypes.CDLL(None)
        fd = libc.open(os.fsencode(path), os.O_RDONLY)
        mmap.mmap(fd, 1, prot=mmap.PROT_READ).close()
        libc.close(fd)
        assert opened.any()
        os.replace(other, path)
        assert not opened.any()


def test_without_files_nothing_is_seen() -> None:
    with closing(Opened([])) as opened:
        assert not opened.any()
