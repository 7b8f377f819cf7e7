"""Names in sequence, whatever happens to the writer: no gap, none twice, none of nothing."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import holdfast
from holdfast.engine.leaf_filler import leaf_filler
from holdfast.engine.new_job import job_of
from holdfast.engine.run_writer import RunWriter
from holdfast.engine.stream import StreamSource
from holdfast.engine.unfinished import Saved
from holdfast.errors import HoldfastError, NoSpace
from holdfast.plan.layout import plan_layout
from holdfast.records import commits, tags
from holdfast.records.opening import open_store
from holdfast.state.flatten import flatten
from holdfast.testing import killing
from holdfast.testing.effects import EffectLog, Effects, Strike


def opened(path: Path) -> RunWriter:
    writer = RunWriter(open_store(path, create=True), "r")
    writer.open(os.getpid())
    return writer


def save(writer: RunWriter, step: int) -> Saved:
    flat = flatten({"w": np.full(100, step)})
    layout = plan_layout((leaf.path, leaf.spec.nbytes) for leaf in flat.leaves)
    job = job_of(flat, layout, "r", step=step, versions=("model",))
    return writer.save(job, StreamSource(layout, leaf_filler(flat.leaves, layout)))


def save_once(path: Path, step: int) -> None:
    writer = opened(path)
    try:
        save(writer, step)
    finally:
        writer.close()


def assert_in_sequence(path: Path) -> None:
    """As many names as checkpoints, in their order, each as its commit says."""
    store = open_store(path, create=False)
    records = commits.good_commits(store, "r")
    named = {tag.name: tag.checkpoint_id for tag in tags.all_tags(store, "r")}
    assert named == {f"model_v{n}": record.id for n, record in enumerate(records, 1)}
    assert [record.names for record in records] == [
        (f"model_v{n}",) for n in range(1, len(records) + 1)
    ]


def test_killed_at_any_moment_of_a_save(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    save_once(begun, 0)
    effects = killing.observe(lambda: save_once(begun, 1), begun).effects
    assert len(effects) > 15
    for number, point in enumerate(killing.kill_points(effects)):
        store = tmp_path / f"{number}"
        save_once(store, 0)
        ended = killing.run_killed(partial(save_once, store, 1), store, point)
        assert ended.status in (-9, 0), ended.output
        save_once(store, 2)
        assert_in_sequence(store)


def test_errors_at_any_effect_of_a_save(tmp_path: Path) -> None:
    store = tmp_path / "store"
    save_once(store, 0)
    for number in range(40):
        log = EffectLog(str(tmp_path / f"{number}.log"))
        effects = Effects(str(store), log, Strike(number, error=errno.ENOSPC))
        # What can be made up for is not an error.
        with suppress(HoldfastError):
            save_once(store, number + 1)
        effects.close()
    save_once(store, 100)
    assert_in_sequence(store)
    assert holdfast.Store(store).verify().ok


def test_a_name_that_could_not_be_given_is_given_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise NoSpace("full")

    writer = opened(tmp_path / "s")
    with monkeypatch.context() as patched:
        patched.setattr(tags, "put_name", full)
        saved = save(writer, 1)
    assert isinstance(saved.tag_error, NoSpace) and saved.record.names == ("model_v1",)
    assert tags.all_tags(writer.store, "r") == []
    save(writer, 2)
    assert_in_sequence(tmp_path / "s")
    with monkeypatch.context() as patched:
        patched.setattr(tags, "put_name", full)
        save(writer, 3)
        writer.close()
        # A writer that cannot even now goes on, and says so.
        opened(tmp_path / "s").close()
    assert "waits for its name: full" in caplog.text
    opened(tmp_path / "s").close()
    assert_in_sequence(tmp_path / "s")
