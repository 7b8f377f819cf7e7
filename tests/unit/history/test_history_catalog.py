"""The catalog: the answers that the store gives, without reading it; never trusted or fatal."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from big_store import make_big_store

import holdfast
from holdfast import keep
from holdfast.errors import ManifestDamaged, NotFound
from holdfast.format.names import RunKeys
from holdfast.history import catalog, catalog_file
from holdfast.history.catalog_rows import Row, _seal
from holdfast.history.log import read_log
from holdfast.records.opening import open_store
from holdfast.store.local import LocalStore

KEYS = RunKeys("r")


def save(path: Path, step: int, **options: Any) -> holdfast.CheckpointInfo:
    state = {"a": np.arange(3.0) + step}
    return holdfast.save(path, state, run=options.pop("run", "r"), step=step, rng=False, **options)


@pytest.fixture
def path(store_path: Path) -> Path:
    """A store of three checkpoints and its catalog."""
    for step, loss in ((1, 0.5), (2, float("nan")), (3, 0.1)):
        save(store_path, step, metrics={"loss": loss}, config={"lr": step})
    return store_path


def file_of(path: Path) -> Path:
    return path / catalog_file.NAME


@contextmanager
def reads_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Note the keys of the objects that are read."""
    keys: list[str] = []
    real = LocalStore.get

    def get(store: LocalStore, key: str) -> bytes:
        keys.append(key)
        return real(store, key)

    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "get", get)
        yield keys


def commits_among(keys: list[str]) -> list[str]:
    return [key for key in keys if "/commits/" in key]


def assert_agrees(path: Path) -> None:
    """The catalog's answer is the one that reading everything gives."""
    store = open_store(path, create=False)
    for run in holdfast.Store(path).runs():
        cached, read = holdfast.Store(path).log(run), read_log(store, run)
        assert repr(cached) == repr(read)  # NaN is not equal to itself; its text is.


# --- what it saves ---


def test_what_is_known_is_not_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with reads_of(monkeypatch) as keys:
        assert [info.step for info in holdfast.Store(path).log("r")] == [1, 2, 3]
        assert holdfast.Store(path).summary("r").lowest["loss"].step == 3
    assert commits_among(keys) == []
    with reads_of(monkeypatch) as keys:
        assert holdfast.Store(path).info("r@best:loss").step == 3
    assert commits_among(keys) == [KEYS.commit(3)]


def test_only_what_is_new_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(catalog, "note", lambda store, run: None)
        save(path, 4)
    with reads_of(monkeypatch) as keys:
        assert len(holdfast.Store(path).log("r")) == 4
    assert commits_among(keys) == [KEYS.commit(4)]
    with reads_of(monkeypatch) as keys:
        assert len(holdfast.Store(path).log("r")) == 4
    assert commits_among(keys) == []


