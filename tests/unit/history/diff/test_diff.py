"""``Store.diff`` on real stores: right figures, few bytes read, damage named."""

from __future__ import annotations

import math
import os
import tracemalloc
from collections import OrderedDict
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import holdfast
from holdfast.errors import ChunkDamaged, InvalidName, NotFound, UsageError
from holdfast.format.names import RunKeys
from holdfast.history.diff.compare import Source, diff
from holdfast.history.diff.report import DiffReport, TensorChange
from holdfast.records import commits
from holdfast.store.contract import ObjectReader
from holdfast.store.local import LocalStore


def by_path(report: DiffReport) -> dict[str, TensorChange]:
    return {tensor.path: tensor for tensor in report.tensors}


def test_what_a_training_step_changes(store_path: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 8))
    model[0].requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad])
    state = {"model": model, "optimizer": optimizer}
    weights = []
    for step in (1, 2):
        optimizer.zero_grad()
        model(torch.randn(16, 64)).square().mean().backward()
        optimizer.step()
        weights.append(model[1].weight.detach().double().numpy().copy())
        holdfast.save(store_path, state, run="r", step=step, metrics={"loss": 1.0 / step})
    report = holdfast.Store(store_path).diff("r@1", "r@2")
    found = by_path(report)
    moved = found["model/1.weight"].movement
    assert moved is not None
    x, y = weights
    assert moved.relative == pytest.approx(np.linalg.norm(y - x) / np.linalg.norm(x), rel=1e-9)
    assert moved.largest == pytest.approx(np.abs(y - x).max(), rel=1e-12)
    assert not found["model/0.weight"].is_changed
    assert found["optimizer/state/0/step"].movement.largest == 1.0
    assert report.generators == ("torch",)
    assert not report.added and not report.removed and not report.recast
    assert [(f.name, f.before, f.after) for f in report.metrics] == [("loss", 1.0, 0.5)]
    assert any(f.name == "packages.torch" and f.is_same for f in report.environment)


def test_a_checkpoint_beside_itself(store_path: Path) -> None:
    holdfast.save(store_path, {"w": np.arange(9.0), "x": math.nan}, run="r", step=1)
    report = holdfast.Store(store_path).diff("r@1", "r@latest")
    assert report.is_same_state and report.read_bytes == 0
    assert [t.movement for t in report.tensors] == [None]


def test_all_kinds_of_arrays(store_path: Path) -> None:
    def state(n: int) -> dict[str, Any]:
        return {
            "bf16": np.full(1000, n, ml_dtypes.bfloat16),
            "f8": torch.full((1000,), float(n)).to(torch.float8_e4m3fn),
            "c64": np.full(10, n + 1j, np.complex64),
            "i64": np.full(10, 2**62 + n),
            "bool": np.full(10, n == 2),
            "text": np.array([f"x{n}", "y"]),
            "when": np.array([n], "M8[s]"),
            "record": np.zeros(3, [("a", "i4"), ("b", "f8")]),
            "long": "a long text " * 200_000 + str(n),
            "empty": np.zeros((0, 4)),
            "scalar": np.array(float(n)),
        }

    for n in (1, 2):
        holdfast.save(store_path, state(n), run="r", step=n, rng=False)
    found = by_path(holdfast.Store(store_path).diff("r@1", "r@2"))
    assert found["bf16"].movement.relative == found["f8"].movement.relative == 1.0
    assert found["c64"].movement.largest == 1.0
    assert found["i64"].movement.largest == 1.0, "not lost beside 2**62"
    assert found["bool"].movement.n_changed == 10
    assert found["text"].movement.n_changed == 1 and math.isnan(found["text"].movement.relative)
    assert found["when"].movement.n_changed == 1
    assert not found["record"].is_changed and not found["empty"].is_changed
    assert found["long"].movement.n_changed == 1 and found["long"].movement.n_compared == 0
    assert found["scalar"].movement.relative == 1.0


