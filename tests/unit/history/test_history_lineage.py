"""Lineage: recorded, drawn, and followed no further than it goes."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer, keep
from holdfast.errors import NotFound, UsageError
from holdfast.format.lineage import Origin
from holdfast.history import graph
from holdfast.history.info import CheckpointInfo
from holdfast.history.lineage import ancestors, forest
from holdfast.history.summary import RunSummary, summary_of
from holdfast.state.config import clean_config


def train(path: Path, run: str, until: int, *, ref: Any = None, **options: Any) -> None:
    restore = {"store": options.pop("store")} if "store" in options else {}
    with Checkpointer(path, {"w": np.zeros(3)}, run=run, **options) as ckpt:
        if ckpt.restore() is None and ref is not None:
            ckpt.restore(ref, **restore)
        for step in range(ckpt.next_step, until):
            ckpt.step(step)
            ckpt.save(step)


# --- recorded ---


def test_a_resume_is_told_with_every_checkpoint(store_path: Path) -> None:
    train(store_path, "r", 2, config={"lr": 0.1}, dataset="sha256:00")
    train(store_path, "r", 4, config={"lr": 0.2})
    first, second, third, fourth = holdfast.Store(store_path).log("r")
    assert first.resumed_from is None and second.resumed_from is None
    assert third.resumed_from == fourth.resumed_from
    assert fourth.resumed_from is not None
    assert (fourth.resumed_from.id, fourth.resumed_from.ref) == (second.id, "r@1")
    assert (first.config, first.dataset) == ({"lr": 0.1}, "sha256:00")
    assert (fourth.config, fourth.dataset) == ({"lr": 0.2}, None)
    assert [info.parent for info in (second, third, fourth)] == [first.id, second.id, third.id]


def test_a_fork_stays_one_however_often_it_is_resumed(store_path: Path) -> None:
    train(store_path, "base", 3)
    for until in (5, 6, 7):
        train(store_path, "fork", until, ref="base@1", keep=keep.last(1))
    store = holdfast.Store(store_path)
    [left] = store.log("fork")
    assert left.step == 6 and left.forked_from is not None and left.resumed_from is not None
    assert left.forked_from.id == store.info("base@1").id
    assert left.resumed_from.ref == "fork@5"
    assert [(b.run, b.depth) for b in store.lineage()] == [("base", 0), ("fork", 1)]


def test_a_run_begins_at_a_checkpoint_of_another_store(store_path: Path, tmp_path: Path) -> None:
    state = {"w": np.arange(3.0)}
    base = holdfast.save(tmp_path / "other", state, run="base", step=41, rng=False, tag="good")
    into = {"w": np.zeros(3)}
    with Checkpointer(store_path, into, run="base") as ckpt:
        restored = ckpt.restore("base@good", store=tmp_path / "other", strict=False)
        assert restored is not None and ckpt.next_step == 42
        assert into["w"].tolist() == [0, 1, 2]
        ckpt.save(42)
    [info] = holdfast.Store(store_path).log("base")
    assert info.forked_from is not None and info.resumed_from is None
    assert (info.forked_from.id, info.forked_from.run) == (base.id, "base")
    assert info.forked_from.store not in (None, "") and info.parent == base.id
    # Of the same name, but in another store: no circle.
    assert [(b.run, b.depth) for b in holdfast.Store(store_path).lineage()] == [("base", 0)]
    with (
        Checkpointer(store_path, into, run="new") as ckpt,
        pytest.raises(NotFound, match="no store at"),
    ):
        ckpt.restore("base@good", store=tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Options:
    lr: float
    sizes: tuple[int, ...]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, None),
        ({}, {}),
        ({"a": 1, "b": [1.5, None, True], "c": {"d": "x"}}, None),
        (Options(0.1, (1, 2)), {"lr": 0.1, "sizes": [1, 2]}),
        (argparse.Namespace(out=Path("/x"), n=3), {"out": "/x", "n": 3}),
        ({"c": Colour.RED, 3: {2, 1}}, {"c": "RED", "3": [1, 2]}),
        (
            {"x": float("inf"), "n": np.int64(3), "f": np.float32(0.5)},
            {"x": "inf", "n": 3, "f": 0.5},
        ),
    ],
    ids=str,
)
def test_configurations(config: Any, expected: Any) -> None:
    assert clean_config(config) == (config if expected is None else expected)


def nested() -> dict[str, Any]:
    circle: dict[str, Any] = {}
    circle["again"] = circle
    return circle


@pytest.mark.parametrize(
    "config",
    [
        *(3, "text", [1], {"a": object()}, {"a": lambda: 0}, {(1, 2): 3}, {"a": 2**80}, nested()),
        *({"a": np.zeros(2)}, {"a": "x" * (2 << 20)}),
    ],
    ids=[*"0123456789"],
)
def test_what_is_no_configuration_is_refused(store_path: Path, config: Any) -> None:
    with pytest.raises(UsageError, match="config="):
        Checkpointer(store_path, {"w": np.zeros(3)}, run="r", config=config)
    assert not store_path.exists()


@pytest.mark.parametrize("dataset", [3, "", b"x", "x" * 20_000], ids=[*"0123"])
def test_what_is_no_fingerprint_is_refused(store_path: Path, dataset: Any) -> None:
    with pytest.raises(UsageError, match="dataset="):
        holdfast.save(store_path, {"a": 1}, run="r", step=1, dataset=dataset)


# --- followed ---


def info(name: str, parent: str | None = None, **more: Any) -> CheckpointInfo:
    now = datetime.now(UTC)
    return CheckpointInfo(more.pop("run", "r"), 1, name, 1, now, parent=parent, **more)


def origin(run: str, name: str = "x", store: str | None = None) -> Origin:
    return Origin(store, run, 1, name)


def test_what_was_removed_in_between_is_passed_over() -> None:
    # a … c of one process, whose b is gone; d … f of another that resumed from c; e is gone.
    listed = [
        info("a", None, incarnation="1"),
        info("c", "b", incarnation="1"),
        info("d", "gone", incarnation="2", resumed_from=origin("r", "c")),
        info("f", "e", incarnation="2", resumed_from=origin("r", "c")),
        info("g", "gone", incarnation="3", resumed_from=origin("r", "a")),
        info("h", "gone", incarnation="4", resumed_from=origin("r", "gone")),
    ]
    assert ancestors(listed) == [
        ("a", None),
        ("c", "a"),
        ("d", "c"),
        ("f", "d"),
        ("g", "a"),
        ("h", None),
    ]


def test_circles_of_parents_are_drawn_and_end() -> None:
    parents = [("a", "c"), ("b", "b"), ("c", "b"), ("c", "a"), ("a", "a")]
    hostile = [info(name, parent, incarnation=str(n)) for n, (name, parent) in enumerate(parents)]
    found = ancestors(hostile)
    assert found == [("a", None), ("b", None), ("c", "b"), ("c", "a"), ("a", "a")]
    assert len(graph.draw(found[::-1])) == 5
    assert len(graph.draw([("a", "b"), ("b", "a"), ("a", "a")])) == 3


def run_of(parent: str | None, store: str | None = None) -> RunSummary:
    forked = origin(parent, store=store) if parent is not None else None
    return summary_of([info("x", forked_from=forked)])


def test_runs_come_below_what_they_were_forked_from() -> None:
    runs = {
        "a": run_of("c"),
        "b": run_of(None),
        "c": run_of("b", store="here"),
        "d": run_of("b"),
        "e": run_of("b", store="elsewhere"),
        "f": run_of("removed"),
        "g": summary_of([]),
    }
    found = [(b.run, b.depth) for b in forest(runs, "here")]
    assert found == [("b", 0), ("c", 1), ("a", 2), ("d", 1), ("e", 0), ("f", 0), ("g", 0)]


def test_circles_of_runs_end_and_every_run_is_there_once() -> None:
    dice = random.Random(0)
    for _ in range(200):
        names = [str(n) for n in range(dice.randint(1, 8))]
        runs = {name: run_of(dice.choice([*names, None])) for name in names}
        found = forest(runs, None)
        assert sorted(b.run for b in found) == sorted(names)
        assert len(graph.tree([b.depth for b in found])) == len(names)
    chain = {str(n): run_of(str(n - 1) if n else None) for n in range(5000)}
    assert [b.depth for b in forest(chain, None)] == list(range(5000))
    assert max(map(len, graph.tree(list(range(5000))))) < 60


def test_a_tree_is_drawn_like_one() -> None:
    assert graph.tree([0, 1, 2, 2, 1, 0]) == ["", "├─ ", "│ ├─ ", "│ └─ ", "└─ ", ""]
    assert graph.tree([0, 1, 2, 3], graph.ASCII) == ["", "`- ", "  `- ", "    `- "]
    assert graph.tree([]) == []
