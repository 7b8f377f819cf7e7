"""The machine in the way: full, read-only, forbidden, too new, busy, moved."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crash_running import Script, assert_verified, debris, kill, wait_gone

import holdfast
from absent import absent, mounted
from holdfast import Checkpointer, errors, every, keep
from holdfast.format import commit as commit_format
from holdfast.format import envelope
from holdfast.records import marker
from holdfast.testing.children import in_child

RUN = "run"


def tree(step: int, kib: int = 64) -> dict[str, Any]:
    return {"a": np.full(kib << 8, step, np.float32), "step": step}


def save(store: Path, step: int, kib: int = 64) -> holdfast.CheckpointInfo:
    return holdfast.save(store, tree(step, kib), run=RUN, step=step, rng=False)


def assert_has(store: Path, *steps: int, kib: int = 64) -> None:
    """The store has these checkpoints, good ones, and nothing that no checkpoint needs."""
    assert_verified(store)
    assert [info.step for info in holdfast.Store(store).log(RUN)] == list(steps)
    for step in steps:
        np.testing.assert_equal(holdfast.load(store, f"{RUN}@{step}"), tree(step, kib))


# --- no space ---


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB of its own."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=6m", "none") as folder:
        yield folder


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    store = small_disk / "store"
    save(store, 1, kib=2048)
    save(store, 2, kib=2048)
    used = shutil.disk_usage(small_disk).used
    for _ in range(3):
        with pytest.raises(errors.NoSpace, match="safe"):
            save(store, 3, kib=2048)
        assert_has(store, 1, 2, kib=2048)
        assert shutil.disk_usage(small_disk).used <= used + (64 << 10)
    holdfast.Store(store).remove(f"{RUN}@1")
    save(store, 3, kib=2048)
    assert_has(store, 2, 3, kib=2048)
    assert debris(store, RUN) == set()


def test_a_full_disk_can_be_pruned(small_disk: Path) -> None:
    store = small_disk / "store"
    for step in (1, 2, 3):
        save(store, step, kib=1024)
    with open(small_disk / "ballast", "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(small_disk).free == 0
    holdfast.Store(store).remove(f"{RUN}@2")
    assert holdfast.Store(store).prune(RUN, keep.last(1)).freed_bytes > 1 << 20
    assert_has(store, 3, kib=1024)
    save(store, 4, kib=1024)
    assert_has(store, 3, 4, kib=1024)
    assert debris(store, RUN) == set()


def test_training_goes_on_when_the_full_disk_has_room_again(small_disk: Path) -> None:
    """Nothing that a failed save wrote stays, so that there is no need to start anew."""
    state = tree(0, kib=2048)
    ballast = small_disk / "ballast"
    with Checkpointer(
        small_disk / "store", state, run=RUN, save=every(steps=1), keep=keep.last(1), rng=False
    ) as ckpt:
        for step in (1, 2):
            _step(ckpt, state, step)
            ckpt.wait()
        # Retention comes after the save that was waited for.
        while shutil.disk_usage(small_disk).used > 3 << 20:
            time.sleep(0.001)
        ballast.write_bytes(bytes(3 << 20))
        for step in (3, 4, 5):
            _step(ckpt, state, step)
            with pytest.raises(errors.NoSpace):
                ckpt.wait()
        ballast.unlink()
        _step(ckpt, state, 6)
        ckpt.wait()
    assert_has(small_disk / "store", 6, kib=2048)
    assert debris(small_disk / "store", RUN) == set()


def _step(ckpt: Checkpointer, state: dict[str, Any], step: int) -> Any:
    state["a"][:] = step
    state["step"] = step
    return ckpt.step(step)


def test_a_disk_without_a_single_byte_left(small_disk: Path) -> None:
    """Even the records of a save, and the lock, find no room; it is told as NoSpace."""
    store = small_disk / "store"
    save(store, 1)
    with open(small_disk / "ballast", "wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    with pytest.raises(errors.NoSpace):
        save(store, 2)
    with pytest.raises(errors.NoSpace):
        holdfast.save(store, tree(1), run="another run", step=1)
    assert_has(store, 1)
    with Checkpointer(store, tree(0), run=RUN, on_error="warn") as ckpt:
        with pytest.raises(errors.NoSpace):
            ckpt.save(2).wait()
        (small_disk / "ballast").unlink()
        assert ckpt.save(3).wait(30).step == 3
    save(store, 4)
    assert_verified(store)
    assert [info.step for info in holdfast.Store(store).log(RUN)] == [1, 3, 4]


def test_a_file_may_not_grow_that_far(tmp_path: Path) -> None:
    """A limit of the process; the error is told, and also a large save does not wait for ever."""
    store, told = tmp_path / "store", tmp_path / "told.txt"
    save(store, 1)

    def work() -> None:
        signal.alarm(60)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, 8 << 20))
        large = {str(i): np.full(32 << 20, i, np.uint8) for i in range(14)}
        with pytest.raises(errors.StoreUnavailable, match="File too large"):
            holdfast.save(store, large, run=RUN, step=2)
        save(store, 3)

    assert in_child(work, told) == (0, "")
    assert_has(store, 1, 3)
    assert debris(store, RUN) == set()


# --- no permission ---

_DROP_FROM_BOUNDING_SET, _DAC_OVERRIDE, _DAC_READ_SEARCH = 24, 1, 2


def _obey_permissions() -> None:
    """Take from root what lets it read and write everything."""
    libc = ctypes.CDLL(None)
    for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
        libc.prctl(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)


def as_user(code: str, *args: object) -> dict[str, Any]:
    """Run Python code as somebody whom permissions stop; return what it prints as JSON."""
    program = textwrap.dedent(
        """
        import json, sys, holdfast, numpy as np
        def kind(call):
            try:
                found = call()
            except holdfast.errors.HoldfastError as error:
                return [error.kind, error.exit_code, str(error)]
            return ["good", 0, str(found)]
        store = sys.argv[1]
        """
    ) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=_obey_permissions if os.geteuid() == 0 else None,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def closed() -> Iterator[Callable[[Path, int, int], None]]:
    """Gives a function that sets the modes of folders and files, which are put back in the end."""
    changed: list[Path] = []

    def close(top: Path, folder_mode: int, file_mode: int) -> None:
        for path in sorted((top, *top.rglob("*")), reverse=True):
            changed.append(path)
            path.chmod(folder_mode if path.is_dir() else file_mode)

    yield close
    for path in sorted(changed):
        path.chmod(0o700)


EVERYTHING = """
    print(json.dumps({
        "save": kind(lambda: holdfast.save(store, {"a": np.zeros(3)}, run="run", step=9)),
        "load": kind(lambda: holdfast.load(store, "run@1")["step"]),
        "latest": kind(lambda: holdfast.load(store, "run@latest")["step"]),
        "log": kind(lambda: [i.step for i in holdfast.Store(store).log("run")]),
        "verify": kind(lambda: holdfast.Store(store).verify().ok),
        "tag": kind(lambda: holdfast.Store(store).tag("run@1", "t")),
        "remove": kind(lambda: holdfast.Store(store).remove("run@1")),
    }))
