"""Private stores and shared ones: real modes, under any umask, and a second user."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import holdfast
from holdfast.errors import UsageError
from holdfast.store.local import LocalStore
from holdfast.store.modes import modes_of

GROUP, USER, OTHER = 54321, 12345, 23456


def modes(top: Path) -> dict[str, set[int]]:
    """The modes of all folders and of all files."""
    found: dict[str, set[int]] = {"folders": set(), "files": set()}
    for path in (top, *top.rglob("*")):
        kind = "folders" if path.is_dir() else "files"
        found[kind].add(stat.S_IMODE(path.stat().st_mode))
    return found


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def fill(store: holdfast.Store) -> None:
    """Make every kind of file: by a save, a persister, a tag, a prune and a repair."""
    big = np.zeros(1 << 19)  # Large enough for direct I/O.
    holdfast.save(store, {"big": big}, run="one", step=1, tag="t")
    with holdfast.Checkpointer(store, {"w": np.zeros(10)}, run="two") as ckpt:
        ckpt.save(1).wait()
        ckpt.save(2).wait()
    holdfast.Store(store).prune("two", holdfast.keep.last(1))


def test_a_store_is_private_unless_it_is_asked_for(store_path: Path, umask: int) -> None:
    fill(holdfast.Store(store_path))
    assert modes(store_path) == {"folders": {0o700}, "files": {0o600}}


def test_a_shared_store_is_so_for_whoever_writes(store_path: Path, umask: int) -> None:
    fill(holdfast.Store(store_path, share="group"))
    # Who comes later need not say it.
    holdfast.save(store_path, {"n": 1}, run="three", step=1)
    (store_path / "holdfast.json").write_bytes(b"damaged")
    (store_path / "holdfast.json").chmod(0o600)
    holdfast.save(store_path, {"n": 2}, run="four", step=1)
    assert modes(store_path) == {"folders": {0o2770}, "files": {0o660}}


def test_files_are_shared_before_they_have_their_names(store_path: Path) -> None:
    before = os.umask(0o077)
    try:
        store = LocalStore(store_path, "group")
        staged = store.stage("a/b", [b"x" * 10])
        large = store.stage("a/c", [bytes(2 << 20)])
        for item in (staged, large):
            assert stat.S_IMODE(os.stat(item.temporary).st_mode) == modes_of("group").file
        store.discard([staged, large])
    finally:
        os.umask(before)


def test_how_it_is_shared_is_settled_when_it_is_made(store_path: Path, tmp_path: Path) -> None:
    for path, made, other in (
        (store_path, "private", "group"),
        (tmp_path / "g", "group", "private"),
    ):
        holdfast.save(holdfast.Store(path, share=made), {"n": 1}, run="r", step=1)
        holdfast.save(holdfast.Store(path, share=made), {"n": 1}, run="r", step=2)
        with pytest.raises(UsageError, match=f"made with share='{made}'"):
            holdfast.save(holdfast.Store(path, share=other), {"n": 1}, run="r", step=3)
        assert len(holdfast.Store(path).log("r")) == 2
    with pytest.raises(UsageError):
        holdfast.Store(store_path, share="world")  # type: ignore[arg-type]


# --- a second user, who really is another one ---

# Python itself may lie where only root can read it: all that is needed is loaded before.
AS_USERS = """
    import importlib, json, os, pkgutil, sys
    import holdfast
    rooms = "chunks", "engine", "format", "history", "plan", "policy", "records", "sealed", "store"
    for module in pkgutil.walk_packages(holdfast.__path__, "holdfast."):
        if module.name.split(".")[1] in rooms:
            importlib.import_module(module.name)

    def work(store, uid, groups, code):
        os.setgroups(groups), os.setgid(uid), os.setuid(uid), os.umask(0o077)
        try:
            exec(code, {"holdfast": holdfast, "store": store})
        except holdfast.errors.HoldfastError as error:
            return error.kind
        return "good"

    found = []
    for uid, groups, code in json.loads(sys.argv[2]):
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.write(writing, work(sys.argv[1], uid, groups, code).encode())
            os._exit(0)
        os.close(writing)
        found.append(os.read(reading, 1000).decode())
        os.wait()
    print(json.dumps(found))
"""
Step = tuple[int, list[int], str]


def as_users(store: Path, *steps: Step) -> list[str]:
    """Run code as users with groups, in turn; each ends ``good`` or in a kind of error."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(AS_USERS), str(store), json.dumps(steps)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


Place = Callable[[str], Path]


@pytest.fixture
def place() -> Iterator[Place]:
    """Gives folders that belong to the group, below one that everybody may enter."""
    if os.geteuid() != 0:
        pytest.skip("only root can be other users")
    top = Path(tempfile.mkdtemp(prefix="holdfast-share-"))
    top.chmod(0o755)

    def make(name: str) -> Path:
        path = top / name
        path.mkdir()
        os.chown(path, USER, GROUP)
        return path

    yield make
    shutil.rmtree(top)


def save(step: int, share: str | None = None) -> str:
    return (
        f"holdfast.save(holdfast.Store(store, share={share!r}), {{'n': 1}}, run='r', step={step}, "
        f"tag='t{step}')"
    )


WORK = (
    "holdfast.load(store, 'r@latest'); s = holdfast.Store(store); s.tag('r@1', 'x'); "
    "s.prune('r', holdfast.keep.last(1)); assert s.verify().ok; s.remove('r@1')"
)


def test_members_of_the_group_work_together(place: Place) -> None:
    store = place("shared")
    found = as_users(
        store,
        (USER, [GROUP], save(1, "group")),
        (OTHER, [GROUP], save(2)),
        (USER, [GROUP], save(3)),
        (OTHER, [GROUP], WORK),
        # Who is no member sees nothing.
        (OTHER, [], WORK),
    )
    assert found == ["good"] * 4 + ["store-unavailable"]
    assert modes(store) == {"folders": {0o2770}, "files": {0o660}}
    assert {path.stat().st_gid for path in (store, *store.rglob("*"))} == {GROUP}
    assert {path.stat().st_uid for path in store.rglob("*")} == {USER, OTHER}


def test_a_private_store_is_closed_to_the_group(place: Place) -> None:
    found = as_users(
        place("private") / "ckpts",
        (USER, [GROUP], save(1)),
        (OTHER, [GROUP], "holdfast.load(store, 'r@1')"),
        (OTHER, [GROUP], save(2)),
    )
    assert found == ["good", "store-unavailable", "store-unavailable"]
