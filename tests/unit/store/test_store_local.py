"""What the store in a folder does beyond the contract: durability, privacy, errors, direct I/O."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from absent import absent, mounted
from holdfast.errors import ChunkMissing, NoSpace, StoreUnavailable
from holdfast.store import direct
from holdfast.store.local import DIRECT_BYTES, TEMPORARY, LocalStore

KEY = "runs/r/packs/0/00000"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def files_below(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def pages(nbytes: int, fill: bytes = b"x") -> memoryview:
    memory = memoryview(mmap.mmap(-1, nbytes))
    memory[:] = fill * nbytes
    return memory


# --- privacy and tidiness ---


def test_files_and_folders_are_the_owners_alone(store: LocalStore) -> None:
    os.umask(os.umask(0))  # Whatever the umask is, it can only take more away.
    store.put(KEY, b"x")
    store.put_new("runs/r/commits/1", b"x")
    store.publish([store.stage("runs/r/packs/1/0", [pages(DIRECT_BYTES)])])
    store.append("runs/r/events.jsonl", b"x")
    for path in [Path(store.location), *Path(store.location).rglob("*")]:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_nothing_is_left_beside_the_objects(store: LocalStore) -> None:
    store.put(KEY, b"x")
    store.put_new("runs/a", b"x")
    store.put_new("runs/a", b"y")
    store.discard([store.stage("runs/b", [b"z"])])
    assert files_below(Path(store.location)) == ["runs/a", KEY]


def test_files_of_writers_that_died_are_never_listed_and_can_be_cleared_away(
    store: LocalStore,
) -> None:
    staged = store.stage(KEY, [b"x"])
    assert [info.key for info in store.list("runs/")] == []
    [left] = Path(store.location).rglob(f"{TEMPORARY}*")
    assert left.is_file()
    store.clear_debris("")
    assert left.is_file()  # The top only.
    store.clear_debris("runs/r/")
    assert files_below(Path(store.location)) == []
    store.discard([staged])


@pytest.mark.parametrize("put", ["put", "put_hint", "put_new"])
def test_what_another_clears_away_before_it_is_placed_is_written_again(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, put: str
) -> None:
    # Who begins a run clears files of the dead away, and cannot tell them from those of a tagger.
    moment = "link" if put == "put_new" else "rename"
    place, times = getattr(os, moment), []

    def clear_and_place(*names: str) -> None:
        if len(times) < 2:
            times.append(1)
            LocalStore(store.location).clear_debris("runs/")
        place(*names)

    monkeypatch.setattr(os, moment, clear_and_place)
    assert getattr(store, put)("runs/r/tags/t", b"x") is not False
    assert len(times) == 2
    assert files_below(Path(store.location)) == ["runs/r/tags/t"]
    assert store.get("runs/r/tags/t") == b"x"


def test_a_folder_that_is_gone_is_not_made_again(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(KEY, b"x")
    rename = os.rename

    def unmount_and_rename(*names: str) -> None:
        shutil.rmtree(store.location)
        rename(*names)

    monkeypatch.setattr(os, "rename", unmount_and_rename)
    with pytest.raises(StoreUnavailable, match="the folder is gone"):
        store.put(KEY, b"y")
    assert not Path(store.location).exists()


def test_a_folder_in_the_place_of_a_file_is_told(store: LocalStore) -> None:
    (Path(store.location) / KEY).mkdir(parents=True)
    for put in (store.put, store.put_hint):
        with pytest.raises(StoreUnavailable, match="a folder is in its place"):
            put(KEY, b"x")
    assert files_below(Path(store.location)) == []


def test_what_is_no_file_is_no_lock(store: LocalStore) -> None:
    store.put(KEY, b"x")
    os.mkfifo(Path(store.location) / "runs/r/lock")
    with pytest.raises(StoreUnavailable, match="no plain file"):
        store.open_lock("runs/r/lock")


def test_journal_lines_are_appended(store: LocalStore) -> None:
    store.append("runs/r/events.jsonl", b"1\n")
    store.append("runs/r/events.jsonl", b"2\n")
    assert store.get("runs/r/events.jsonl") == b"1\n2\n"


# --- durability: the order of syncs and renames ---


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is synced and renamed, in order, by the name of the file or folder."""
    seen: list[tuple[str, str]] = []

    def name(fd: int) -> str:
        return os.path.basename(os.readlink(f"/proc/self/fd/{fd}")).split("-")[-1]

    def spy(function: str, describe: object) -> None:
        real = getattr(os, function)

        def call(*args: object) -> object:
            seen.append((function, describe(*args)))  # type: ignore[operator]
            return real(*args)

        monkeypatch.setattr(os, function, call)

    spy("fsync", name)
    spy("rename", lambda a, b: os.path.basename(b))
    spy("link", lambda a, b: os.path.basename(b))
    spy("unlink", os.path.basename)
    return seen


