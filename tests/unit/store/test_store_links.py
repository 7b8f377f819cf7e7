"""A store with links in it: nothing outside of it is read, written or deleted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast.errors import ChunkMissing, DataError, HoldfastError, LinkInStore
from holdfast.policy.keep import keep
from holdfast.records.opening import open_store

ID = "runs/r"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the store, which must stay as it is."""
    folder = tmp_path / "outside"
    folder.mkdir()
    for name in ("precious", ".tmp-1-2-precious", "a" * 32 + "-00000", "000000000009"):
        (folder / name).write_bytes(b"precious")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for step in range(3):
        state = {"w": np.arange(step + 9)}
        holdfast.save(tmp_path / "store", state, run="r", step=step, tag="t" if step == 2 else None)
    return tmp_path / "store"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def everything(store: Path) -> None:
    """Do what can be done with a store; errors are holdfast's own."""
    opened = holdfast.Store(store)
    attempts: list[Callable[[], Any]] = [
        lambda: holdfast.load(store, "r@latest"),
        lambda: opened.log("r"),
        lambda: opened.verify(),
        lambda: opened.prune("r", keep.last(1)),
        lambda: opened.repair(),
        lambda: opened.tag("r@1", "x"),
        lambda: opened.copy("r@1", store.parent / "copy"),
        lambda: holdfast.save(store, {"w": np.arange(5)}, run="r", step=9),
        lambda: opened.rm("r@2") if hasattr(opened, "rm") else None,
        lambda: opened.doctor(),
        lambda: open_store(store, create=True).clear_debris("runs/r/"),
    ]
    for attempt in attempts:
        try:
            attempt()
        except HoldfastError:
            continue


def replaced_by_a_link(path: Path, outside: Path) -> None:
    if path.exists():
        os.rename(path, path.parent / f"was-{path.name}")
    path.symlink_to(outside, target_is_directory=True)


FOLDERS = ["commits", "packs", "parts", "tags", "pins", "removals"]


@pytest.mark.parametrize("name", [*(f"runs/r/{name}" for name in FOLDERS), "runs/r", "runs"])
def test_folders_that_are_links(store: Path, outside: Path, name: str) -> None:
    before = contents(outside)
    replaced_by_a_link(store / name, outside)
    everything(store)
    assert contents(outside) == before


@pytest.mark.parametrize("name", FOLDERS[:4])
def test_objects_that_are_links(store: Path, outside: Path, name: str) -> None:
    before = contents(outside)
    for path in list((store / "runs/r" / name).iterdir()):
        replaced_by_a_link(path, outside / "precious")
    everything(store)
    assert contents(outside) == before


@pytest.mark.parametrize("name", ["events.jsonl", "writer.lock", "records.lock"])
def test_bookkeeping_that_is_a_link(store: Path, outside: Path, name: str) -> None:
    before = contents(outside)
    (store / "runs/r" / name).unlink(missing_ok=True)
    (store / "runs/r" / name).symlink_to(outside / "precious")
    everything(store)
    assert contents(outside) == before


def test_a_link_is_told_as_one(store: Path, outside: Path) -> None:
    replaced_by_a_link(store / "runs/r/packs", outside)
    for attempt in (
        lambda: holdfast.load(store, "r@1"),
        lambda: holdfast.Store(store).prune("r", keep.last(1)),
    ):
        with pytest.raises(LinkInStore, match="packs' is a symbolic link; in a store none is"):
            attempt()


def test_a_commit_that_is_a_link_is_damaged_and_what_it_names_is_kept(store: Path) -> None:
    commit = store / "runs/r/commits/000000000002"
    moved = store.parent / "moved"
    os.rename(commit, moved)
    commit.symlink_to(moved)
    packs = sorted((store / "runs/r/packs").iterdir())
    with pytest.raises(DataError):
        holdfast.load(store, "r@1")
    holdfast.Store(store).prune("r", keep.last(1))
    os.replace(moved, commit)
    assert holdfast.load(store, "r@1")["w"].size == 10
    assert packs == sorted((store / "runs/r/packs").iterdir())


def test_a_pipe_is_not_waited_for(store: Path) -> None:
    for name in ("parts", "packs", "commits"):
        (path, *_) = sorted((store / "runs/r" / name).iterdir())
        path.unlink()
        os.mkfifo(path)
    everything(store)


def test_a_folder_in_the_place_of_an_object_leaves_no_descriptor_open(store: Path) -> None:
    descriptors = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    opened = open_store(store, create=False)
    before = os.listdir(descriptors)
    for _ in range(3):
        with pytest.raises(ChunkMissing):
            opened.get(f"{ID}/parts")
    assert len(os.listdir(descriptors)) == len(before)


def test_a_record_larger_than_any_is_not_read(store: Path) -> None:
    part = min((store / "runs/r/parts").iterdir())
    os.truncate(part, 1 << 40)
    checked = holdfast.Store(store).verify()
    assert not checked.ok


def test_the_stores_own_folder_may_be_a_link(store: Path) -> None:
    link = store.parent / "link"
    link.symlink_to(store)
    assert holdfast.load(link, "r@latest")["w"].size == 11
    holdfast.save(link, {"w": np.arange(3)}, run="r", step=7)
    assert holdfast.load(store, "r@7")["w"].size == 3
