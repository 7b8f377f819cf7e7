"""LoRA on a frozen base: ten checkpoints cost one base and ten adapters; what each choice saves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import holdfast
from holdfast import Checkpointer, Store


class Adapted(nn.Module):
    """A frozen layer with a low-rank update beside it, named as PEFT names them."""

    def __init__(self, width: int, out: int, rank: int) -> None:
        super().__init__()
        self.base_layer = nn.Linear(width, out)
        self.lora_A = nn.ModuleDict({"default": nn.Linear(width, rank, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, out, bias=False)})
        for parameter in self.base_layer.parameters():
            parameter.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        update: torch.Tensor = self.lora_B["default"](self.lora_A["default"](x))
        base: torch.Tensor = self.base_layer(x)
        return base + update


class Block(nn.Module):
    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width).requires_grad_(False)
        self.up = Adapted(width, 4 * width, rank)
        self.down = Adapted(4 * width, width, rank)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.down(torch.relu(self.up(self.norm(x))))
        return x + found


def model_of(width: int, layers: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(Block(width, 4) for _ in range(layers)))


def nbytes(tensors: object) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)  # type: ignore[attr-defined]


def trained(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# Layers far smaller than a chunk, and larger than one.
@pytest.mark.parametrize(
    ("width", "layers", "compress"), [(128, 24, "none"), (512, 4, "none"), (512, 4, "planes")]
)
def test_ten_checkpoints_cost_one_base_and_ten_adapters(
    tmp_path: Path, width: int, layers: int, compress: holdfast.checkpointer.Compress
) -> None:
    model = model_of(width, layers)
    optimizer = torch.optim.AdamW(trained(model), lr=1e-3)
    state = {"model": model, "optimizer": optimizer}
    with Checkpointer(tmp_path, state, run="lora", compress=compress) as ckpt:
        for step in range(10):
            loss: torch.Tensor = model(torch.randn(8, width)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ckpt.save(step).wait()
    base = nbytes(p for p in model.parameters() if not p.requires_grad)
    # An adapter with both of its moments.
    adapters = 3 * nbytes(trained(model))
    stored = sum(
        f.stat().st_size for f in tmp_path.rglob("*") if f.is_file() and "packs" in f.parts
    )
    assert stored <= 1.02 * base + 10 * adapters
    assert adapters > 0.005 * base
    fresh = model_of(width, layers)
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.zero_()
    holdfast.load(tmp_path, "lora@9", into={"model": fresh})
    assert all(map(torch.equal, fresh.state_dict().values(), model.state_dict().values()))


def whole(width: int = 64) -> dict[str, object]:
    model = model_of(width, 2)
    optimizer = torch.optim.AdamW(trained(model), lr=1e-3)
    model(torch.randn(2, width)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    return {
        "net": model,
        "adam": optimizer,
        "schedule": schedule,
        "step": 3,
        "ids": torch.arange(9),
    }


def saved(folder: Path, state: dict[str, object], only: object) -> set[str]:
    holdfast.save(folder, state, run="r", step=0, only=only)  # type: ignore[arg-type]
    return {leaf.path for leaf in Store(folder).leaves("r@0")}


def roots(paths: set[str]) -> set[str]:
    return {path.partition("/")[0] for path in paths}


def test_models_are_found_by_what_they_are(tmp_path: Path) -> None:
    state = whole()
    paths = saved(tmp_path / "w", state, holdfast.only.weights)
    assert roots(paths) == {"net", "ids"}
    paths = saved(tmp_path / "n", state, holdfast.only.no_optimizer)
    assert roots(paths) == {"net", "ids", "schedule", "step", "@rng"}
    plain = {"w": torch.ones(3), "opt_state": {"m": torch.ones(3)}, "loader": {"at": torch.ones(1)}}
    assert saved(tmp_path / "p", plain, holdfast.only.weights) == {"w"}
    dicts = {"a": state["net"].state_dict(), "b": state["adam"].state_dict()}  # type: ignore[attr-defined]
    assert roots(saved(tmp_path / "d", dicts, holdfast.only.weights)) == {"a"}


def test_frozen_parameters_are_left_out(tmp_path: Path) -> None:
    state = whole()
    paths = saved(tmp_path / "t", state, holdfast.only.trainable)
    assert roots(paths) == {"net", "adam", "schedule", "step", "ids", "@rng"}
    assert all("lora_" in path for path in paths if path.startswith("net/"))
    assert len([path for path in paths if path.startswith("net/")]) == 8
    other = {**state, "teacher": nn.Linear(3, 3).requires_grad_(False)}
    paths = saved(tmp_path / "o", other, holdfast.only.trainable(state["net"]))
    assert {"teacher/weight", "teacher/bias"} <= paths
    assert "net/0.up.base_layer.weight" not in paths


def test_adapters_alone_go_onto_a_base_that_stands(tmp_path: Path) -> None:
    state = whole()
    paths = saved(tmp_path, state, [holdfast.only.lora, "step"])
    assert roots(paths) == {"net", "step"} and all("lora_" in p for p in paths if p != "step")
    fresh = model_of(64, 2)
    result = holdfast.load(tmp_path, "r@0", into={"net": fresh}, only=holdfast.only.lora)
    assert not result.missing
    model = state["net"]
    assert isinstance(model, nn.Module)
    assert all(map(torch.equal, fresh.state_dict().values(), model.state_dict().values()))


def test_of_a_whole_checkpoint_a_part_is_loaded(tmp_path: Path) -> None:
    holdfast.save(tmp_path, whole(), run="r", step=0)
    assert set(holdfast.load(tmp_path, "r@0", only=holdfast.only.weights)) == {"net", "ids"}
    found = holdfast.load(tmp_path, "r@0", only=holdfast.only.no_optimizer)
    assert set(found) == {"net", "ids", "schedule", "step"}
    into = whole()
    holdfast.load(tmp_path, "r@0", into=into, only=holdfast.only.weights)


def test_a_run_saves_and_restores_what_it_trains(tmp_path: Path) -> None:
    state = whole()
    only = holdfast.only.trainable
    with Checkpointer(tmp_path, state, run="r", only=only) as ckpt:
        ckpt.save(0).wait()
    with Checkpointer(tmp_path, whole(), run="r", only=only) as ckpt:
        assert ckpt.restore() is not None


def test_what_each_choice_would_save_is_told_before(tmp_path: Path) -> None:
    state = whole()
    found = holdfast.preview(state, only="net/**")
    for name in ("weights", "trainable", "lora", "no_optimizer"):
        info = holdfast.save(tmp_path, state, run=name, step=0, only=getattr(holdfast.only, name))
        assert found[name] == info.state_bytes, name
    info = holdfast.save(tmp_path, state, run="all", step=0)
    assert found["everything"] == info.state_bytes
    info = holdfast.save(tmp_path, state, run="yours", step=0, only="net/**")
    assert found["yours"] == info.state_bytes
    assert "everything" in str(found) and "lora" in str(found)
    none = holdfast.preview({"w": torch.ones(1000)}, with_rng=False)
    assert none["everything"] == none["weights"] == 4000 and none["trainable"] is None
    assert "4 kB" in str(none)
    assert "1 MB" in str(holdfast.preview({"w": torch.ones(249_900)}, with_rng=False))


def test_nothing_else_need_have_been_used_before() -> None:
    code = (
        "import holdfast.previewing, holdfast, numpy; "
        "print(holdfast.preview({'w': numpy.ones(3)}, with_rng=False)['weights'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout == "24\n"


def test_choices_where_there_are_none_are_refused(tmp_path: Path) -> None:
    plain = {"w": torch.ones(3)}
    for only in (holdfast.only.trainable, holdfast.only.lora, [holdfast.only.no_optimizer, 3]):
        with pytest.raises(holdfast.errors.UsageError):
            holdfast.save(tmp_path, plain, run="r", step=0, only=only, rng=False)
    with pytest.raises(holdfast.errors.UsageError, match="alone"):
        holdfast.save(tmp_path, whole(), run="r", step=0, only=[holdfast.only.trainable, "x"])
    with pytest.raises(holdfast.errors.UsageError, match="skip="):
        holdfast.save(tmp_path, plain, run="r", step=0, skip=holdfast.only.weights)
    with pytest.raises(holdfast.errors.UsageError, match="no parameters"):
        holdfast.only.trainable(3)
    holdfast.save(tmp_path, plain, run="r", step=0)
    with pytest.raises(holdfast.errors.UsageError, match="glob patterns here"):
        Store(tmp_path).diff("r@0", "r@0", only=holdfast.only.weights)
