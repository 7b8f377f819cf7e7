"""The journal of a run: nothing that was recorded goes lost but what a crash has torn."""

from __future__ import annotations

import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.engine import chronicle as chronicles
from holdfast.engine.chronicle import Chronicle
from holdfast.engine.heartbeat import Heartbeat
from holdfast.errors import EnvironmentTrouble
from holdfast.records import journal, unlocking
from holdfast.sealed.store import SealedStore
from holdfast.security import keys
from holdfast.store.contract import ObjectInfo, ObjectStore
from holdfast.store.local import LocalStore
from holdfast.testing.memory import MemoryStore

EVENTS = "runs/r/events.jsonl"


def plain(folder: Path) -> ObjectStore:
    return LocalStore(folder)


def sealed(folder: Path) -> ObjectStore:
    path = folder.with_suffix(".key")
    keys.new_identity(path)
    inner = LocalStore(folder)
    return SealedStore(inner, unlocking.make(inner, keys.identity(path)))


KINDS = [plain, sealed]


def steps(store: ObjectStore) -> list[int]:
    return [event["step"] for event in journal.events(store, "r")]


def fill(store: ObjectStore, begin: int, end: int) -> None:
    for step in range(begin, end):
        journal.record(store, "r", "saved", step=step)


@pytest.mark.parametrize("make", KINDS)
def test_a_journal_that_was_shortened_grows_on(
    make: Callable[[Path], ObjectStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_BYTES", 2000)
    store = make(tmp_path / "store")
    for turn in range(6):
        fill(store, turn * 30, turn * 30 + 30)
        journal.shorten(store, "r")
        fill(store, turn * 30 + 30, turn * 30 + 31)
        assert steps(store)[-1] == turn * 30 + 30
    assert sorted(set(steps(store))) == list(range(181))
    assert len(list(store.list("runs/r/events/"))) > 4
    assert len(store.get(EVENTS)) < 2000


@pytest.mark.parametrize("make", KINDS)
def test_one_that_has_grown_very_long_is_put_away_whole(
    make: Callable[[Path], ObjectStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make(tmp_path / "store")
    fill(store, 0, 500)
    monkeypatch.setattr(journal, "MAX_BYTES", len(store.get(EVENTS)) // 20)
    journal.shorten(store, "r")
    assert steps(store) == list(range(500))
    assert len(store.get(EVENTS)) < journal.MAX_BYTES


class Crash(Exception):
    pass


def crashing_after(count: int) -> Callable[[LocalStore, str, bytes], None]:
    put, puts = LocalStore.put, iter(range(count))

    def crashing(self: LocalStore, key: str, data: bytes) -> None:
        if next(puts, None) is None:
            raise Crash
        put(self, key, data)

    return crashing


def test_a_crash_between_two_pieces_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "store")
    fill(store, 0, 300)
    monkeypatch.setattr(journal, "MAX_BYTES", len(store.get(EVENTS)) // 10)

    for put_before in range(4):
        with monkeypatch.context() as patched, pytest.raises(Crash):
            patched.setattr(LocalStore, "put", crashing_after(put_before))
            journal.shorten(store, "r")
        assert steps(store) == list(range(300))
    journal.shorten(store, "r")
    assert steps(store) == list(range(300))


def test_what_was_given_back_is_not_counted_twice_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "store")
    for _ in range(100):
        journal.record(store, "r", "freed", bytes=10, checkpoints=1)
    monkeypatch.setattr(journal, "MAX_BYTES", len(store.get(EVENTS)))
    with monkeypatch.context() as patched, pytest.raises(Crash):
        patched.setattr(LocalStore, "put", crashing_after(0))
        journal.shorten(store, "r")
    assert journal.given_back(store, "r") == journal.GivenBack(100, 1000)


def test_what_is_put_away_twice_between_two_looks_of_a_reader_is_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Growing(MemoryStore):
        grow = False

        def list(self, prefix: str) -> Iterator[ObjectInfo]:
            if self.grow:
                self.grow = False
                for turn in range(3):
                    journal.shorten(self, "r")
                    fill(self, 100 + 40 * turn, 140 + 40 * turn)
            return super().list(prefix)

    monkeypatch.setattr(journal, "MAX_BYTES", 2000)
    store = Growing()
    fill(store, 0, 40)
    journal.shorten(store, "r")
    store.grow = True
    fill(store, 40, 100)
    found = steps(store)
    assert found == list(range(len(found))) and len(found) >= 100
    assert steps(store) == list(range(220))


def test_who_reads_while_it_is_shortened_misses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_BYTES", 3000)
    store = MemoryStore()
    fill(store, 0, 100)
    done = threading.Event()

    def work() -> None:
        try:
            for step in range(100, 3000):
                journal.record(store, "r", "saved", step=step)
                journal.shorten(store, "r")
        finally:
            done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.is_set():
        found = steps(store)
        assert found == list(range(len(found))) and len(found) >= 100
    thread.join()
    assert steps(store) == list(range(3000))


def test_a_piece_that_somebody_else_put_away_costs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "MAX_BYTES", 1000)

    class Raced(MemoryStore):
        def put_new(self, key: str, data: bytes) -> bool:  # type: ignore[override]
            return False

    store = Raced()
    fill(store, 0, 50)
    journal.shorten(store, "r")
    assert steps(store) == list(range(50))


# --- torn lines ---


@contextmanager
def files_of_at_most(nbytes: int) -> Iterator[None]:
    """No file can grow beyond some bytes, as on a full disk: a write is short, the next fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_an_append_that_is_cut_short_is_no_success(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.append("runs/r/journal", b"x" * 90)
    with files_of_at_most(100), pytest.raises(EnvironmentTrouble):
        store.append("runs/r/journal", b"y" * 50)


@pytest.mark.parametrize("make", KINDS)
def test_an_event_on_a_full_disk_is_told_and_takes_no_other_along(
    make: Callable[[Path], ObjectStore],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = make(tmp_path / "store")
    fill(store, 0, 3)
    [path] = (tmp_path / "store").rglob("events.jsonl")
    with files_of_at_most(path.stat().st_size + 20):
        journal.record(store, "r", "saved", step=3)
    assert "is lost" in caplog.text
    fill(store, 4, 6)
    assert steps(store) == [0, 1, 2, 4, 5]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("spoil", ["zeros", "cut", "flipped"])
def test_whatever_a_power_cut_leaves_of_the_beginning_the_rest_is_read(
    make: Callable[[Path], ObjectStore], spoil: str, tmp_path: Path
) -> None:
    store = make(tmp_path / "store")
    fill(store, 0, 1)
    [path] = (tmp_path / "store").rglob("events.jsonl")
    size = path.stat().st_size
    fill(store, 1, 4)
    data = bytearray(path.read_bytes())
    if spoil == "zeros":
        data[:size] = bytes(size)
    elif spoil == "cut":
        data = data[10:]
    else:
        data[0] ^= 4
    path.write_bytes(data)
    assert steps(store)[-3:] == [1, 2, 3]
    fill(store, 4, 5)
    assert steps(store)[-1] == 4


# --- what the persister writes ---


def test_saves_that_are_skipped_at_every_step_take_few_lines(tmp_path: Path) -> None:
    store, heartbeat = LocalStore(tmp_path / "store"), Heartbeat.create()
    chronicle = Chronicle(store, "r", "a" * 32, heartbeat)
    for step in range(1000):
        chronicle.note("save-skipped", {"step": step, "reason": "every step"})
    chronicle.record_last("ended", how="done")
    found = [e for e in journal.events(store, "r") if e["event"] == "save-skipped"]
    assert [e["step"] for e in found] == [0, 999]
    assert sum(e["count"] for e in found) == 1000
    heartbeat.close()


def test_it_is_shortened_however_few_saves_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_BYTES", 3000)
    monkeypatch.setattr(chronicles, "SHORTEN_EVERY", 50)
    store, heartbeat = LocalStore(tmp_path / "store"), Heartbeat.create()
    chronicle = Chronicle(store, "r", "a" * 32, heartbeat)
    for step in range(400):
        chronicle.note("overfitting", {"step": step})
    assert len(store.get(EVENTS)) < 3000 + 50 * 200
    assert steps(store) == list(range(400))
    heartbeat.close()
