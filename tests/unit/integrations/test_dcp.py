from __future__ import annotations

import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from damaged_packs import damage

from absent import required

torch = required("torch")

import torch.distributed.checkpoint as dcp  # noqa: E402
from torch.distributed.checkpoint.api import CheckpointException  # noqa: E402

import holdfast  # noqa: E402
from holdfast import keep  # noqa: E402
from holdfast.dcp import HoldfastReader, HoldfastWriter  # noqa: E402
from holdfast.errors import (  # noqa: E402
    ChunkDamaged,
    KeyNeeded,
    NotFound,
    UnsupportedLeaf,
    UsageError,
)

RANKS = Path(__file__).with_name("dcp_ranks.py")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    # Of one process, DCP says at every call that it is one.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def training(seed: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2)
    )
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(5, 4)).sum().backward()
    optimizer.step()
    return model, optimizer


def state_of(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, **more: Any
) -> dict[str, Any]:
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), **more}


def save(store: Path, step: int, state: dict[str, Any]) -> None:
    dcp.save(state, checkpoint_id=f"step-{step}", storage_writer=HoldfastWriter(store, run="r"))


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    model, optimizer = training(0)
    more = {
        "step": 7,
        "name": "x",
        "none": None,
        "mixed": [torch.arange(3), 5],
        "half": torch.randn(3).to(torch.bfloat16),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "turned": torch.arange(6.0).view(2, 3).t(),
    }
    save(tmp_path, 1, state_of(model, optimizer, **more))
    other, moments = training(1)
    blank = {**more, "step": 0, "name": "", "mixed": [torch.zeros(3, dtype=torch.int64), 0]}
    blank |= {k: torch.zeros_like(blank[k]) for k in ("half", "scalar", "empty", "turned")}
    state = state_of(other, moments, **blank)
    dcp.load(state, storage_reader=HoldfastReader(tmp_path, run="r"))
    assert (state["step"], state["name"], state["mixed"][1]) == (7, "x", 5)
    for key in ("half", "scalar", "empty", "turned"):
        assert torch.equal(state[key], more[key])
    assert torch.equal(state["mixed"][0], torch.arange(3))
    # Read into the model's own memory.
    for ours, theirs in zip(other.state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert state["optimizer"]["param_groups"] == optimizer.state_dict()["param_groups"]


def test_it_is_a_checkpoint_like_any_other_and_without_a_pickle(tmp_path: Path) -> None:
    model, optimizer = training(0)
    save(tmp_path, 1, state_of(model, optimizer, step=7, words=("a", None)))
    found = holdfast.load(tmp_path, "r@1")
    assert found["step"] == 7 and found["words"] == ("a", None)
    assert torch.equal(found["model"]["0.weight"], model.state_dict()["0.weight"])
    other, moments = training(1)
    holdfast.load(tmp_path, "r@1", into={"model": other, "optimizer": moments}, strict=False)
    assert torch.equal(other[0].weight, model[0].weight)
    pickles = [p for p in tmp_path.rglob("*") if p.is_file() and b"torch._utils" in p.read_bytes()]
    assert pickles == []


def test_async_save_in_a_thread(tmp_path: Path) -> None:
    model, optimizer = training(0)
    writer = HoldfastWriter(tmp_path, run="r")
    future = dcp.async_save(state_of(model, optimizer), checkpoint_id="9", storage_writer=writer)
    with torch.no_grad():
        expected = model[0].weight.clone()
        model[0].weight.zero_()
    future.result()
    assert torch.equal(holdfast.load(tmp_path, "r@9")["model"]["0.weight"], expected)


def test_another_dtype_is_converted_and_another_shape_is_refused(tmp_path: Path) -> None:
    save(tmp_path, 1, {"w": torch.arange(3.0), "v": torch.ones(2)})
    state = {"w": torch.zeros(3, dtype=torch.float64)}
    dcp.load(state, checkpoint_id="1", storage_reader=HoldfastReader(tmp_path, run="r"))
    assert state["w"].dtype == torch.float64 and state["w"].tolist() == [0, 1, 2]
    with pytest.raises((CheckpointException, ValueError), match=r"[Ss]ize"):
        dcp.load({"w": torch.zeros(4)}, storage_reader=HoldfastReader(tmp_path, run="r"))


def test_a_damaged_one_is_stepped_over_unless_it_is_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2):
        save(tmp_path, step, {"w": torch.full((1000,), float(step))})
    damage(tmp_path, "r", 2)
    state = {"w": torch.zeros(1000)}
    with pytest.raises(CheckpointException) as caught:
        dcp.load(state, storage_reader=HoldfastReader(tmp_path, run="r", step=2))
    failure = caught.value.failures[0][0]
    assert isinstance(failure, ChunkDamaged), failure
    assert not state["w"].any()
    dcp.load(state, storage_reader=HoldfastReader(tmp_path, run="r"))
    assert (state["w"] == 1).all() and "r@2 was stepped over" in caplog.text
    damage(tmp_path, "r", 1)
    with pytest.raises(CheckpointException) as caught:
        dcp.load(state, storage_reader=HoldfastReader(tmp_path, run="r"))
    # DCP asks twice for the metadata, and tells both answers as one error of its own.
    assert "Run 'r' has no checkpoint that is good" in str(caught.value.failures[0][0])


