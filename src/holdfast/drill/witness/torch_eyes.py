"""What goes into each optimizer step of PyTorch: weights, moments, data, generators, settings."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from .generators import generators
from .rows import Writer, digest

# Of larger arrays elements at even distances are looked at; it is enough to tell two apart.
_MOST_ELEMS = 1024
_MOST_TENSORS = 512
_MOST_SAMPLES = 4096


class _Seen:
    """What was seen since the last optimizer step."""

    def __init__(self) -> None:
        self.depth = 0
        self.facts: dict[str, Any] = {}
        self.inputs: list[str] = []


_seen = _Seen()


def on_calls(module: ModuleType, writer: Writer) -> None:
    """Note what is handed to the outermost module in training, and how that module stands."""
    call = module.Module.__call__
    thread = threading.get_ident

    @functools.wraps(call)
    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _seen.depth and _seen.depth != thread():
            return call(self, *args, **kwargs)
        outermost = _seen.depth == 0
        if outermost:
            torch = sys.modules["torch"]
            if self.training and torch.is_grad_enabled() and not _compiling(torch):
                _note_call(self, (*args, *kwargs.values()))
            _seen.depth = thread()
        try:
            return call(self, *args, **kwargs)
        finally:
            if outermost:
                _seen.depth = 0

    module.Module.__call__ = watched


def _compiling(torch: Any) -> bool:
    return bool(torch.compiler.is_compiling()) if hasattr(torch, "compiler") else False


def _note_call(module: Any, values: Iterable[Any]) -> None:
    if "model" not in _seen.facts:
        _seen.facts["rng"] = generators()
        _seen.facts["model"], _seen.facts["ties"] = _model(module)
    for tensor in _first_tensor(values):
        if len(_seen.inputs) < _MOST_SAMPLES:
            _seen.inputs += _samples(tensor)


def _model(module: Any) -> tuple[dict[str, str], list[list[str]]]:
    """Return digests of parameters and buffers by name, and the names that are one tensor."""
    named = [*_named(module, "parameters"), *_named(module, "buffers")]
    groups: dict[int, list[str]] = {}
    for name, tensor in named:
        groups.setdefault(id(tensor), []).append(name)
    ties = [names for names in groups.values() if len(names) > 1]
    if len(named) > _MOST_TENSORS:
        return {"*": _digest(tensor for _, tensor in named)}, ties
    return {name: _digest([tensor]) for name, tensor in named}, ties


def _named(module: Any, what: str) -> list[tuple[str, Any]]:
    return list(getattr(module, f"named_{what}")(remove_duplicate=False))


def _first_tensor(values: Iterable[Any]) -> Iterator[Any]:
    """Yield the first tensor with a batch dimension: the others are cut as it is."""
    for value in values:
        if hasattr(value, "detach") and getattr(value, "ndim", 0) > 0:
            yield value
            return
        inner = value.values() if isinstance(value, dict) else value
        if isinstance(inner, list | tuple) or isinstance(value, dict):
            found = list(_first_tensor(inner))
            if found:
                yield found[0]
                return


def _samples(tensor: Any) -> list[str]:
    flat = tensor.detach().reshape(tensor.shape[0], -1)
    if flat.shape[1] > _MOST_ELEMS:
        flat = flat[:, :: -(-flat.shape[1] // _MOST_ELEMS)]
    return [digest(_bytes(row)) for row in flat.cpu()[:_MOST_SAMPLES]]


def on_steps(module: ModuleType, writer: Writer) -> None:
    """Write a row before each step of any optimizer."""

    def before(optimizer: Any, args: Any, kwargs: Any) -> Any:
        # With a closure the forward pass is within the step: what went into it is known after.
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            return note(optimizer)
        first = True

        def watched() -> Any:
            nonlocal first
            result = closure()
            if first:
                first = False
                note(optimizer)
            return result

        if len(args) > 1:
            return (args[0], watched, *args[2:]), kwargs
        return args, {**kwargs, "closure": watched}

    def note(optimizer: Any) -> None:
        facts, inputs = _seen.facts, _seen.inputs
        _seen.facts, _seen.inputs = {}, []
        if "rng" not in facts:
            facts["rng"] = generators()
        groups = optimizer.param_groups
        parameters = [p for group in groups for p in group["params"]]
        writer.write(
            "o",
            **facts,
            inputs=inputs,
            params=_digest(parameters),
            grads=_digest(p.grad for p in parameters if p.grad is not None),
            settings=[_settings(group) for group in groups],
            moments=_moments(optimizer, parameters),
        )

    module.register_optimizer_step_pre_hook(before)


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {
        name: float(value)
        for name, value in group.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _moments(optimizer: Any, parameters: list[Any]) -> dict[str, dict[str, Any]]:
    """Return, for each name in the optimizer's state, what its tensors are."""
    named: dict[str, list[Any]] = {}
    for parameter in parameters:
        for name, value in optimizer.state.get(parameter, {}).items():
            if hasattr(value, "detach"):
                named.setdefault(str(name), []).append(value)
    return {
        name: {
            "digest": _digest(tensors),
            "dtypes": sorted({str(t.dtype).removeprefix("torch.") for t in tensors}),
            "count": len(tensors),
            "rounded": _rounded(tensors),
        }
        for name, tensors in named.items()
    }


def _rounded(tensors: list[Any]) -> str | None:
    """Say which shorter type holds every element exactly, if they are not trivial."""
    torch = sys.modules["torch"]
    for short in ("bfloat16", "float16"):
        several = False
        for tensor in tensors:
            flat = _thinned(tensor.detach())
            if tensor.dtype not in (torch.float32, torch.float64):
                return None
            if not torch.equal(flat, flat.to(getattr(torch, short)).to(flat.dtype)):
                break
            several = several or len(flat.unique()) > 4
        else:
            return short if several else None
    return None


def _thinned(tensor: Any) -> Any:
    flat = tensor.reshape(-1)
    return flat[:: -(-flat.numel() // _MOST_ELEMS)] if flat.numel() > _MOST_ELEMS else flat


def _digest(tensors: Iterable[Any]) -> str:
    return digest(b"".join(_bytes(_thinned(tensor.detach())) for tensor in tensors))


def _bytes(tensor: Any) -> bytes:
    torch = sys.modules["torch"]
    if tensor.is_sparse or tensor.is_quantized:
        return repr(tensor.shape).encode()
    whole = tensor.cpu().contiguous().reshape(-1)
    return whole.view(torch.uint8).numpy().tobytes() if whole.numel() else b""


def on_saves(module: Any, writer: Writer) -> None:
    """Write a row as each ``torch.save`` begins and ends."""
    save = module.save

    @functools.wraps(save)
    def watched(obj: Any, f: Any, *args: Any, **kwargs: Any) -> Any:
        name = os.fspath(f) if isinstance(f, str | os.PathLike) else type(f).__name__
        writer.write("s", path=str(name))
        try:
            return save(obj, f, *args, **kwargs)
        finally:
            writer.write("e", path=str(name))

    module.save = watched
