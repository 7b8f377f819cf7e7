import numpy as np

from holdfast.drill.compare import compare
from holdfast.drill.leaves import Saved, leaves_of
from holdfast.drill.record import Life, Record
from holdfast.drill.series import Series


def record(tree=None, series=(), key="last.pt"):
    saved = {}
    if tree is not None:
        arrays = {path: value for path, value in tree.items() if isinstance(value, np.ndarray)}
        saved[key] = Saved(key, leaves_of(tree), arrays.get)
    return Record((Life(0, 1.0),), saved, {f"{s.source}: {s.name}": s for s in series})


def test_equal_trees_differ_in_nothing_and_bits_count():
    tree = {"w": np.array([1.0, np.nan]), "step": 3, "name": "a", "none": None}
    assert compare(record(tree), record(dict(tree))).is_none
    difference = compare(record({"w": np.zeros(2)}), record({"w": -np.zeros(2)}))
    assert [d.what for d in difference.leaves] == ["value"]


def test_each_way_to_differ_is_told():
    one = {
        "same": np.ones(2),
        "gone": 1,
        "cast": np.ones(2, np.float32),
        "shape": np.ones(2),
        "value": np.array([3.0, 4.0]),
        "plain": 0.5,
    }
    other = {
        "same": np.ones(2),
        "cast": np.ones(2, np.float16),
        "shape": np.ones(3),
        "value": np.array([3.0, 3.0]),
        "plain": 0.25,
        "new": True,
    }
    difference = compare(record(one), record(other))
    found = {d.path: d for d in difference.leaves}
    assert {path: d.what for path, d in found.items()} == {
        "gone": "missing",
        "cast": "type",
        "shape": "shape",
        "value": "value",
        "plain": "value",
        "new": "added",
    }
    assert found["value"].distance == 0.2
    assert found["plain"].words == "0.5, found 0.25"
    assert difference.n_arrays_equal == 1


def test_arrays_that_were_one_and_are_several_are_told():
    shared = np.arange(3.0)
    difference = compare(
        record({"a": shared, "b": shared}), record({"a": shared, "b": shared.copy()})
    )
    assert [d.what for d in difference.leaves] == ["untied"]


def test_a_checkpoint_that_is_missing_is_told_and_what_changes_each_time_is_not():
    tree = {"when": "monday", "w": 1}
    assert compare(record(tree), record(None)).missing == ("last.pt",)
    later = {"when": "tuesday", "w": 1}
    assert compare(record(tree), record(later), ["last.pt: when"]).is_none


def test_metrics_are_compared_from_where_the_last_life_printed():
    one = Series("printed", "loss", {step: float(step) for step in range(10)})
    resumed = Series("printed", "loss", {step: float(step) for step in range(6, 10)})
    assert compare(record(series=[one]), record(series=[resumed])).is_none
    wrong = Series("printed", "loss", {**resumed.values, 8: 0.0})
    difference = compare(record(series=[one]), record(series=[wrong])).series[0]
    assert (difference.step, difference.expected, difference.found) == (8, 8.0, 0.0)
    # A run that ends too soon does not pass.
    short = Series("printed", "loss", {6: 6.0, 7: 7.0})
    assert compare(record(series=[one]), record(series=[short])).series[0].step == 9