def test_a_save_that_fails_leaves_the_older_one(tmp_path: Path) -> None:
    save(tmp_path, 1, {"w": torch.ones(3)})
    with pytest.raises(CheckpointException) as caught:
        save(tmp_path, 2, {"w": torch.zeros(3), "thing": object()})
    assert isinstance(caught.value.failures[0][0], UnsupportedLeaf)
    assert [info.step for info in holdfast.Store(tmp_path).log("r")] == [1]


def test_a_step_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="number"):
        dcp.save({}, checkpoint_id="final", storage_writer=HoldfastWriter(tmp_path, run="r"))
    with pytest.raises(CheckpointException) as caught:
        dcp.save({"w": torch.ones(1)}, storage_writer=HoldfastWriter(tmp_path, run="r"))
    assert isinstance(caught.value.failures[0][0], UsageError)
    assert not HoldfastReader.validate_checkpoint_id("latest")
    assert HoldfastWriter.validate_checkpoint_id("out/step-7/")


def test_a_checkpoint_that_dcp_did_not_save_is_told(tmp_path: Path) -> None:
    holdfast.save(tmp_path, {"w": torch.ones(2)}, run="r", step=1)
    with pytest.raises(CheckpointException, match=r"r@1 was not saved by HoldfastWriter"):
        dcp.load({"w": torch.zeros(2)}, storage_reader=HoldfastReader(tmp_path, run="r"))


def test_what_is_not_there_and_what_no_key_opens_is_told_as_that(tmp_path: Path) -> None:
    keys = holdfast.keys.passphrase("correct horse")
    sealed = holdfast.Store(tmp_path, keys=keys)
    holdfast.save(sealed, {"w": torch.ones(2)}, run="r", step=1)
    with pytest.raises(NotFound, match="7"):
        HoldfastReader(sealed, run="r", step=7).read_metadata()
    with pytest.raises(KeyNeeded):
        HoldfastReader(tmp_path, run="r", step=1).read_metadata()


def test_retention(tmp_path: Path) -> None:
    writer = HoldfastWriter(tmp_path, run="r", keep=keep.last(2))
    for step in (1, 2, 3):
        dcp.save({"w": torch.full((9,), step)}, checkpoint_id=str(step), storage_writer=writer)
    assert [info.step for info in holdfast.Store(tmp_path).log("r")] == [2, 3]


def test_parts_of_ranks_that_there_are_no_more_go_too(tmp_path: Path) -> None:
    for run in ("r~part-3", "r~part-other"):
        holdfast.save(tmp_path, {"w": torch.ones(9)}, run=run, step=1)
    writer = HoldfastWriter(tmp_path, run="r", keep=keep.last(1))
    for step in ("2", "3"):
        dcp.save({"w": torch.ones(9)}, checkpoint_id=step, storage_writer=writer)
    store = holdfast.Store(tmp_path)
    left = {run: [info.step for info in store.log(run)] for run in store.runs()}
    assert left == {"r": [3], "r~part-3": [], "r~part-other": [1]}


def test_plans_that_dcp_remembers_and_a_store_that_is_sealed(tmp_path: Path) -> None:
    store = holdfast.Store(tmp_path / "store", keys=holdfast.keys.passphrase("correct horse"))
    writer = HoldfastWriter(store, run="r")
    for step in (1, 2, 3):
        planner = dcp.DefaultSavePlanner(enable_plan_caching=True)
        state = {"w": torch.full((9,), step), "n": step}
        dcp.save(state, checkpoint_id=str(step), storage_writer=writer, planner=planner)
    state = {"w": torch.zeros(9, dtype=torch.int64), "n": 0}
    dcp.load(state, storage_reader=HoldfastReader(store, run="r"))
    assert state["n"] == 3 and (state["w"] == 3).all()


def ranks(store: Path, world_size: int) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    started = [
        subprocess.Popen(
            [sys.executable, str(RANKS), str(store), str(rank), str(world_size), str(port)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world_size)
    ]
    ended = [process.communicate(timeout=240)[1] for process in started]
    assert [process.returncode for process in started] == [0] * world_size, "\n".join(ended)


def test_two_ranks_save_and_any_number_loads(tmp_path: Path) -> None:
    ranks(tmp_path, 2)
    store = holdfast.Store(tmp_path)
    assert [info.step for info in store.log("sharded")] == [2, 3]
    for rank in (0, 1):
        assert [info.step for info in store.log(f"sharded~part-{rank}")] == [2, 3]

    from dcp_ranks import model_after, state_of

    model, optimizer = model_after(1, sharded=False, seed=9)
    state = state_of(model, optimizer, 0)
    dcp.load(state, storage_reader=HoldfastReader(tmp_path, run="sharded"))
    expected, moments = model_after(3, sharded=False)
    wanted = state_of(expected, moments, 3)
    assert state["step"] == 3 and state["words"] == ["a", ("b", None)]
    for name, tensor in wanted["model"].items():
        # Sharded arithmetic may round otherwise in the last place.
        torch.testing.assert_close(state["model"][name], tensor)

    # A part that is gone or damaged is noticed, and the checkpoint before it is taken.
    store.remove("sharded~part-1@3")
    dcp.load(state, storage_reader=HoldfastReader(tmp_path, run="sharded"))
    assert state["step"] == 2
