"""The states that are saved: GPT-2 small with Adam, and the small and many-leaved ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from holdfast.bench.result import DEFAULT_SIZE_MB
from holdfast.errors import MissingDependency

Tensors = dict[str, Any]

_LAYERS, _WIDTH, _VOCABULARY, _CONTEXT = 12, 768, 50257, 1024
_KINDS = ("model", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name and shape of one fp32 tensor."""

    name: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor in fp32."""
        return 4 * math.prod(self.shape)


def gpt2_specs(size_mb: float) -> tuple[TensorSpec, ...]:
    """Return the 258 tensors of a GPT-2-small-like model and Adam's two moments.

    At the default size the shapes are GPT-2 small's own: 86 weights, 124 million numbers, of which
    the attention has the only biases. At other sizes width, vocabulary and context shrink or grow
    alike, so that the number of tensors and their relative sizes stay.

    >>> specs = gpt2_specs(1500)
    >>> len(specs), sum(spec.nbytes for spec in specs)
    (258, 1492374528)
    """
    scale = math.sqrt(size_mb / DEFAULT_SIZE_MB)
    weights = _weights(*(max(4, round(n * scale)) for n in (_WIDTH, _VOCABULARY, _CONTEXT)))
    return tuple(TensorSpec(f"{kind}/{w.name}", w.shape) for kind in _KINDS for w in weights)


def _weights(width: int, vocabulary: int, context: int) -> list[TensorSpec]:
    block = (
        ("ln_1.weight", (width,)),
        ("attn.c_attn.weight", (width, 3 * width)),
        ("attn.c_attn.bias", (3 * width,)),
        ("attn.c_proj.weight", (width, width)),
        ("ln_2.weight", (width,)),
        ("mlp.c_fc.weight", (width, 4 * width)),
        ("mlp.c_proj.weight", (4 * width, width)),
    )
    blocks = [
        TensorSpec(f"h.{layer}.{name}", shape) for layer in range(_LAYERS) for name, shape in block
    ]
    embeddings = [
        TensorSpec("wte.weight", (vocabulary, width)),
        TensorSpec("wpe.weight", (context, width)),
    ]
    return embeddings + blocks


def small_specs() -> tuple[TensorSpec, ...]:
    """Return 200 tensors of 50 kB: 10 MB."""
    return tuple(TensorSpec(f"layer.{i}", (12_500,)) for i in range(200))


def leaf_specs(n_leaves: int = 100_000) -> tuple[TensorSpec, ...]:
    """Return very many tensors of eight numbers."""
    return tuple(TensorSpec(f"group{i // 100}/leaf{i % 100}", (8,)) for i in range(n_leaves))


def build(specs: tuple[TensorSpec, ...]) -> Tensors:
    """Make touched tensors with random values for the specs, in a flat dict.

    Raises:
        MissingDependency: PyTorch is not installed.
    """
    torch = need_torch()
    generator = torch.Generator().manual_seed(0)
    return {
        spec.name: torch.empty(spec.shape).normal_(0.0, 0.02, generator=generator) for spec in specs
    }


def as_training(tensors: Tensors) -> dict[str, Any]:
    """Return the tensors as what a training script has: parameters and their Adam, no copies."""
    torch = need_torch()
    names = [name.split("/", 1)[1] for name in tensors if name.startswith("model/")]
    parameters = {name: torch.nn.Parameter(tensors[f"model/{name}"]) for name in names}
    optimizer = torch.optim.Adam(parameters.values())
    for name, parameter in parameters.items():
        moments = {kind: tensors[f"{kind}/{name}"] for kind in _KINDS[1:]}
        optimizer.state[parameter] = {"step": torch.tensor(1.0), **moments}
    return {"model": parameters, "optimizer": optimizer}


def change(tensors: Tensors) -> None:
    """Change every number of every tensor in place, so that nothing is as it was saved before."""
    for tensor in tensors.values():
        tensor.mul_(-1.0009765625).add_(1e-3)


def last_tenth(tensors: Tensors) -> Tensors:
    """Return what is left to train when 90 % are frozen: the last layers, with their moments.

    Whole weights are taken from the end of the model backwards, each with its two moments, while
    they come to a tenth of the bytes at most.
    """
    budget = nbytes(tensors) // 10
    weights = [name.split("/", 1)[1] for name in tensors if name.startswith("model/")]
    chosen: Tensors = {}
    for weight in reversed(weights):
        group = {f"{kind}/{weight}": tensors[f"{kind}/{weight}"] for kind in _KINDS}
        budget -= nbytes(group)
        if budget < 0:
            break
        chosen |= group
    return chosen


def clear(tensors: Tensors) -> None:
    """Set everything to zero, so that a restore has something to put right."""
    for tensor in tensors.values():
        tensor.zero_()


def fingerprint(tensors: Tensors) -> list[tuple[float, float, float]]:
    """Return first, middle and last number of every tensor, enough to tell a failed restore."""
    flat = (tensor.view(-1) for tensor in tensors.values())
    return [(t[0].item(), t[t.numel() // 2].item(), t[-1].item()) for t in flat]


def nbytes(tensors: Tensors) -> int:
    """Return the bytes of all tensors together."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def need_torch() -> Any:
    """Import PyTorch, or say how to get it."""
    try:
        import torch
    except ImportError as error:
        raise MissingDependency(
            "The benchmark needs PyTorch, which is not installed. Nothing was measured. "
            "Install it with: pip install 'holdfast[bench]'",
            package="torch",
        ) from error
    return torch
