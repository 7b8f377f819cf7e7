"""A copy of a checkpoint has what was written about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import holdfast


def save(path: Path, step: int, value: float) -> None:
    tree = {"w": np.full(50, value)}
    holdfast.save(path, tree, run="r", step=step, metrics={"loss": value}, config={"lr": 0.1})


@pytest.fixture
def source(tmp_path: Path) -> holdfast.Store:
    path = tmp_path / "source"
    save(path, 1, 0.5)
    save(path, 2, 0.25)
    store = holdfast.Store(path)
    store.tag("r@2", "good")
    store.tag("r@2", "best_model_v1", fixed=True)
    store.tag("r@1", "old")
    store.note("r@1", "of another")
    store.note("r", "of the run")
    store.note("r@2", "first", {"rated": 5, "by": "ada"})
    store.note("r@2", "second", {"rated": 4, "by": None})
    return store


@pytest.mark.parametrize("encrypted", [False, True])
def test_tags_names_notes_and_metrics_go_along(
    source: holdfast.Store, tmp_path: Path, encrypted: bool
) -> None:
    phrase = holdfast.keys.passphrase("a phrase that is long") if encrypted else None
    target = holdfast.Store(tmp_path / "target", keys=phrase)
    copied = source.copy("r@good", target)
    found = target.info("r@best_model_v1")
    assert found == copied == target.info("r@good")
    assert sorted(found.tags) == ["best_model_v1", "good"]
    assert found.notes == ("first", "second") and found.values == {"rated": 4}
    assert found.metrics == {"loss": 0.25} and found.config == {"lr": 0.1}
    assert target.history("r").written.texts == ()
    assert target.verify().ok
    with pytest.raises(holdfast.errors.UsageError):
        target.untag("r", "best_model_v1")


def test_what_others_have_there_stays_theirs_and_is_told(
    source: holdfast.Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = holdfast.Store(tmp_path / "target")
    save(tmp_path / "target", 7, 0.1)
    target.tag("r@7", "good")
    target.tag("r@7", "best_model_v1", fixed=True)
    copied = source.copy("r@2", target)
    assert copied.tags == () and copied.notes == ("first", "second")
    assert target.info("r@good").step == 7 == target.info("r@best_model_v1").step
    assert "the tag 'good' stays" in caplog.text
    assert "the name 'best_model_v1' stays" in caplog.text
    assert target.verify().ok