"""


Close = Callable[[Path, int, int], None]


def test_a_store_that_may_not_be_entered(tmp_path: Path, closed: Close) -> None:
    """Every call says so, in words, with exit code 3."""
    save(tmp_path / "store", 1)
    closed(tmp_path / "store", 0o000, 0o000)
    found = as_user(EVERYTHING, tmp_path / "store")
    for call, (kind, code, text) in found.items():
        assert (kind, code) == ("store-unavailable", 3), (call, text)
        assert "Permission denied" in text
    closed(tmp_path / "store", 0o700, 0o600)
    assert_has(tmp_path / "store", 1)


def test_a_store_that_may_only_be_read(tmp_path: Path, closed: Close) -> None:
    store = tmp_path / "store"
    save(store, 1)
    closed(store, 0o500, 0o400)
    found = as_user(EVERYTHING, store)
    for call in ("load", "latest", "log", "verify"):
        assert found[call][0] == "good", (call, found[call])
    for call in ("save", "tag", "remove"):
        assert found[call][:2] == ["store-unavailable", 3], (call, found[call])
    assert_has(store, 1)


@pytest.mark.parametrize("modes", [(0o000, 0o000), (0o500, 0o400)], ids=["closed", "read-only"])
def test_a_trainer_without_permission_is_told(
    tmp_path: Path, closed: Close, modes: tuple[int, int]
) -> None:
    """At the restore, before hours of training, and with the first save at the latest."""
    store = tmp_path / "store"
    save(store, 1)
    closed(store, *modes)
    code = """
        state = {"a": np.zeros(3)}
        def train(*calls):
            with holdfast.Checkpointer(store, state, run="run", save=holdfast.every(steps=1)) as c:
                for call in calls:
                    call(c)
        print(json.dumps({
            "restore": kind(lambda: train(lambda c: c.restore())),
            "save": kind(lambda: train(lambda c: c.save(3).wait())),
            "step": kind(lambda: train(*[lambda c, i=i: c.step(i) for i in range(1, 50)])),
        }))
    """
    for call, (kind, exit_code, text) in as_user(code, store).items():
        assert (kind, exit_code) == ("store-unavailable", 3), (call, text)
        assert "Permission denied" in text
    closed(store, 0o700, 0o600)
    assert_has(store, 1)


def test_a_place_where_no_folder_can_be_made(tmp_path: Path, closed: Close) -> None:
    (tmp_path / "above").mkdir()
    closed(tmp_path / "above", 0o500, 0o400)
    found = as_user(EVERYTHING, tmp_path / "above" / "store")
    assert found["save"][:2] == ["store-unavailable", 3]
    assert found["load"][:2] == ["not-found", 2]


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "--bind", str(tmp_path / "disk")) as folder:
        save(folder / "store", 1)
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        yield folder


def test_a_read_only_file_system(read_only_disk: Path) -> None:
    store = read_only_disk / "store"
    assert_has(store, 1)
    into = tree(0)
    assert holdfast.load(store, f"{RUN}@latest", into=into).step == 1
    for call in (
        lambda: save(store, 2),
        lambda: holdfast.Store(store).tag(f"{RUN}@1", "t"),
        lambda: holdfast.Store(store).remove(f"{RUN}@1"),
        lambda: holdfast.Store(store).prune(RUN, keep.last(1)) and save(store, 2),
    ):
        with pytest.raises(errors.StoreUnavailable, match="Read-only"):
            call()
    ckpt = Checkpointer(store, into, run=RUN)
    with pytest.raises(errors.StoreUnavailable, match="Read-only"):
        ckpt.save(5).wait()
    ckpt.close()
    assert_has(store, 1)


# --- something else is there ---


def test_a_file_where_the_store_shall_be(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    for call in (
        lambda: save(path, 1),
        lambda: holdfast.load(path, f"{RUN}@1"),
        lambda: holdfast.Store(path).runs(),
        lambda: Checkpointer(path, tree(0), run=RUN),
        lambda: save(path / "below", 1),
        lambda: holdfast.load(path / "below", f"{RUN}@1"),
    ):
        with pytest.raises(errors.HoldfastError) as caught:
            call()
        assert isinstance(caught.value, errors.StoreUnavailable | errors.NotFound)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("name", ["", "/commits", "/packs", "/parts", "/pins"])
def test_a_file_where_a_folder_of_the_store_shall_be(tmp_path: Path, name: str) -> None:
    """It is told, and when it is out of the way the same process can save."""
    store = tmp_path / "store"
    holdfast.save(store, tree(1), run="other", step=1)
    (store / "runs" / f"{RUN}{name}").parent.mkdir(exist_ok=True)
    (store / "runs" / f"{RUN}{name}").write_text("precious")
    with pytest.raises(errors.StoreUnavailable):
        save(store, 1)
    with Checkpointer(store, tree(0), run=RUN) as ckpt, pytest.raises(errors.StoreUnavailable):
        ckpt.save(1).wait()
    assert (store / "runs" / f"{RUN}{name}").read_text() == "precious"
    (store / "runs" / f"{RUN}{name}").unlink()
    save(store, 2)
    assert_has(store, 2)


def test_a_folder_that_is_no_store_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    for call in (
        lambda: holdfast.load(tmp_path, f"{RUN}@1"),
        lambda: holdfast.Store(tmp_path).runs(),
        lambda: holdfast.Store(tmp_path).verify(),
    ):
        with pytest.raises(errors.NotFound):
            call()
    save(tmp_path, 1)
    assert_has(tmp_path, 1)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


# --- too new, or not ours ---


def _rewrite_marker(store: Path) -> None:
    payload = {"format": marker.FORMAT + 1, "id": "0" * 32, "created_ns": 1, "more": True}
    (store / "holdfast.json").write_bytes(envelope.wrap(marker.PAYLOAD_TYPE, payload))


def _rewrite_commit(store: Path) -> None:
    path = sorted((store / "runs" / RUN / "commits").iterdir())[-1]
    statement = envelope.unwrap(path.read_bytes(), commit_format.PAYLOAD_TYPE, what="a commit")
    predicate = statement["predicate"]
    assert isinstance(predicate, dict)
    predicate["format"] = commit_format.FORMAT + 1
    path.write_bytes(envelope.wrap(commit_format.PAYLOAD_TYPE, statement))


@pytest.mark.parametrize("rewrite", [_rewrite_marker, _rewrite_commit])
def test_a_newer_format_is_not_damage(tmp_path: Path, rewrite: Callable[[Path], None]) -> None:
    """It is told to be newer; nothing older is restored in silence, and nothing is deleted."""
    store = tmp_path / "store"
    save(store, 1)
    save(store, 2)
    rewrite(store)
    before = {p: p.read_bytes() for p in (store / "runs" / RUN / "commits").iterdir()}
    state = tree(0)
    with pytest.raises(errors.StoreTooNew, match="upgrade"):
        holdfast.load(store, f"{RUN}@latest", into=state)
    with (
        pytest.raises(errors.StoreTooNew),
        Checkpointer(store, state, run=RUN, keep=keep.last(1)) as ckpt,
    ):
        ckpt.restore()
    np.testing.assert_equal(state, tree(0))
    assert {p: p.read_bytes() for p in (store / "runs" / RUN / "commits").iterdir()} == before


# --- another writer ---


def test_a_second_trainer_of_the_run_is_told(tmp_path: Path) -> None:
    """By another process, by this one, with a save and with a trainer; readers may come."""
    store = tmp_path / "store"
    script = Script("killed_trainer.py", store, "tiny", "--after", tmp_path / "go", folder=tmp_path)
    try:
        script.until(lambda: script.lines("fresh"), "its start")
        began_s = time.monotonic()
        with pytest.raises(errors.RunBusy, match=str(script.process.pid)) as caught:
            save(store, 1)
        assert caught.value.pid == script.process.pid
        with Checkpointer(store, tree(0), run=RUN) as ckpt:
            with pytest.raises(errors.RunBusy):
                ckpt.restore()
            with pytest.raises(errors.RunBusy):
                ckpt.save(1).wait()
        assert time.monotonic() - began_s < 20
        holdfast.save(store, tree(1), run="another", step=1)
        (tmp_path / "go").touch()
        script.until(lambda: script.lines("durable"), "a save")
        assert holdfast.load(store, f"{RUN}@latest")["scalars"]["step"] >= 1
    finally:
        script.end()
    save(store, 10**6)
    assert_verified(store)


def test_two_checkpointers_in_one_process(tmp_path: Path) -> None:
    with Checkpointer(tmp_path / "store", tree(1), run=RUN) as first:
        first.save(1).wait()
        second = Checkpointer(tmp_path / "store", tree(2), run=RUN)
        with pytest.raises(errors.RunBusy):
            second.restore()
        second.close()
        first.save(2).wait()
    with Checkpointer(tmp_path / "store", tree(3), run=RUN) as third:
        third.save(3).wait()
    assert [info.step for info in holdfast.Store(tmp_path / "store").log(RUN)] == [1, 2, 3]


def test_the_next_start_waits_for_a_persister_that_is_still_at_work(tmp_path: Path) -> None:
    """The trainer was killed, its persister is slow; what it has in hand is restored."""
    store = tmp_path / "store"
    script = Script("killed_trainer.py", store, "small", folder=tmp_path)
    try:
        script.until(lambda: script.lines("durable"), "a save")
        persister = script.numbers("persister")[-1]
        kill(persister, signal.SIGSTOP)
        script.kill()
        script.wait()
        durable = max(script.numbers("durable"))
        (tmp_path / "next").mkdir()
        following = Script(
            "killed_trainer.py", store, "small", "--until", 10**6, folder=tmp_path / "next"
        )
        try:
            # It takes a while until it finds the run busy; before that it cannot have restored.
            following.until(lambda: following.lines("persister"), "its persister")
            time.sleep(0.3)
            assert not following.lines("restored")
            kill(persister, signal.SIGCONT)
            following.until(lambda: following.lines("restored"), "its start")
            assert following.numbers("restored")[0] >= durable
        finally:
            following.end()
    finally:
        script.end()


# --- the place ---


def test_a_store_copied_by_hand(tmp_path: Path) -> None:
    store, copy = tmp_path / "store", tmp_path / "copies" / "of it"
    save(store, 1)
    holdfast.Store(store).tag(f"{RUN}@1", "one")
    save(store, 2)
    copy.parent.mkdir()
    subprocess.run(["cp", "-r", store, copy], check=True)
    shutil.rmtree(store)
    assert_has(copy, 1, 2)
    assert holdfast.load(copy, f"{RUN}@one")["step"] == 1
    save(copy, 3)
    assert_has(copy, 1, 2, 3)


def test_a_copy_of_a_store_in_use_is_good_or_says_what_is_not(tmp_path: Path) -> None:
    """Copied by cp while a trainer writes: it has the newest checkpoints that were whole."""
    store = tmp_path / "store"
    script = Script("killed_trainer.py", store, "tiny", folder=tmp_path)
    try:
        script.until(lambda: script.lines("durable"), "a save")
        for i in range(5):
            copy = tmp_path / f"copy {i}"
            subprocess.run(["cp", "-r", store, copy], check=False, capture_output=True)
            try:
                found = holdfast.load(copy, f"{RUN}@latest")
            except errors.DataError:
                continue
            step = found["scalars"]["step"]
            assert found["scalars"]["text"] == f"step {step}"
            assert (found["small"][2] == step + 2).all()
    finally:
        script.end()


def test_relative_paths_are_those_of_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    state = tree(1)
    relative = holdfast.Store("store")
    with Checkpointer("store", state, run=RUN) as ckpt:
        os.chdir("elsewhere")
        ckpt.save(1).wait()
        kill(ckpt._saver.client.pid)
        ckpt.save(2).wait()
        assert ckpt.restore() is not None
        assert [info.step for info in relative.log(RUN)] == [1, 2]
    assert not (tmp_path / "elsewhere" / "store").exists()
    holdfast.save("store", tree(3), run=RUN, step=3)
    assert (tmp_path / "elsewhere" / "store").is_dir()


def test_a_store_behind_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    save(tmp_path / "link" / "store", 1)
    (tmp_path / "store").symlink_to(tmp_path / "disk" / "store")
    with Checkpointer(tmp_path / "store", tree(2), run=RUN) as ckpt:
        assert ckpt.restore() is not None
        ckpt.save(2).wait()
    for way in ("store", "link/store", "disk/store"):
        assert_verified(tmp_path / way)
        assert [info.step for info in holdfast.Store(tmp_path / way).log(RUN)] == [1, 2]
    with pytest.raises(errors.UsageError):
        holdfast.Store(tmp_path / "store").copy(f"{RUN}@1", tmp_path / "link" / "store")


@pytest.mark.parametrize("refused_at", ["nothing", "open", "write", "read"])
def test_file_systems_without_direct_io(
    tmp_path: Path, refused_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused when a file is opened, or only when it is written or read."""
    real_open, real_writev, real_preadv = os.open, os.writev, os.preadv
    refused = OSError(22, "Invalid argument")

    def is_direct(fd: int) -> bool:
        import fcntl

        return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT)

    def my_open(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if refused_at == "open" and flags & os.O_DIRECT:
            # As Linux does it: the file is made, and then refused.
            os.close(real_open(path, flags & ~os.O_DIRECT, *args, **kwargs))
            raise refused
        return real_open(path, flags, *args, **kwargs)

    def my_writev(fd: int, buffers: Any) -> int:
        if refused_at == "write" and is_direct(fd):
            raise refused
        return real_writev(fd, buffers)

    def my_preadv(fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
        if refused_at == "read" and is_direct(fd):
            raise refused
        return real_preadv(fd, buffers, offset, flags)

    monkeypatch.setattr(os, "open", my_open)
    monkeypatch.setattr(os, "writev", my_writev)
    monkeypatch.setattr(os, "preadv", my_preadv)
    for step in (1, 2):
        save(tmp_path / "store", step, kib=5000)
    for path in (tmp_path / "store").rglob("packs/*"):
        fd = real_open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    assert_has(tmp_path / "store", 1, 2, kib=5000)
    into = tree(0, kib=5000)
    holdfast.load(tmp_path / "store", f"{RUN}@1", into=into)
    np.testing.assert_equal(into, tree(1, kib=5000))


def test_a_store_in_memory_backed_folders(tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        absent("there is no folder in memory, /dev/shm")
    store = shared / f"holdfast-test-{os.getpid()}"
    try:
        with Checkpointer(store, tree(1, kib=5000), run=RUN) as ckpt:
            ckpt.save(1).wait()
            assert ckpt.restore() is not None
        assert_has(store, 1, kib=5000)
    finally:
        shutil.rmtree(store, ignore_errors=True)


def test_the_store_vanishes_under_training(tmp_path: Path) -> None:
    """Somebody moved it away: that is told, as trouble with the environment, by the next save."""
    store = tmp_path / "store"
    with Checkpointer(store, tree(1), run=RUN) as ckpt:
        ckpt.save(1).wait()
        store.rename(tmp_path / "moved")
        try:
            ckpt.save(2).wait(30)
        except errors.EnvironmentTrouble:
            pass
        else:
            # Or it has been made anew, whole.
            assert holdfast.load(store, f"{RUN}@2")["step"] == 1
    assert_has(tmp_path / "moved", 1)


# --- what an error in the background does ---


def broken_store(tmp_path: Path) -> Path:
    """A store that takes no pack any more, whoever asks."""
    store = tmp_path / "store"
    save(store, 1)
    shutil.rmtree(store / "runs" / RUN / "packs")
    (store / "runs" / RUN / "packs").write_text("in the way")
    return store


def test_on_error_raise_tells_at_the_next_call(tmp_path: Path) -> None:
    ckpt = Checkpointer(broken_store(tmp_path), tree(2), run=RUN, save=every(steps=1))
    handle = ckpt.step(2)
    assert handle is not None
    while not handle.done:
        time.sleep(0.001)
    with pytest.raises(errors.StoreUnavailable):
        ckpt.step(3)
    ckpt.close()


def test_on_error_raise_tells_at_the_end(tmp_path: Path) -> None:
    with (
        pytest.raises(errors.StoreUnavailable),
        Checkpointer(broken_store(tmp_path), tree(2), run=RUN, save=every(steps=1)) as ckpt,
    ):
        ckpt.step(2)


def test_on_error_warn_trains_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = broken_store(tmp_path)
    with Checkpointer(
        store, tree(2), run=RUN, save=every(steps=1), on_error="warn", backpressure="skip"
    ) as ckpt:
        for step in range(2, 40):
            ckpt.step(step)
    told = [r for r in caplog.records if r.levelno == logging.ERROR and "failed" in r.message]
    assert told
    (store / "runs" / RUN / "packs").unlink()
    save(store, 50)
    assert holdfast.load(store, f"{RUN}@50")["step"] == 50


def test_an_error_that_was_waited_for_is_not_told_twice(tmp_path: Path) -> None:
    ckpt = Checkpointer(broken_store(tmp_path), tree(2), run=RUN)
    with pytest.raises(errors.StoreUnavailable):
        ckpt.save(2).wait()
    ckpt.close()


def test_backpressure_skip_never_holds_the_loop(tmp_path: Path) -> None:
    """A persister that stands still: steps go on, saves are skipped; then it goes on, too."""
    state = tree(0, kib=512)
    with Checkpointer(
        tmp_path / "store", state, run=RUN, save=every(steps=1), backpressure="skip"
    ) as ckpt:
        ckpt.restore()
        kill(ckpt._saver.client.pid, signal.SIGSTOP)
        handles = [_step(ckpt, state, step) for step in range(1, 30)]
        assert [h is not None for h in handles] == [True] + [False] * 28
        kill(ckpt._saver.client.pid, signal.SIGCONT)
        assert handles[0].wait(30).step == 1
        assert _step(ckpt, state, 30).wait(30).step == 30
    assert_has(tmp_path / "store", 1, 30, kib=512)


def test_backpressure_wait_loses_no_save_and_bounds_memory(tmp_path: Path) -> None:
    state = tree(0, kib=512)
    with Checkpointer(tmp_path / "store", state, run=RUN, save=every(steps=1), in_flight=2) as ckpt:
        for step in range(1, 20):
            _step(ckpt, state, step)
        assert len([s for s in ckpt._saver._slots if s.arena is not None]) <= 2
    assert_has(tmp_path / "store", *range(1, 20), kib=512)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """No process, no open file, no shared memory after close, also after failed saves."""
    before = set(os.listdir("/proc/self/fd"))
    for location in (tmp_path / "store", broken_store(tmp_path / "b")):
        ckpt = Checkpointer(location, tree(1), run=RUN, on_error="warn")
        pid = ckpt._saver.client.pid
        handle = ckpt.save(1)
        ckpt.close()
        assert handle.done
        wait_gone(pid)
    assert set(os.listdir("/proc/self/fd")) == before
