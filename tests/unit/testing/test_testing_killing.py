"""Kill points: what counts, when it is killed, and that a command's own processes count too."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import UsageError
from holdfast.testing import killing
from holdfast.testing.killing import KillPoint

SCRIPT = """
import sys
import numpy as np
from holdfast import Checkpointer
state = {"w": np.zeros(50_000)}
with Checkpointer(sys.argv[1], state, run="r") as ckpt:
    ckpt.restore()
    for step in range(ckpt.next_step, 3):
        state["w"][:] = step
        ckpt.save(step).wait()
        print("durable", step, flush=True)
"""


def writes_twice(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("a", "b"):
        fd = os.open(folder / name, os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"12345678")
        os.fsync(fd)
        os.close(fd)
    Path(folder.parent, "elsewhere").write_text("does not count")


def test_effects_are_counted_in_order(tmp_path: Path) -> None:
    ended = killing.observe(lambda: writes_twice(tmp_path / "f"), tmp_path / "f")
    assert ended.effects == ("mkdir", *("open", "write", "fsync") * 2)
    points = killing.kill_points(ended.effects)
    assert len(points) == 1 + 7 + 2
    assert points[:2] == [KillPoint(0, "mkdir", "before"), KillPoint(0, "mkdir", "after")]


@pytest.mark.parametrize(
    ("when", "content"), [("before", b""), ("within", b"1234"), ("after", b"12345678")]
)
def test_a_function_is_killed_at_a_point(tmp_path: Path, when: str, content: bytes) -> None:
    folder = tmp_path / "f"
    point = KillPoint(5, "write", when)  # type: ignore[arg-type]
    ended = killing.run_killed(lambda: writes_twice(folder), folder, point)
    assert ended.status == -9
    assert (folder / "a").read_bytes() == b"12345678"
    assert (folder / "b").read_bytes() == content


def test_work_that_fails_or_does_nothing_is_told(tmp_path: Path) -> None:
    def fails() -> None:
        raise ValueError("by itself")

    with pytest.raises(UsageError, match="by itself"):
        killing.observe(fails, tmp_path)
    with pytest.raises(UsageError, match="no effect"):
        killing.observe(lambda: None, tmp_path)
    with pytest.raises(UsageError, match="status 3"):
        killing.observe([sys.executable, "-c", "print('hm'); raise SystemExit(3)"], tmp_path)


def test_a_training_script_is_killed_with_its_persister_and_goes_on(tmp_path: Path) -> None:
    script, store = tmp_path / "train.py", tmp_path / "store"
    script.write_text(SCRIPT)
    command = [sys.executable, script, store]
    effects = killing.observe(command, store).effects
    # The trainer makes the store, the persister writes the packs and commits.
    assert {"mkdir", "link", "rename", "fsync"} <= set(effects)
    last_commit = max(number for number, effect in enumerate(effects) if effect == "link")

    # All processes, as when a machine dies.
    shutil.rmtree(store)
    ended = killing.run_killed(command, store, KillPoint(last_commit, "link", "before"))
    assert ended.status == -9
    durable = [int(line.split()[1]) for line in ended.output.splitlines()]
    there = [info.step for info in holdfast.Store(store).log("r")]
    assert there[: len(durable)] == durable
    assert 1 <= len(durable) <= len(there) <= 3
    assert holdfast.Store(store).verify().ok

    # Only the process that has the effect, which is a persister: the trainer starts another.
    shutil.rmtree(store)
    point = KillPoint(last_commit, "link", "before")
    ended = killing.run_killed(command, store, point, everyone=False)
    assert ended.status == 0, ended.output
    assert "another one is started" in ended.output
    assert [info.step for info in holdfast.Store(store).log("r")] == [0, 1, 2]
    assert holdfast.Store(store).verify().ok