def test_leaves_that_came_went_and_changed_their_kind(store_path: Path) -> None:
    before = {"a": np.zeros(4), "b": np.zeros(4), "c": np.ones(4, "f4"), "lr": 0.1, "n": 1}
    after = {"b": np.zeros((2, 2)), "c": np.ones(4), "d": np.zeros(2), "lr": 0.2, "n": "one"}
    holdfast.save(store_path, before, run="r", step=1, rng=False)
    holdfast.save(store_path, after, run="r", step=2, rng=False)
    report = holdfast.Store(store_path).diff("r@1", "r@2")
    assert [leaf.path for leaf in report.added] == ["d"]
    assert [leaf.path for leaf in report.removed] == ["a"]
    assert [change.path for change in report.reshaped] == ["b"]
    assert [change.path for change in report.recast] == ["c", "n"]
    assert [(c.path, c.before.value, c.after.value) for c in report.values] == [
        ("lr", 0.1, 0.2),
        ("n", 1, "one"),
    ]
    assert by_path(report)["c"].movement.relative == 0.0
    only = holdfast.Store(store_path).diff("r@1", "r@2", only=["lr", "c"], skip="c")
    assert not only.tensors and not only.added and [c.path for c in only.values] == ["lr"]


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"t": (1, 2)}, {"t": [1, 2]}, [("t", "tuple", "list")]),
        ({"t": {}, "x": 1}, {"t": [], "x": 1}, [("t", "dict", "list")]),
        ({"t": {1: 2.0}}, {"t": {"1": 2.0}}, [("t/1", "key: int", "key: str")]),
        ({"t": -0.0}, {"t": 0.0}, [("t", "float", "float")]),
        ({"t": {}, "x": 1}, {"x": 1}, [("t", "dict", None)]),
        ({"x": 1}, {"t": ((),), "x": 1}, [("t/0", None, "tuple")]),
    ],
)
def test_what_has_the_same_leaves_and_is_another_value_is_not_equal(
    store_path: Path, before: Any, after: Any, changes: list[tuple[str, str | None, str | None]]
) -> None:
    holdfast.save(store_path, before, run="r", step=1)
    holdfast.save(store_path, after, run="r", step=2)
    report = holdfast.Store(store_path).diff("r@1", "r@2")
    assert not report.is_same_state
    assert changes == [
        *((c.path, c.before.kind, c.after.kind) for c in (*report.recast, *report.values)),
        *((leaf.path, leaf.kind, None) for leaf in report.removed),
        *((leaf.path, None, leaf.kind) for leaf in report.added),
    ]
    assert not holdfast.Store(store_path).diff("r@2", "r@1", only=["t", "x"]).is_same_state


def test_what_python_takes_for_equal_has_the_same_structure(store_path: Path) -> None:
    w = np.ones(4)
    before = {"a": {"x": 1, "y": w, "z": w}, "b": OrderedDict(u=1, v=math.nan), "e": ()}
    after = {"e": (), "b": {"v": math.nan, "u": 1}, "a": {"z": w, "x": 1, "y": w}}
    holdfast.save(store_path, before, run="r", step=1)
    holdfast.save(store_path, after, run="r", step=2)
    assert holdfast.Store(store_path).diff("r@1", "r@2").is_same_state


def test_weights_that_are_tied_no_more_are_told(store_path: Path) -> None:
    w = np.ones(4)
    holdfast.save(store_path, {"in": w, "out": w, "x": 1}, run="r", step=1)
    holdfast.save(store_path, {"in": w, "out": w.copy(), "x": 1}, run="r", step=2)
    holdfast.save(store_path, {"out": w, "x": 1}, run="r", step=3)
    store = holdfast.Store(store_path)
    report = store.diff("r@1", "r@2")
    assert not report.is_same_state and not any(tensor.is_changed for tensor in report.tensors)
    assert [(c.path, c.before.kind, c.after.kind) for c in report.recast] == [
        ("in", "same as out", "of its own"),
        ("out", "same as in", "of its own"),
    ]
    # Where one of the two is gone, that is what is told.
    without = store.diff("r@1", "r@3")
    assert not without.recast and [leaf.path for leaf in without.removed] == ["in"]


def test_a_pattern_that_matches_nothing_does_not_say_that_two_are_equal(store_path: Path) -> None:
    holdfast.save(store_path, {"w": np.zeros(4)}, run="r", step=1)
    holdfast.save(store_path, {"w": np.ones(4), "v": np.ones(4)}, run="r", step=2)
    store = holdfast.Store(store_path)
    for choice in ({"only": "model/**"}, {"only": "w", "skip": "w"}):
        with pytest.raises(UsageError, match="no leaf path of r@1 or r@2 matches"):
            store.diff("r@1", "r@2", **choice)
    # What one of them has is a difference.
    assert [leaf.path for leaf in store.diff("r@1", "r@2", only="v").added] == ["v"]


