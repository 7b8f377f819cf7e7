"""Adapters that name the checkpoint which has the model they adapt: a load gives both as one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import holdfast
from holdfast import Checkpointer, Store, keep, only
from holdfast.errors import NotFound, Untrusted, UsageError
from holdfast.security.ed25519 import LocalKey
from holdfast.security.trust_policy import TrustedKey, TrustPolicy

WIDTH = 300


class Adapted(nn.Module):
    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.base_layer = nn.Linear(width, width).requires_grad_(False)
        self.tied = self.base_layer
        self.register_buffer("none", torch.empty(0, 3))
        self.lora_A = nn.Linear(width, 2, bias=False)
        self.lora_B = nn.Linear(2, width, bias=False)


def whole(store_path: Path, **more: Any) -> Adapted:
    """Save a model with its adapters before they are trained; return it."""
    model = Adapted()
    holdfast.save(store_path, {"model": model, **more}, run="whole", step=0)
    with torch.no_grad():
        model.lora_A.weight += 1
    return model


def is_like(one: nn.Module, other: nn.Module | dict[str, Any]) -> bool:
    found = other if isinstance(other, dict) else other.state_dict()
    return found.keys() == one.state_dict().keys() and all(
        torch.equal(value, found[name]) for name, value in one.state_dict().items()
    )


def test_adapters_and_their_base_are_one_when_loaded(store_path: Path) -> None:
    model = whole(store_path, optimizer={"moments": torch.ones(9)}, step=3)
    info = holdfast.save(
        store_path, {"model": model}, run="mine", step=1, only=only.lora(base="whole@latest")
    )
    assert info.base is not None and info.base.ref == "whole@0"
    assert Store(store_path).info("mine@1").base == info.base
    assert [leaf.path for leaf in Store(store_path).leaves("mine@1")] == [
        "model/lora_A.weight",
        "model/lora_B.weight",
    ]
    assert info.state_bytes == 2 * WIDTH * 2 * 4
    found = holdfast.load(store_path, "mine@1")
    # What else was saved with the base belongs to another training.
    assert list(found) == ["model"]
    assert is_like(model, found["model"])
    assert found["model"]["tied.weight"] is found["model"]["base_layer.weight"]
    other = Adapted()
    holdfast.load(store_path, "mine@1", into={"model": other})
    assert is_like(model, other)
    alone = Adapted()
    before = alone.base_layer.weight.clone()
    holdfast.load(store_path, "mine@1", into={"model": alone}, only=only.lora)
    assert torch.equal(alone.base_layer.weight, before)
    assert torch.equal(alone.lora_A.weight, model.lora_A.weight)


def test_a_training_saves_adapters_and_moments_and_goes_on(store_path: Path) -> None:
    model = whole(store_path)
    optimizer = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
    state = {"model": model, "optimizer": optimizer}
    chosen = [only.lora(base="whole@0"), "optimizer/**"]
    with Checkpointer(store_path, state, run="tune/1", only=chosen, keep=keep.last(1)) as ckpt:
        for step in range(3):
            for parameter in (model.lora_A.weight, model.lora_B.weight):
                parameter.grad = torch.ones_like(parameter)
            optimizer.step()
            ckpt.save(step)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    assert Store(store_path).info("whole@0").tags == ("base-of-tune-1",)
    assert all(info.stored_bytes < 100_000 for info in Store(store_path).log("tune/1"))
    Store(store_path).prune("whole", keep.last(1))
    holdfast.save(store_path, {"model": Adapted()}, run="whole", step=1)
    Store(store_path).prune("whole", keep.last(1))
    assert [info.step for info in Store(store_path).log("whole")] == [0, 1]
    with torch.no_grad():
        model.lora_A.weight.zero_()
    with Checkpointer(store_path, state, run="tune/1", only=chosen) as ckpt:
        restored = ckpt.restore()
    assert restored is not None and restored.step == 2
    assert is_like(model, kept)
    assert is_like(model, holdfast.load(store_path, "tune/1@latest")["model"])


def test_a_base_with_other_values_is_refused(store_path: Path) -> None:
    model = whole(store_path)
    chosen = only.lora(base="whole@0")
    with torch.no_grad():
        model.base_layer.bias[-1] += 1e-6
    with pytest.raises(UsageError, match=r"'model/base_layer.bias' has other values"):
        holdfast.save(store_path, {"model": model}, run="mine", step=0, only=chosen)
    with pytest.raises(UsageError, match=r"is float32\[20, 20\] here, and whole@0 has float32"):
        Checkpointer(store_path, {"model": Adapted(20)}, run="mine", only=chosen)
    with pytest.raises(UsageError, match="lacks it"):
        holdfast.save(store_path, {"net": model}, run="mine", step=0, only=chosen)
    assert Store(store_path).runs() == ["whole"]
    assert Store(store_path).info("whole@0").tags == ()


@pytest.mark.parametrize("base", ["whole@7", "nothing@latest", "whole", 0])
def test_a_base_that_is_none_is_refused(store_path: Path, base: Any) -> None:
    model = whole(store_path)
    with pytest.raises((NotFound, UsageError)):
        holdfast.save(store_path, {"model": model}, run="m", step=0, only=only.lora(base=base))
    two = [only.lora(base="whole@0"), only.lora(base="whole@latest")]
    with pytest.raises(UsageError, match="names 2 bases"):
        holdfast.save(store_path, {"model": model}, run="m", step=0, only=two)


def test_a_base_that_is_gone_is_told_and_another_is_not_taken_for_it(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = whole(store_path)
    chosen = only.lora(base="whole@0")
    holdfast.save(store_path, {"model": model}, run="mine", step=1, only=chosen)
    # The same step, saved once more with other weights: the ref names that one now.
    holdfast.save(store_path, {"model": Adapted()}, run="whole", step=0)
    assert is_like(model, holdfast.load(store_path, "mine@1")["model"])
    for path in sorted((store_path / "runs/whole/commits").iterdir())[:1]:
        path.unlink()
    with pytest.raises(NotFound, match=r"its base whole@0 .* cannot be read"):
        holdfast.load(store_path, "mine@1")
    other = Adapted()
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(NotFound, match="Nothing was changed"):
        holdfast.load(store_path, "mine@1", into={"model": other})
    assert is_like(other, before)
    with caplog.at_level(logging.WARNING, "holdfast"):
        holdfast.load(store_path, "mine@1", into={"model": other}, only=only.lora)
    assert "The base of mine@1 is left out" in caplog.text
    assert torch.equal(other.lora_A.weight, model.lora_A.weight)


def test_a_base_that_nobody_trusted_has_signed_is_not_used(store_path: Path) -> None:
    model = whole(store_path)
    key = LocalKey.new()
    trust = TrustPolicy((TrustedKey("me", key.public_key),))
    chosen = only.lora(base="whole@0")
    holdfast.save(Store(store_path, sign=key), {"model": model}, run="mine", step=1, only=chosen)
    assert is_like(model, holdfast.load(store_path, "mine@1")["model"])
    with pytest.raises((NotFound, Untrusted), match="cannot be read"):
        holdfast.load(Store(store_path, trust=trust), "mine@1")
    with pytest.raises(Untrusted):
        store = Store(store_path, sign=key, trust=trust)
        holdfast.save(store, {"model": model}, run="more", step=0, only=chosen)