def test_all_files_are_synced_before_one_is_shown_and_then_the_folder(
    store: LocalStore, calls: list[tuple[str, str]]
) -> None:
    store.put("runs/f/z", b"x")
    staged = [store.stage(f"runs/f/{n}", [b"x"]) for n in "ab"]
    calls.clear()
    store.publish(staged)
    assert calls == [
        ("fsync", "a"),
        ("fsync", "b"),
        ("rename", "a"),
        ("rename", "b"),
        ("fsync", "f"),
    ]


def test_a_new_object_is_synced_then_linked_then_its_folder_is_synced(
    store: LocalStore, calls: list[tuple[str, str]]
) -> None:
    store.put("runs/f/z", b"x")
    calls.clear()
    store.put_new("runs/f/a", b"x")
    assert calls[:3] == [("fsync", "a"), ("link", "a"), ("fsync", "f")]


def test_folders_are_synced_into_their_parents(
    store: LocalStore, calls: list[tuple[str, str]]
) -> None:
    store.put("runs/f/a", b"x")
    synced = [name for call, name in calls if call == "fsync"]
    assert synced.index("store") < synced.index("runs") < synced.index("a")


def test_folders_found_standing_are_synced_too(
    store: LocalStore, calls: list[tuple[str, str]]
) -> None:
    # Who made them may have died before they were durable.
    Path(store.location, "runs/f").mkdir(parents=True)
    store.put("runs/f/a", b"x")
    assert ("fsync", "runs") in calls


def test_a_deletion_is_synced(store: LocalStore, calls: list[tuple[str, str]]) -> None:
    store.put("runs/f/a", b"x")
    calls.clear()
    store.delete(["runs/f/a"])
    assert calls == [("unlink", "a"), ("fsync", "f")]


# --- direct I/O, and what happens where it is refused ---


def supports_direct(folder: Path) -> bool:
    try:
        fd = os.open(folder / "probe", os.O_WRONLY | os.O_CREAT | direct.O_DIRECT, 0o600)
    except OSError:
        return False
    os.close(fd)
    return bool(direct.O_DIRECT)


def test_large_objects_go_past_the_page_cache(store: LocalStore, tmp_path: Path) -> None:
    if not supports_direct(tmp_path):
        absent("direct I/O, on the file system of the temporary folder")
    large = store.stage("runs/large", [pages(DIRECT_BYTES)])
    small = store.stage("runs/small", [pages(DIRECT_BYTES - 4096)])
    assert direct.is_direct(large.file.fileno())
    assert not direct.is_direct(small.file.fileno())
    store.discard([large, small])