def test_text_of_another_length_is_recast_and_not_compared(store_path: Path) -> None:
    before = {"t": np.array(["ab", "c"]), "none": np.zeros(2, "<U0"), "odd": np.zeros(3, "S3,i1")}
    after = {"t": np.array(["abc", "c"]), "none": np.zeros(2, "<U9"), "odd": np.ones(3, "S3,i1")}
    holdfast.save(store_path, before, run="r", step=1, rng=False)
    holdfast.save(store_path, after, run="r", step=2, rng=False)
    report = holdfast.Store(store_path).diff("r@1", "r@2")
    assert {change.path for change in report.recast} >= {"t"}
    assert by_path(report)["odd"].movement.n_changed == 3
    assert "t" not in by_path(report)


def test_tied_weights_are_measured_once(store_path: Path) -> None:
    for step in (1, 2):
        w = np.full(100_000, float(step))
        holdfast.save(store_path, {"in": w, "out": w}, run="r", step=step, rng=False)
    report = holdfast.Store(store_path).diff("r@1", "r@2")
    first, second = report.tensors
    assert (first.same_as, second.same_as) == (None, "in")
    assert first.movement == second.movement
    assert report.groups(1)[0].movement.n_elems == 100_000 and len(report.groups(1)) == 1


def test_across_runs_and_stores(store_path: Path, tmp_path: Path) -> None:
    w = np.random.default_rng(0).random(100_000)
    holdfast.save(store_path, {"w": w}, run="a", step=1, rng=False)
    holdfast.save(tmp_path / "other", {"w": w}, run="b", step=7, rng=False)
    holdfast.save(tmp_path / "other", {"w": 2 * w}, run="b", step=8, rng=False)
    store = holdfast.Store(store_path)
    assert store.diff("a@1", "b@7", other=tmp_path / "other").is_same_state
    report = store.diff("a@1", "b@8", other=holdfast.Store(tmp_path / "other"))
    assert report.tensors[0].movement.relative == pytest.approx(1.0)
    assert (report.before.ref, report.after.ref) == ("a@1", "b@8")


# --- what is read ---


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all reads of packs, by whatever way."""
    lengths: list[int] = []
    original = LocalStore.open

    def counting_open(self: LocalStore, key: str) -> ObjectReader:
        reader = original(self, key)

        class Counting:
            size = reader.size
            is_cached = staticmethod(reader.is_cached)
            close = staticmethod(reader.close)

            @staticmethod
            def read(into: memoryview, offset: int) -> None:
                lengths.append(into.nbytes)
                reader.read(into, offset)

            @staticmethod
            def read_cached(into: memoryview, offset: int) -> bool:
                is_there = reader.read_cached(into, offset)
                lengths.append(into.nbytes if is_there else 0)
                return is_there

            @staticmethod
            def read_uncached(into: memoryview, offset: int) -> None:
                lengths.append(into.nbytes)
                reader.read_uncached(into, offset)

        return Counting()  # type: ignore[return-value]

    monkeypatch.setattr(LocalStore, "open", counting_open)
    return lengths


def test_what_is_shared_is_not_read(store_path: Path, counted: list[int]) -> None:
    rng = np.random.default_rng(0)
    state = {f"layers.{i}.w": rng.random(400_000, "f4") for i in range(20)}
    holdfast.save(store_path, state, run="r", step=1, rng=False)
    for i in (3, 11):
        state[f"layers.{i}.w"] = state[f"layers.{i}.w"] * 1.5
    holdfast.save(store_path, state, run="r", step=2, rng=False)
    counted.clear()
    report = holdfast.Store(store_path).diff("r@1", "r@2")
    assert sum(t.is_changed for t in report.tensors) == 2
    assert report.total_bytes == 2 * 20 * 1_600_000
    assert sum(counted) <= 0.11 * report.total_bytes
    # Reads past the cache are of whole pages.
    assert report.read_bytes <= sum(counted) <= report.read_bytes + 4096 * len(counted)


def test_of_64_megabytes_that_share_nine_tenths_a_tenth_is_read(
    store_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that comes from the store is counted: packs, manifests, commit records."""
    rng = np.random.default_rng(0)
    model = {}
    for i in range(20):
        model[f"h.{i}.weight"] = rng.random(800_000, "f4")
        model[f"h.{i}.bias"] = rng.random(1000, "f4")
    for step, changed in ((1, ()), (2, (4, 13))):
        for i in changed:
            for name in (f"h.{i}.weight", f"h.{i}.bias"):
                model[name] = model[name] + np.float32(0.1)
        holdfast.save(store_path, {"model": model}, run="r", step=step, rng=False)
    got: list[int] = []
    original = LocalStore.get

    def counting_get(self: LocalStore, key: str) -> bytes:
        data = original(self, key)
        got.append(len(data))
        return data

    monkeypatch.setattr(LocalStore, "get", counting_get)
    counted.clear()
    report = holdfast.Store(store_path).diff("r@1", "r@2")
    assert sum(t.is_changed for t in report.tensors) == 4
    assert report.total_bytes == 2 * 20 * 4 * 801_000
    assert got and sum(counted) > 0.09 * report.total_bytes
    assert sum(counted) + sum(got) <= 0.11 * report.total_bytes


