import dataclasses

import pytest
import torch

import holdfast
from holdfast.demo import DemoOptions, run
from holdfast.demo.compare import compare
from holdfast.demo.everything import everything
from holdfast.errors import AlreadyExists, MissingDependency, UsageError


def test_killed_and_resumed_is_bit_for_bit_the_same(tmp_path):
    said = []
    options = DemoOptions(directory=tmp_path / "store", steps=60, kill_at=0.7)
    result = run(options, said.append)
    text = "\n".join(said)
    assert result.ok, text
    assert result.killed_after_step >= 42
    assert result.resumed_from.startswith("stormy@")
    assert 0 <= result.steps_repeated < 40
    # Parameters and momentum of the network at the least.
    assert result.nbytes > 2 * 4 * 150_000
    assert 0.5 < result.val_acc <= 1
    assert "every bit is equal" in text and "SIGKILL" in text and result.resumed_from in text

    store = holdfast.Store(tmp_path / "store")
    assert set(store.runs()) == {"steady", "stormy"}
    assert store.verify().ok
    assert store.info("stormy@25").metrics.keys() == {"loss", "val_loss", "val_acc"}
    # The comparison must be able to fail: an earlier checkpoint is not the final one.
    early, final = (everything(store.path, ref) for ref in ("stormy@25", "stormy@final"))
    assert {d.split("/")[0] for d in compare(early, final).differences} == {"state", "rng"}

    with pytest.raises(AlreadyExists, match="steady"):
        run(options, said.append)


@pytest.mark.parametrize(
    "options", [DemoOptions(steps=10), DemoOptions(kill_at=1.5), DemoOptions(kill_at=0.0)]
)
def test_impossible_demos_are_refused(options):
    with pytest.raises(UsageError, match="Nothing was done"):
        run(options, print)


def test_missing_packages_are_named_with_what_to_do(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"pip install 'holdfast\[demo\]'"):
        run(DemoOptions(), print)


@dataclasses.dataclass
class Pair:
    a: object
    b: object


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, 2),
        (1, 1.0),
        (True, 1),
        (0.0, -0.0),
        ([1], (1,)),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (Pair(1, 2), Pair(1, 3)),
        (torch.zeros(2), torch.zeros(3)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
        (torch.zeros(2), torch.tensor([0.0, -0.0])),
        (torch.zeros(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16)),
        ("a", "b"),
        (b"a", b"b"),
        (None, 0),
    ],
)
def test_comparison_sees_every_difference(left, right):
    assert not compare({"x": left}, {"x": right}).equal


def test_comparison_counts_what_is_equal():
    tree = {"w": torch.tensor([float("nan"), 1.0]), "s": Pair([1, None], (2.0, "x"))}
    same = {"w": torch.tensor([float("nan"), 1.0]), "s": Pair([1, None], (2.0, "x"))}
    result = compare(tree, same)
    assert result.equal and result.n_leaves == 5
    assert not compare({}, {}).equal