def test_a_file_system_that_refuses_direct_io_at_open(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open
    refused = []

    def refusing(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & direct.O_DIRECT:
            refused.append(path)
            # As Linux does it: the file is made before its flags are refused.
            if flags & os.O_CREAT:
                os.close(real(path, flags & ~direct.O_DIRECT, mode))
            raise OSError(errno.EINVAL, "Invalid argument", path)
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refusing)
    data = pages(DIRECT_BYTES + 4096)
    store.publish([store.stage(KEY, [data])])
    into = pages(8192, b"\0")
    reader = store.open(KEY)
    reader.read_uncached(into, 4096)
    reader.close()
    assert len(refused) == 2
    assert into == data[4096:12288]
    assert store.get(KEY) == data


def test_a_file_system_that_refuses_direct_io_at_write(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.writev
    refused = []

    def refusing(fd: int, buffers: list[memoryview]) -> int:
        if direct.is_direct(fd):
            refused.append(fd)
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(fd, buffers)

    monkeypatch.setattr(os, "writev", refusing)
    data = pages(DIRECT_BYTES)
    store.publish([store.stage(KEY, [data])])
    assert store.get(KEY) == data
    if supports_direct(Path(store.location)):
        assert len(refused) == 1


@pytest.fixture
def ramfs(tmp_path: Path) -> Iterator[Path]:
    """A file system that really refuses direct I/O; only root can mount it."""
    with mounted(tmp_path / "ramfs", "-t", "ramfs", "holdfast-test") as folder:
        yield folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB; only root can mount it."""
    options = ("-t", "tmpfs", "-o", "size=4m", "holdfast-test")
    with mounted(tmp_path / "small", *options) as folder:
        yield folder


def test_a_real_file_system_without_direct_io(ramfs: Path) -> None:
    assert not supports_direct(ramfs)
    store = LocalStore(ramfs / "store")
    data = pages(2 * DIRECT_BYTES)
    store.publish([store.stage(KEY, [data])])
    into = pages(4096, b"\0")
    reader = store.open(KEY)
    reader.read_uncached(into, 4096)
    reader.close()
    assert store.get(KEY) == data
    assert into == data[:4096]


# --- errors, in holdfast's own words ---


def test_a_full_disk_is_no_space_and_leaves_nothing(small_disk: Path) -> None:
    store = LocalStore(small_disk / "store")
    store.put("runs/before", b"safe")
    with pytest.raises(NoSpace, match=r"No space left.*committed before are safe"):
        store.stage(KEY, [pages(8 << 20)])
    with pytest.raises(NoSpace):
        store.put(KEY, pages(8 << 20))
    assert files_below(small_disk) == ["store/runs/before"]
    store.put("runs/after", b"fits")


def test_a_failing_write_leaves_no_file(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int, buffers: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "writev", fail)
    with pytest.raises(StoreUnavailable, match="Input/output error") as caught:
        store.stage(KEY, [b"x"])
    assert caught.value.errno == errno.EIO
    assert files_below(Path(store.location)) == []


def failing_fsync(monkeypatch: pytest.MonkeyPatch, *, nth: int) -> None:
    real, count = os.fsync, iter(range(1, 1000))

    def fsync(fd: int) -> None:
        if next(count) == nth:
            raise OSError(errno.EIO, "Input/output error")
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)


def test_nothing_is_shown_when_a_sync_fails(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = [store.stage(f"runs/{n}", [b"x"]) for n in "abc"]
    failing_fsync(monkeypatch, nth=2)
    with pytest.raises(StoreUnavailable, match="make durable"):
        store.publish(staged)
    assert files_below(Path(store.location)) == []


def test_discarding_after_a_failed_publish_closes_no_file_of_others(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    staged = [store.stage(f"runs/{n}", [b"x"]) for n in "abc"]
    failing_fsync(monkeypatch, nth=2)
    with pytest.raises(StoreUnavailable):
        store.publish(staged)
    with (tmp_path / "the users own").open("w") as other, (tmp_path / "2").open("w") as another:
        store.discard(staged)
        other.write("still open")
        another.write("still open")
    assert (tmp_path / "the users own").read_text() == "still open"


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="not a folder"):
        LocalStore(tmp_path / "file").create()
    with pytest.raises(StoreUnavailable):
        LocalStore(tmp_path / "file").put(KEY, b"x")
    assert (tmp_path / "file").read_bytes() == b""


def test_no_permission(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: str, *args: object, **more: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    store.put("runs/x", b"x")
    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(StoreUnavailable, match=r"Could not write 'runs/y': Permission denied"):
        store.put("runs/y", b"x")


def test_missing_objects_name_the_file(store: LocalStore) -> None:
    with pytest.raises(ChunkMissing, match="packs/0/00000"):
        store.get(KEY)


# --- file systems without hard links ---


def test_new_objects_without_hard_links(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: str) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert store.put_new("runs/a", b"first") is True
    assert store.put_new("runs/a", b"second") is False
    assert store.get("runs/a") == b"first"
    assert files_below(Path(store.location)) == ["runs/a"]
    assert stat.S_IMODE(Path(store.location, "runs/a").stat().st_mode) == 0o600


def test_an_error_without_hard_links_leaves_no_torn_object(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def refuse(source: str, target: str) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    def fsync(fd: int, real: Any = os.fsync) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        if synced[-1].endswith("runs/a"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(fd)

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(NoSpace):
        store.put_new("runs/a", b"first")
    assert files_below(Path(store.location)) == []
