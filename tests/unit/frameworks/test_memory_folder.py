"""Folders in memory are gone when they are closed, and when their process is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from holdfast.frameworks.memory_folder import MemoryFolder

CODE = """
import sys
from holdfast.frameworks.memory_folder import MemoryFolder
folder = MemoryFolder()
(folder.path / "data").write_bytes(b"x")
print(folder.path, flush=True)
sys.stdin.read()
"""


def test_it_goes_with_close_or_with_its_owner() -> None:
    class Owner:
        pass

    closed, kept, owner = MemoryFolder(), MemoryFolder(), Owner()
    kept.close_with(owner)
    closed.close()
    assert not closed.path.exists() and kept.path.exists()
    path = kept.path
    del kept
    assert path.exists()
    del owner
    assert not path.exists()


def test_those_of_killed_processes_are_removed_and_no_others() -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    paths = [Path(p.stdout.readline().strip()) for p in processes if p.stdout is not None]
    for path in paths:
        os.utime(path, (time.time() - 100, time.time() - 100))
    processes[0].kill()
    processes[0].communicate()
    MemoryFolder().close()
    assert [path.exists() for path in paths] == [False, True]
    processes[1].communicate()
    assert not paths[1].exists()
