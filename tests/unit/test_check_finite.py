"""Checkpoints with NaN or infinities: counted, told, and never the best."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import holdfast
from holdfast import Checkpointer, keep, keys, on
from holdfast.errors import NotFound, UsageError
from holdfast.plan.layout import CHUNK_BYTES
from holdfast.records import journal

RUN = "run"


def save(location: Any, step: int, loss: float, *, bad: int = 0, **more: Any) -> Any:
    w = np.ones(300, np.float32)
    w[:bad] = np.nan
    tree = {"w": w, "n": np.arange(9), "lr": float("inf")}
    more = {"check_finite": True, **more}
    return holdfast.save(location, tree, run=RUN, step=step, metrics={"loss": loss}, **more)


def leaves_of(store: holdfast.Store, ref: str) -> dict[str, int | None]:
    return {leaf.path: leaf.not_finite for leaf in store.leaves(ref) if leaf.kind == "array"}


def test_values_are_counted_by_leaf_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert save(tmp_path, 1, 0.5).not_finite == 0
    assert not caplog.records
    assert save(tmp_path, 2, 0.4, bad=7).not_finite == 7
    assert "7 value(s)" in caplog.text and "'w'" in caplog.text
    assert save(tmp_path, 3, 0.3, bad=7, check_finite=False).not_finite is None
    store = holdfast.Store(tmp_path)
    found = leaves_of(store, f"{RUN}@2")
    # A plain value may well be infinite, and integers cannot be.
    assert found["w"] == 7 and found["n"] is None
    assert leaves_of(store, f"{RUN}@3")["w"] is None
    assert [info.not_finite for info in store.log(RUN)] == [0, 7, None]
    assert store.verify().ok


def test_only_leaves_that_match_are_looked_at(tmp_path: Path) -> None:
    mask = torch.full((4, 4), float("-inf")).triu(1)
    tree = {"model": {"w": torch.ones(5), "mask": mask}, "ema": torch.full((3,), torch.nan)}
    how: dict[str, Any] = {"run": RUN, "rng": False}
    assert holdfast.save(tmp_path, tree, step=1, check_finite=True, **how).not_finite == 9
    assert holdfast.save(tmp_path, tree, step=2, check_finite="model/w", **how).not_finite == 0
    assert holdfast.save(tmp_path, tree, step=3, check_finite=["ema"], **how).not_finite == 3
    for wrong in (1, None, [2], [], ""):
        with pytest.raises(UsageError, match="check_finite="):
            holdfast.save(tmp_path, tree, step=4, check_finite=wrong, **how)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        Checkpointer(tmp_path, tree, run="other", check_finite=1)  # type: ignore[arg-type]


def test_the_best_is_one_that_is_finite(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path, 1, 0.5)
    save(tmp_path, 2, 0.1, bad=1)
    save(tmp_path, 3, 0.2, check_finite=False)
    save(tmp_path, 4, 0.9, bad=1)
    store = holdfast.Store(tmp_path)
    caplog.clear()
    assert store.info(f"{RUN}@best:loss").step == 3
    assert "passed over (steps 2)" in caplog.text
    caplog.clear()
    assert store.info(f"{RUN}@best:loss:max").step == 1
    assert "passed over (steps 4)" in caplog.text
    kept = store.prune(RUN, keep.best("loss", n=2), dry_run=True).kept
    assert [info.step for info, _ in kept] == [1, 3, 4]
    assert store.summary(RUN).lowest["loss"].step == 3


def test_where_none_is_finite_none_is_the_best(tmp_path: Path) -> None:
    save(tmp_path, 1, 0.5, bad=1)
    with pytest.raises(NotFound, match="NaN or infinite, so that none is the best"):
        holdfast.Store(tmp_path).info(f"{RUN}@best:loss")


def test_a_run_with_a_bad_stretch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Losses go down all the time; at steps 2 and 3 the weights are NaN."""
    state = {"w": torch.ones(100_000), "big": torch.zeros(CHUNK_BYTES // 4 + 1000)}
    ckpt = Checkpointer(
        tmp_path,
        state,
        run=RUN,
        save=on.best("loss", name="good"),
        keep=keep.best("loss"),
        check_finite=True,
    )
    losses = [0.5, 0.4, 0.2, 0.1, 0.35, 0.3]
    with ckpt:
        for step, loss in enumerate(losses):
            # The rest of the chunks stays as it was, and is neither digested nor read again.
            state["w"][:5] = torch.nan if step in (2, 3) else float(step)
            state["big"][-1] = torch.inf if step == 3 else 0.0
            handle = ckpt.step(step, metrics={"loss": loss})
            if handle is not None:
                handle.wait()
    store = holdfast.Store(tmp_path)
    assert store.info(f"{RUN}@best:loss").step == 5
    assert list(store.info(f"{RUN}@5").tags) == ["good_v4"]
    assert holdfast.load(tmp_path, f"{RUN}@good_v3")["w"][0] == 4.0
    found = [e for e in journal.events(store.place.open(), RUN) if e["event"] == "not-finite"]
    assert [(e["step"], e["elements"]) for e in found] == [(2, 5), (3, 6)]
    assert found[1]["leaves"] == ["w", "big"]
    assert caplog.text.count("is never taken for the best") == 2


def test_the_best_is_known_after_a_resume(tmp_path: Path) -> None:
    state = {"w": torch.ones(10)}
    how: dict[str, Any] = {"run": RUN, "save": on.best("loss"), "check_finite": True}
    with Checkpointer(tmp_path, state, **how) as ckpt:
        ckpt.step(0, metrics={"loss": 0.5})
        ckpt.wait()
        state["w"][0] = torch.nan
        ckpt.step(1, metrics={"loss": 0.1})
    state["w"][0] = 1.0
    with Checkpointer(tmp_path, state, **how) as ckpt:
        ckpt.restore(0)
        assert ckpt.step(1, metrics={"loss": 0.6}) is None
        assert ckpt.step(2, metrics={"loss": 0.4}) is not None


def test_what_is_unchanged_keeps_its_count(tmp_path: Path) -> None:
    state = {"frozen": torch.full((400_000,), torch.nan), "w": torch.zeros(400_000)}
    with Checkpointer(tmp_path, state, run=RUN, check_finite=True) as ckpt:
        for step in range(3):
            state["w"] += 1
            assert ckpt.save(step).wait().not_finite == 400_000
    assert leaves_of(holdfast.Store(tmp_path), f"{RUN}@2")["frozen"] == 400_000


def test_a_bad_checkpoint_is_restored_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 1, 0.5, bad=2)
    caplog.clear()
    assert np.isnan(holdfast.load(tmp_path, f"{RUN}@latest")["w"]).sum() == 2
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "2 value(s) of it are NaN or infinite" in caplog.text


def test_copies_and_encrypted_stores_count_too(tmp_path: Path) -> None:
    sealed = holdfast.Store(tmp_path / "sealed", keys=keys.passphrase("a long phrase, for a test"))
    assert save(sealed, 1, 0.5, bad=3).not_finite == 3
    copied = sealed.copy(f"{RUN}@1", tmp_path / "copy")
    assert copied.not_finite == 3
    assert leaves_of(holdfast.Store(tmp_path / "copy"), f"{RUN}@1")["w"] == 3