def test_a_chunk_that_two_sides_share_is_read_once(store_path: Path, counted: list[int]) -> None:
    w = np.zeros((12 << 20) // 4 * 8, "f4")  # 96 MiB: three chunks.
    holdfast.save(store_path, {"w": w}, run="r", step=1, rng=False)
    w[-1] = 1
    holdfast.save(store_path, {"w": w}, run="r", step=2, rng=False)
    counted.clear()
    [tensor] = (report := holdfast.Store(store_path).diff("r@1", "r@2")).tensors
    assert (tensor.movement.n_changed, tensor.movement.largest) == (1, 1.0)
    assert sum(counted) == report.read_bytes == 4 * (32 << 20)


def test_memory_is_that_of_a_few_chunks(store_path: Path) -> None:
    w = np.ones(48 << 20, "f4")  # 192 MiB: six chunks.
    w[::4096] = np.arange(12 << 10)
    holdfast.save(store_path, {"w": w}, run="r", step=1, rng=False)
    w += 1
    holdfast.save(store_path, {"w": w}, run="r", step=2, rng=False)
    store = LocalStore(str(store_path))
    tracemalloc.start()
    report = diff(Source(store, "r@1"), Source(store, "r@2"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.tensors[0].movement.n_changed == len(w)
    # Two sides of a chunk for each of at most four threads, and little besides.
    assert peak < min(4, os.cpu_count()) * 2 * (40 << 20) < 2 * w.nbytes


# --- bad input ---


def test_refs_that_name_nothing(store_path: Path, tmp_path: Path) -> None:
    holdfast.save(store_path, {"w": 1}, run="r", step=1)
    store = holdfast.Store(store_path)
    for a, b in (("r@1", "r@2"), ("r@2", "r@1"), ("q@1", "r@1"), ("r@1", "r@tag")):
        with pytest.raises(NotFound):
            store.diff(a, b)
    with pytest.raises(InvalidName):
        store.diff("r@1", "r")
    with pytest.raises(NotFound):
        store.diff("r@1", "r@1", other=tmp_path / "none")


def test_damage_names_the_leaf_and_the_checkpoint(store_path: Path) -> None:
    for step in (1, 2):
        state = {"ok": np.ones(100_000), "w": np.full(100_000, float(step))}
        holdfast.save(store_path, state, run="r", step=step, rng=False)
    store = LocalStore(str(store_path))
    record = commits.read_commit(store, "r", 2)
    part = commits.read_part(store, record, record.parts[0])
    [place] = [part.chunks[row.chunk] for row in part.arrays[1:]]
    key = part.packs[place.pack].key
    assert key.startswith(RunKeys("r").packs)
    data = bytearray(store.get(key))
    data[place.offset + 5] ^= 1
    store.put(key, data)
    with pytest.raises(ChunkDamaged, match=r"'w' \(r@2"):
        holdfast.Store(store_path).diff("r@1", "r@2")
    same = holdfast.Store(store_path).diff("r@1", "r@2", skip="w")
    assert same.is_same_state, "what is not read cannot hurt"


def test_a_run_that_is_being_written(store_path: Path) -> None:
    state = {"w": np.zeros(10_000)}
    with holdfast.Checkpointer(store_path, state, run="r") as ckpt:
        ckpt.save(1).wait()
        state["w"] += 1
        ckpt.save(2).wait()
        report = holdfast.Store(store_path).diff("r@1", "r@2")
    assert report.tensors[0].movement.n_changed == 10_000