def test_a_training_run_fills_it(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with holdfast.Checkpointer(
        store_path, {"w": np.zeros(3)}, run="r", save=holdfast.every(steps=1), keep=keep.last(2)
    ) as ckpt:
        for step in range(5):
            ckpt.step(step)
    with reads_of(monkeypatch) as keys:
        assert [info.step for info in holdfast.Store(store_path).log("r")] == [3, 4]
    assert commits_among(keys) == []


def test_all_that_is_told_comes_back(path: Path) -> None:
    save(path, 4, metrics={"x": float("inf")}, dataset="sha256:00", tag="t")
    holdfast.Store(path).note("r@4", "text", {"ok": True})
    assert_agrees_with_notes = holdfast.Store(path).log("r")[-1]
    assert assert_agrees_with_notes == holdfast.Store(path).info("r@4")
    assert assert_agrees_with_notes.notes == ("text",)


# --- what happens behind its back ---


def test_commits_that_come_and_go_are_noticed(path: Path) -> None:
    commit, aside = path / KEYS.commit(2), path / "aside"
    commit.rename(aside)
    assert [info.step for info in holdfast.Store(path).log("r")] == [1, 3]
    with pytest.raises(NotFound):
        holdfast.Store(path).info("r@2")
    aside.rename(commit)
    assert [info.step for info in holdfast.Store(path).log("r")] == [1, 2, 3]
    assert_agrees(path)


def test_a_commit_that_is_damaged_later_is_told(path: Path) -> None:
    data = bytearray((path / KEYS.commit(3)).read_bytes())
    data[100] ^= 1
    (path / KEYS.commit(3)).write_bytes(data)
    history = holdfast.Store(path).history("r")
    assert [info.step for info in history.checkpoints] == [1, 2]
    assert len(history.damaged) == 1 and "is damaged" in history.damaged[0]
    with pytest.raises(ManifestDamaged):
        holdfast.Store(path).info("r@best:loss")


def test_damage_that_no_listing_shows_is_found_when_the_commit_is_wanted(path: Path) -> None:
    commit = path / KEYS.commit(3)
    found = commit.stat()
    data = bytearray(commit.read_bytes())
    data[100] ^= 1
    commit.write_bytes(data)
    os.utime(commit, ns=(found.st_atime_ns, found.st_mtime_ns))
    with pytest.raises(ManifestDamaged):
        holdfast.Store(path).info("r@best:loss")
    assert holdfast.Store(path).info("r@latest").step == 2


def test_retention_asks_the_store_and_not_the_catalog(path: Path) -> None:
    # A row that lies, and is sealed: step 1 looks like the best.
    with sqlite3.connect(file_of(path)) as connection:
        values = connection.execute("SELECT * FROM commits WHERE seq = 1").fetchone()
        body = values[4].replace(b"0.5", b"0.0")
        assert body != values[4]
        seal = _seal(*Row(*values)[:4], body)
        connection.execute("UPDATE commits SET body = ?, seal = ? WHERE seq = 1", (body, seal))
    connection.close()
    assert holdfast.Store(path).log("r")[0].metrics == {"loss": 0.0}
    holdfast.Store(path).prune("r", keep.best("loss"))
    assert [info.step for info in read_log(open_store(path, create=False), "r")] == [3]


# --- what it may be ---


def test_one_that_is_damaged_anywhere_changes_no_answer(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = file_of(path).read_bytes()
    # All of what is written there, and some of what is not.
    places = [i for i in range(len(data)) if data[i]][::23] + list(range(0, len(data), 997))
    for at in places:
        wrong = bytearray(data)
        wrong[at] ^= 0xFF
        file_of(path).write_bytes(wrong)
        assert_agrees(path)
        assert holdfast.Store(path).summary("r").lowest["loss"].value == 0.1
    assert "made anew from the commit records" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE commits SET body = CAST(replace(CAST(body AS TEXT), '0.5', '0.0') AS BLOB)",
        "UPDATE commits SET seq = 9 WHERE seq = 1",
        "UPDATE runs SET body = CAST(replace(CAST(body AS TEXT), '0.1', '0.0') AS BLOB)",
        "UPDATE runs SET body = CAST('7' AS BLOB) WHERE what = 'size'",
        "UPDATE shared SET body = CAST(replace(CAST(body AS TEXT), ':1', ':2') AS BLOB)",
        "DELETE FROM shared",
    ],
)
def test_a_row_that_makes_sense_and_is_wrong_is_not_believed(
    path: Path, change: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "_SETTLED_S", -1.0)
    store = holdfast.Store(path)
    before = store.summary("r"), store.stored_bytes("r")
    connection = sqlite3.connect(file_of(path))
    with connection:
        assert connection.execute(change).rowcount > 0
    connection.close()
    assert (store.summary("r"), store.stored_bytes("r")) == before
    assert_agrees(path)
    assert "is damaged" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        # Half made, or with tables that are not as they should be.
        "DROP TABLE store",
        "DROP TABLE commits; DROP TABLE shared; DROP TABLE runs; DROP TABLE store",
        "PRAGMA user_version = 0",
        "DROP TABLE store; CREATE TABLE store (name TEXT)",
        "DROP TABLE commits; CREATE TABLE commits (run TEXT, seq INTEGER)",
        # Text that is none, as one wrong byte in the head of a row makes of what was no text.
        "UPDATE store SET id = CAST(x'ff80' AS TEXT)",
        "UPDATE runs SET body = CAST(x'ff80' AS TEXT)",
        "UPDATE commits SET body = CAST(x'ff80' AS TEXT) WHERE seq = 2",
        "UPDATE shared SET body = CAST(x'ff80' AS TEXT)",
        "UPDATE commits SET seal = NULL",
    ],
)
def test_one_that_is_half_made_or_holds_no_text_is_made_anew(
    path: Path, change: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = holdfast.Store(path).summary("r")
    connection = sqlite3.connect(file_of(path))
    connection.executescript(change)
    connection.close()
    assert_agrees(path)
    assert holdfast.Store(path).summary("r") == before
    assert holdfast.load(path, "r@best:loss")["a"][0] == 3
    assert "made anew from the commit records" in caplog.text
    with reads_of(monkeypatch) as keys:
        holdfast.Store(path).log("r")
    assert commits_among(keys) == []


@pytest.mark.parametrize("length", [0, 1, 100, 4096, 5000, 12_000])
def test_one_that_is_cut_short_changes_no_answer(path: Path, length: int) -> None:
    data = file_of(path).read_bytes()
    file_of(path).write_bytes(data[:length])
    assert_agrees(path)
    # It is good again.
    save(path, 4)
    assert_agrees(path)
    assert sqlite3.connect(file_of(path)).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_one_of_another_version_is_made_anew(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite3.connect(file_of(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert_agrees(path)
    assert "is of version 99, not 2" in caplog.text
    with reads_of(monkeypatch) as keys:
        holdfast.Store(path).log("r")
    assert commits_among(keys) == []


def test_that_of_another_store_is_made_anew(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "other", 77)
    shutil.copy(file_of(tmp_path / "other"), file_of(path))
    assert_agrees(path)
    assert "is that of another store" in caplog.text


def test_a_copied_store_takes_its_catalog_along_and_goes_its_own_way(
    path: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(path, tmp_path / "copy"))
    save(copy, 9)
    save(path, 8)
    assert [info.step for info in holdfast.Store(copy).log("r")] == [1, 2, 3, 9]
    assert [info.step for info in holdfast.Store(path).log("r")] == [1, 2, 3, 8]


def test_a_folder_in_its_place_is_passed_over(path: Path) -> None:
    file_of(path).unlink()
    file_of(path).mkdir()
    assert_agrees(path)
    save(path, 4)
    assert_agrees(path)


def test_a_pipe_in_its_place_is_not_waited_for(path: Path) -> None:
    file_of(path).unlink()
    os.mkfifo(file_of(path))
    assert_agrees(path)
    save(path, 4)
    assert_agrees(path)


def test_a_link_in_its_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("CREATE TABLE precious (x)")
    other.commit()
    other.close()
    before = (tmp_path / "other.sqlite").read_bytes()
    file_of(path).unlink()
    file_of(path).symlink_to(tmp_path / "other.sqlite")
    save(path, 4)
    assert_agrees(path)
    assert (tmp_path / "other.sqlite").read_bytes() == before


def test_reading_makes_none_and_doctor_does(path: Path) -> None:
    file_of(path).unlink()
    assert_agrees(path)
    assert not file_of(path).exists()
    assert holdfast.Store(path).doctor().facts["in_catalog"] == 3
    assert file_of(path).stat().st_mode & 0o777 == 0o600


def test_a_lock_that_somebody_holds_holds_up_no_answer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_file, "_PATIENCE_S", 0.05)
    holder = sqlite3.connect(file_of(path), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    save(path, 4)
    assert_agrees(path)
    holder.execute("ROLLBACK")
    holder.close()
    assert_agrees(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_store_that_may_only_be_read_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(catalog, "note", lambda store, run: None)
        save(path, 4)
    for folder, _, names in os.walk(path.parent):
        os.chmod(folder, 0o755)
        for name in names:
            os.chmod(os.path.join(folder, name), 0o644)
    before = file_of(path).read_bytes()
    os.seteuid(65534)
    try:
        with reads_of(monkeypatch) as keys:
            assert [info.step for info in holdfast.Store(path).log("r")] == [1, 2, 3, 4]
        assert commits_among(keys) == [KEYS.commit(4)]
        assert holdfast.Store(path).info("r@best:loss").step == 3
    finally:
        os.seteuid(0)
    assert file_of(path).read_bytes() == before


def test_a_store_that_is_sealed_has_none_on_disk(tmp_path: Path) -> None:
    class Sealed(LocalStore):
        is_sealed = True

    save(tmp_path / "s", 1)
    file_of(tmp_path / "s").unlink()
    sealed = Sealed(tmp_path / "s")
    assert [info.step for info in catalog.checkpoints(sealed, "r", create=True)] == [1]  # type: ignore[union-attr]
    assert catalog.rebuild(sealed) is None
    assert not file_of(tmp_path / "s").exists()


# --- several at once ---

WRITER = """
import sys, numpy as np, holdfast
path, run = sys.argv[1:]
for step in range(12):
    holdfast.save(path, {"a": np.arange(3.0)}, run=run, step=step, metrics={"x": step}, rng=False)
    assert [i.step for i in holdfast.Store(path).log(run)] == list(range(step + 1))
    holdfast.Store(path).lineage()
"""
SPOILER = """
import sys, os, time
path = sys.argv[1] + "/catalog.sqlite"
for n in range(60):
    try:
        with open(path, "r+b") as file:
            file.seek(n * 331)
            file.write(b"spoilt")
        if n % 10 == 9:
            os.unlink(path)
    except OSError:
        pass
    time.sleep(0.02)
"""


def test_processes_that_write_read_and_spoil_it_at_once(store_path: Path) -> None:
    save(store_path, 0, run="first")
    commands = [[WRITER, str(store_path), run] for run in ("a", "b", "c")]
    commands.append([SPOILER, str(store_path)])
    started = [subprocess.Popen([sys.executable, "-W", "ignore", "-c", *c]) for c in commands]
    assert [process.wait(timeout=120) for process in started] == [0, 0, 0, 0]
    assert_agrees(store_path)
    assert holdfast.Store(store_path).doctor().facts["in_catalog"] == 37


# --- many ---


def test_of_many_checkpoints_nothing_is_read_twice(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_big_store(store_path, n_runs=3, n_checkpoints=100)
    store = holdfast.Store(store_path)
    assert store.doctor().facts["in_catalog"] == 300
    with reads_of(monkeypatch) as keys:
        branches = store.lineage()
        assert len(store.log("run-1")) == 100
        assert store.info("run-2@best:loss").step == 1000
    assert [branch.depth for branch in branches] == [0, 1, 2]
    assert len(commits_among(keys)) == 1
    assert_agrees(store_path)


def test_a_look_at_the_log_loads_no_numpy_and_no_protobuf(path: Path) -> None:
    code = (
        "import sys, holdfast; s = holdfast.Store(sys.argv[1]); s.log('r'); s.lineage(); "
        "s.info('r@best:loss'); s.stored_bytes('r'); "
        "print(sorted({'numpy', 'google.protobuf', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_trouble_with_it_is_not_trouble_with_a_save(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("anything")

    caplog.set_level(logging.INFO, "holdfast")
    monkeypatch.setattr(catalog_file.sqlite3, "connect", broken)
    assert save(path, 4).step == 4
    assert "was not brought up to date: anything" in caplog.text
