"""Scratch folders: gone at the end, and cleared away by the next maker where theirs was killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.store.scratch_folder import REPLACED, scratch_beside

_KILLED = """
import os, signal, sys
from pathlib import Path
from holdfast.store.scratch_folder import scratch_beside
with scratch_beside(sys.argv[1]) as scratch:
    (Path(scratch) / "new").write_bytes(b"half")
    if len(sys.argv) > 2:
        os.rename(sys.argv[1], os.path.join(scratch, sys.argv[2]))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def _killed_in_the_midst(path: Path, *more: str) -> None:
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(path), *more], check=False)
    assert ended.returncode == -9


def test_what_a_killed_maker_left_is_cleared_by_the_next_of_the_same_path(tmp_path: Path) -> None:
    _killed_in_the_midst(tmp_path / "out")
    _killed_in_the_midst(tmp_path / "other")
    assert len(os.listdir(tmp_path)) == 2
    with scratch_beside(str(tmp_path / "out")) as scratch:
        assert os.listdir(scratch) == []
        assert len(os.listdir(tmp_path)) == 2
    # The other one's may be looked for yet.
    assert len(os.listdir(tmp_path)) == 1


def test_what_is_being_made_is_left_alone(tmp_path: Path) -> None:
    with scratch_beside(str(tmp_path / "out")) as first:
        Path(first, "new").write_bytes(b"x")
        with scratch_beside(str(tmp_path / "out")) as second:
            assert first != second
        assert Path(first, "new").read_bytes() == b"x"
    assert os.listdir(tmp_path) == []


def test_what_was_put_aside_by_a_killed_maker_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "x").write_text("whole")
    _killed_in_the_midst(path, REPLACED)
    assert not path.exists()
    with pytest.raises(ValueError), scratch_beside(str(path)):
        assert (path / "x").read_text() == "whole"
        raise ValueError
    assert os.listdir(tmp_path) == ["out"]
