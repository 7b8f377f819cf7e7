"""What becomes of names and files in the end, and where a process is killed before it is done."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from absent import required

required("lightning")

import holdfast  # noqa: E402
from holdfast.engine.handle import SaveHandle  # noqa: E402
from holdfast.errors import SaveFailed  # noqa: E402
from holdfast.integrations.lightning_files import LightningFiles  # noqa: E402
from holdfast.lightning import HoldfastCheckpointIO  # noqa: E402

# The blow falls when the checkpoint is durable and its file is not there yet.
KILLED = """
import os, signal, sys
from pathlib import Path
from holdfast.integrations import pointer_files
from holdfast.lightning import HoldfastCheckpointIO

folder = Path(sys.argv[1]) / "files"
pointer_files.write = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
own = HoldfastCheckpointIO(sys.argv[1], run="r")
own.load_checkpoint(folder / "last.ckpt")
own.save_checkpoint({"global_step": 2}, folder / "new.ckpt")
own.remove_checkpoint(folder / "old.ckpt")
own.teardown()
"""


def save(own: HoldfastCheckpointIO, folder: Path, *names: str) -> None:
    for step, name in enumerate(names):
        own.save_checkpoint({"global_step": step}, folder / f"{name}.ckpt")


def tags(store: Path) -> dict[str, int]:
    return {tag: info.step for info in holdfast.Store(store).log("r") for tag in info.tags}


def steps(store: Path) -> list[int]:
    return [info.step for info in holdfast.Store(store).log("r")]


def test_what_is_removed_after_the_last_save_is_gone_in_the_end(tmp_path: Path) -> None:
    own = HoldfastCheckpointIO(tmp_path, run="r")
    save(own, tmp_path, "a", "b", "c", "d")
    own.teardown()
    own.remove_checkpoint(tmp_path / "a.ckpt")
    own.remove_checkpoint(tmp_path / "d.ckpt")
    own.teardown()
    # The newest two stay, whether they have a name or not.
    assert steps(tmp_path) == [1, 2, 3]
    assert tags(tmp_path) == {"b": 1, "c": 2}


def test_in_the_end_only_what_lightning_has_removed_goes(tmp_path: Path) -> None:
    with holdfast.Checkpointer(tmp_path, {"x": 1}, run="r") as earlier:
        for step in (10, 11, 12):
            earlier.save(step)
    own = HoldfastCheckpointIO(tmp_path, run="r")
    save(own, tmp_path, "a", "b", "c", "d")
    own.teardown()
    holdfast.Store(tmp_path).tag("r@b", "mine")
    own.remove_checkpoint(tmp_path / "a.ckpt")
    own.remove_checkpoint(tmp_path / "b.ckpt")
    own.teardown()
    assert steps(tmp_path) == [10, 11, 12, 1, 2, 3]
    assert tags(tmp_path) == {"mine": 1, "c": 2, "d": 3}


def test_what_a_killed_process_had_yet_to_do_with_its_files_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    own = HoldfastCheckpointIO(tmp_path, run="r")
    save(own, folder, "old", "last")
    own.teardown()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert not (folder / "new.ckpt").exists() and (folder / "old.ckpt").exists()
    assert own.load_checkpoint(folder / "last.ckpt")["global_step"] == 2
    assert sorted(file.name for file in folder.iterdir()) == ["last.ckpt", "new.ckpt"]
    assert tags(tmp_path) == {"new": 2, "last": 1}
    assert own.load_checkpoint(folder / "new.ckpt")["global_step"] == 2
    own.remove_checkpoint(folder / "new.ckpt")
    own.teardown()
    assert tags(tmp_path) == {"last": 1}


def test_what_a_failed_save_was_to_replace_stays(tmp_path: Path) -> None:
    own = HoldfastCheckpointIO(tmp_path, run="r")
    save(own, tmp_path, "a")
    own.teardown()
    files, handle = LightningFiles(tmp_path, "r"), SaveHandle(1, "0" * 32)
    files.add(tmp_path / "b.ckpt", "b", handle)
    files.remove(tmp_path / "a.ckpt")
    handle.fail(SaveFailed("No."))
    with pytest.raises(SaveFailed):
        files.settle(wait=True)
    files.settle(wait=True)
    assert [file.name for file in tmp_path.glob("*.ckpt")] == ["a.ckpt"]
    assert tags(tmp_path) == {"a": 0}


def test_what_was_promised_of_a_checkpoint_that_is_not_there_is_not_done(tmp_path: Path) -> None:
    own = HoldfastCheckpointIO(tmp_path, run="r")
    save(own, tmp_path, "a", "last")
    own.teardown()
    dead = LightningFiles(tmp_path, "r")
    dead.add(tmp_path / "b.ckpt", "b", SaveHandle(2, "0" * 32))
    dead.remove(tmp_path / "a.ckpt")
    assert own.load_checkpoint(tmp_path / "last.ckpt")["global_step"] == 1
    own.teardown()
    assert sorted(file.name for file in tmp_path.glob("*.ckpt*")) == ["a.ckpt", "last.ckpt"]
    assert not list(tmp_path.glob(".*"))
    assert tags(tmp_path) == {"a": 0, "last": 1}


def test_a_promise_that_is_torn_is_passed_over(tmp_path: Path) -> None:
    own = HoldfastCheckpointIO(tmp_path, run="r")
    save(own, tmp_path, "last")
    own.teardown()
    (tmp_path / ".b.ckpt.promise").write_text('{"pointer": {"run"')
    assert own.load_checkpoint(tmp_path / "last.ckpt")["global_step"] == 0
    own.teardown()
