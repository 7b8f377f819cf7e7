"""Curves and layers of a run on a real store."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import holdfast
from holdfast.errors import NotFound, UsageError
from holdfast.history.layers import LayersOverTime, layers_over_time, newest_line
from holdfast.history.run_picture import picture_of
from holdfast.policy.curve import Curve


def layers(store: holdfast.Store, depth: int = 2) -> LayersOverTime:
    line = newest_line(store.log("r"))
    return layers_over_time("r", line, lambda a, b: store.diff(a.ref, b.ref), depth)


def test_norms_and_movement_of_layers(store_path: Path) -> None:
    state = {"m": {"a.w": np.full(4, 1.0), "a.b": np.full(4, 2.0), "c.w": np.zeros(3)}}
    for step in range(4):
        if step == 2:
            state["m"]["a.w"] = np.full(4, 3.0)
        if step == 3:
            state["m"]["a.b"] = np.full(4, 1.0)
            state["m"]["c.w"] = np.full(3, 1.0)
        holdfast.save(store_path, state, run="r", step=step, rng=False)
    shown = layers(holdfast.Store(store_path))
    a, c = shown.layers
    assert (shown.steps, a.prefix, c.prefix) == ((0, 1, 2, 3), "m/a", "m/c")
    assert a.norms == pytest.approx([math.sqrt(20), math.sqrt(20), math.sqrt(52), math.sqrt(40)])
    assert a.moved[1:] == pytest.approx([0.0, 4 / math.sqrt(20), 2 / math.sqrt(52)])
    assert c.moved[1:] == (0.0, 0.0, math.inf)


def test_tensors_that_never_change_are_in_no_layer(store_path: Path) -> None:
    state = {"w": np.zeros(3), "frozen": np.ones(1_000_000)}
    for step in range(3):
        state["w"] += 1
        holdfast.save(store_path, state, run="r", step=step, rng=False)
    shown = layers(holdfast.Store(store_path))
    assert [layer.prefix for layer in shown.layers] == ["w"] and shown.n_frozen == 1
    # A page of each checkpoint of each pair.
    assert shown.read_bytes <= 4 * 4096


def test_layers_that_are_not_there_are_no_layers_that_stand_still(store_path: Path) -> None:
    for step, names in enumerate(["a", "a", "ab", "ab"]):
        tree = {name: np.full(3, float(step)) for name in names}
        holdfast.save(store_path, tree, run="r", step=step, rng=False)
    store = holdfast.Store(store_path)
    line = newest_line(store.log("r"))
    of = {
        glob: lambda a, b, glob=glob: store.diff(a.ref, b.ref, only=glob) for glob in ("b", "no/**")
    }
    assert [layer.prefix for layer in layers_over_time("r", line, of["b"], 1).layers] == ["b"]
    with pytest.raises(UsageError, match="nothing to compare"):
        layers_over_time("r", line, of["no/**"], 1)


def test_a_leaf_that_comes_later_or_goes(store_path: Path) -> None:
    holdfast.save(store_path, {"a": np.ones(2), "b": np.ones(2)}, run="r", step=0, rng=False)
    holdfast.save(store_path, {"a": np.ones(2) * 2, "c": np.ones(2)}, run="r", step=1, rng=False)
    holdfast.save(store_path, {"a": np.ones(2) * 2, "c": np.ones(2) * 2}, run="r", step=2)
    shown = layers(holdfast.Store(store_path), 1)
    assert [layer.prefix for layer in shown.layers] == ["a", "c"]


def test_where_a_layer_is_not_there_nothing_is_told_of_it(store_path: Path) -> None:
    """It did not stand still, nor has it the norm that it had or will have."""
    trees: list[dict[str, np.ndarray]] = [
        {"gone": np.ones(4), "ruined": np.ones(4), "still": np.ones(4)},
        {"gone": np.ones(4) * 2, "ruined": np.ones(4) * 2, "still": np.ones(4)},
        {"came": np.ones(1), "ruined": np.array([1, 1, np.nan, np.nan]), "still": np.ones(4)},
        {"came": np.ones(1) * 3, "ruined": np.full(4, np.nan), "still": np.ones(4) * 2},
        {"came": np.ones(1) * 3, "ruined": np.ones(4), "still": np.ones(4) * 2},
        {"came": np.ones(1) * 3, "ruined": np.ones(4) * 5, "still": np.ones(4) * 2},
    ]
    for step, tree in enumerate(trees):
        holdfast.save(store_path, tree, run="r", step=step, rng=False)
    nan = pytest.approx(math.nan, nan_ok=True)
    found = {layer.prefix: layer for layer in layers(holdfast.Store(store_path), 1).layers}
    assert found["gone"].norms == (2, 4, nan, nan, nan, nan)
    assert found["gone"].moved == (nan, 1, nan, nan, nan, nan)
    assert found["came"].norms == (nan, nan, 1, 3, 3, 3)
    assert found["came"].moved == (nan, nan, nan, 2, 0, 0)
    assert found["ruined"].norms == (2, 4, pytest.approx(math.sqrt(2)), nan, 2, 10)
    assert found["ruined"].moved == (nan, 1, pytest.approx(math.sqrt(2) / 4), nan, nan, 4)
    assert found["still"].norms == (2, 2, 2, 4, 4, 4) and found["still"].moved[2:4] == (0, 1)


def test_a_single_checkpoint_moves_nowhere(store_path: Path) -> None:
    holdfast.save(store_path, {"a": 1}, run="r", step=0)
    with pytest.raises(UsageError, match="has 1 checkpoint"):
        layers(holdfast.Store(store_path))


def test_curves_are_of_the_newest_line(store_path: Path) -> None:
    for step, loss in ((1, 4.0), (2, 3.0), (3, 9.0), (2, 2.5)):
        holdfast.save(store_path, {"a": step}, run="r", step=step, metrics={"loss": loss})
    store = holdfast.Store(store_path)
    assert store.curves("r") == {"loss": Curve([1, 2], [4.0, 2.5])}
    assert [info.seq for info in newest_line(store.log("r"))] == [1, 4]
    with pytest.raises(NotFound):
        store.curves("other")


def test_what_a_plot_shows() -> None:
    steps = list(range(30))
    curves = {
        "loss": Curve(steps, [1 / (step + 1) for step in steps]),
        "val_loss": Curve(steps, [1 + abs(step - 9) / 30 for step in steps]),
        "lr": Curve(steps, [1.0] * 20 + [50.0] * 10),
        "bad_loss": Curve([1, 2], [math.nan, math.inf]),
    }
    modes = {"loss": "min", "val_loss": "min", "bad_loss": "min"}
    shown = picture_of("r", curves, [], [], modes.get)
    pair, rate, bad = shown.panels
    assert list(pair.curves) == ["loss", "val_loss"] and pair.best == (9, 1.0)
    assert [(f.kind, f.since_step) for f in pair.findings] == [("overfitting", 9)]
    assert rate.best is None and rate.findings == (), "a learning rate has no best, and may jump"
    assert bad.best is None and [f.kind for f in bad.findings] == ["divergence"]
    only = picture_of("r", curves, [], ["val_loss"], modes.get)
    assert [list(panel.curves) for panel in only.panels] == [["loss", "val_loss"]]
    with pytest.raises(NotFound, match=r"no metric 'acc'.*loss, val_loss"):
        picture_of("r", curves, [], ["acc"], modes.get)
    with pytest.raises(NotFound, match="no metrics"):
        picture_of("r", {}, [], [], modes.get)
