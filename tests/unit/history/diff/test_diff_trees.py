"""Trees of leaves against each other, groups, facts side by side: pure functions."""

from __future__ import annotations

import math

from holdfast.history.diff.movement import Movement
from holdfast.history.diff.report import (
    Fact,
    TensorChange,
    group_tensors,
    prefix_of,
    side_by_side,
)
from holdfast.history.diff.trees import Leaf, diff_trees
from holdfast.history.info import LeafInfo


def array(path: str, shape: tuple[int, ...] = (2,), dtype: str = "float32", row: int = 0) -> Leaf:
    return Leaf(LeafInfo(path, "array", dtype, shape), row)


def plain(path: str, value: object) -> Leaf:
    return Leaf(LeafInfo(path, type(value).__name__, value=value), -1)


def test_every_kind_of_difference_has_its_place() -> None:
    before = [array("a"), array("b"), array("c"), array("gone"), plain("lr", 0.1), plain("n", 1)]
    after = [
        array("a", (3,)),
        array("b", dtype="bfloat16"),
        array("c"),
        array("new"),
        plain("lr", 0.2),
        array("n"),
    ]
    found = diff_trees(before, after)
    assert [leaf.path for leaf in found.added] == ["new"]
    assert [leaf.path for leaf in found.removed] == ["gone"]
    assert [pair.path for pair in found.reshaped] == ["a"]
    assert [pair.path for pair in found.recast] == ["b", "n"]
    assert [pair.path for pair in found.values] == ["lr"]
    assert [pair.path for pair in found.arrays] == ["b", "c"]


def test_values_that_python_takes_for_equal_are_not_always() -> None:
    before = [plain("a", 1), plain("b", math.nan), plain("c", True), plain("d", 0.0)]
    after = [plain("a", 1.0), plain("b", math.nan), plain("c", 1), plain("d", 0.0)]
    found = diff_trees(before, after)
    assert [pair.path for pair in found.values] == ["a", "c"]


def test_two_leaves_of_one_path_are_told_apart() -> None:
    before = [plain("d/1", "int key"), plain("d/1", "text key")]
    after = [plain("d/1", "int key"), plain("d/1", "other")]
    [pair] = diff_trees(before, after).values
    assert (pair.before.info.value, pair.after.info.value) == ("text key", "other")
    assert len(diff_trees(before, after[:1]).removed) == 1


def test_only_what_is_chosen_is_compared() -> None:
    found = diff_trees([array("a"), plain("x", 1)], [plain("x", 2)], lambda path: path == "x")
    assert found.removed == () and len(found.values) == 1


def test_groups_sum_up_what_was_read() -> None:
    def tensor(path: str, change: float, same_as: str | None = None) -> TensorChange:
        m = Movement(1, 1, 1, sum_sq_change=change, sum_sq_before=4.0)
        return TensorChange(path, "float32", (1,), 4, m if change else None, same_as)

    tensors = [
        tensor("model/h.0.w", 1.0),
        tensor("model/h.0.b", 3.0),
        tensor("model/h.1.w", 0.0),
        tensor("model/head.w", 9.0, same_as="model/h.0.w"),
    ]
    first, second = group_tensors(tensors, 3)
    assert (first.prefix, first.n_tensors, first.n_changed) == ("model/h.0", 2, 2)
    assert first.movement.relative == math.sqrt(4.0) / math.sqrt(8.0)
    assert (second.prefix, second.n_changed, second.movement.n_elems) == ("model/h.1", 0, 0)
    assert [group.n_tensors for group in group_tensors(tensors, 1)] == [3]


def test_prefixes() -> None:
    assert prefix_of("a/b.c", 1) == "a"
    assert prefix_of("a/b.c", 9) == "a/b.c"


def test_facts_side_by_side() -> None:
    facts = side_by_side({"p": {"np": 1}, "x": math.nan}, {"p": {"np": 2, "jax": 3}, "x": math.nan})
    assert facts == (Fact("p.np", 1, 2), facts[1], Fact("p.jax", None, 3))
    assert [fact.is_same for fact in facts] == [False, True, False]
