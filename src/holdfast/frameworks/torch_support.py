"""PyTorch: tensors as leaves, its generators, and the small values that its states hold."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from typing import Any

import numpy as np
import torch

from holdfast.errors import UnsupportedLeaf
from holdfast.frameworks import (
    torch_changes,
    torch_dtensors,  # noqa: F401 - registers what lies on several ranks
    torch_guards,
    torch_memory,
    torch_modules,
    torch_optimizers,
    torch_sharded_tensors,  # noqa: F401 - likewise
    torch_zero,
)
from holdfast.state.arrays import ArraySpec, register_adapter
from holdfast.state.bind_objects import register_stateful_binder, register_told_by_leaves
from holdfast.state.changes import register_change_probe
from holdfast.state.codecs import register_codec
from holdfast.state.environment import register_devices
from holdfast.state.guards import GuardKind, register_guard
from holdfast.state.kinds import ObjectKind, register_kind
from holdfast.state.numpy_arrays import memory_at
from holdfast.state.overlap import shares_elements
from holdfast.state.refusals import refused
from holdfast.state.rng import RngSource, register_rng
from holdfast.state.sharding import register_led
from holdfast.state.stateful import register_objection

_NAMES = {
    getattr(torch, name): name
    for name in (
        "bool",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "int8",
        "int16",
        "int32",
        "int64",
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "complex32",
        "complex64",
        "complex128",
        "float8_e4m3fn",
        "float8_e4m3fnuz",
        "float8_e5m2",
        "float8_e5m2fnuz",
        "float8_e8m0fnu",
    )
    if hasattr(torch, name)
}
_PLAIN = (torch.Tensor, torch.nn.Parameter)
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}


class TorchAdapter:
    """Dense tensors of any device and layout."""

    framework = "torch"
    mutable = True

    def is_array(self, value: object) -> bool:
        return isinstance(value, torch.Tensor)

    def describe(self, value: Any, path: str) -> tuple[ArraySpec, Hashable | None, int | None]:
        if isinstance(value, torch.nn.parameter.UninitializedTensorMixin):
            what = "is a parameter of a lazy module that has no shape yet"
            raise UnsupportedLeaf(
                f"{path!r} {what}. Nothing was saved. Run a batch through the module first, or "
                f"leave it out: skip={path!r}.",
                path=path,
                what=what,
            )
        name = _NAMES.get(value.dtype)
        if (
            value.is_nested
            or name is None
            or value.layout is not torch.strided
            or value.is_meta
            or (type(value) not in _PLAIN and _wraps(value))
        ):
            raise refused(path, _refusal(value))
        shape = tuple(value.shape)
        nbytes = value.numel() * value.element_size()
        spec = ArraySpec("torch", name, shape, nbytes)
        if not nbytes:
            return spec, None, None
        address = value.data_ptr()
        contiguous = value.is_contiguous() and not (value.is_conj() or value.is_neg())
        layout = None if contiguous else (value.stride(), value.is_conj(), value.is_neg())
        is_cpu = value.is_cpu
        where = "host" if is_cpu else str(value.device)
        return (
            spec,
            (where, address, name, shape, layout),
            address if is_cpu and contiguous else None,
        )

    def count_changes(self, value: Any) -> int | None:
        try:
            return int(value._version)
        except RuntimeError:
            return None  # Tensors that were made in inference mode have no counter.

    def export(self, value: Any, into: memoryview) -> None:
        self._export(value, value.dtype, into)

    def export_as(self, value: Any, dtype: str, into: memoryview) -> None:
        self._export(value, _DTYPES[dtype], into)

    def _export(self, value: Any, dtype: torch.dtype, into: memoryview) -> None:
        if not value.numel():
            return
        source = value.detach()
        target = torch.from_numpy(np.frombuffer(into, np.uint8))
        if target.data_ptr() % dtype.itemsize == 0:
            target.view(dtype).view(source.shape).copy_(source)
            return
        # A view of another dtype wants its memory aligned.
        dense = source.to(dtype).cpu().resolve_conj().resolve_neg().contiguous()
        target.copy_(dense.view(-1).view(torch.uint8))

    def is_writable(self, value: Any) -> bool:
        # Elements of an expanded tensor share their memory.
        shares = not value.is_contiguous() and shares_elements(value.shape, value.stride())
        return not shares and torch_memory.is_writable(value)

    def assign(self, value: Any, data: memoryview) -> None:
        if value.numel():
            with torch.no_grad():
                value.copy_(_over(data, value.dtype).view(value.shape))

    def converts(self, dtype: str, into: str) -> bool:
        one, other = _DTYPES[dtype], _DTYPES[into]
        # Floats lose digits, which is what is asked for; of integers the value itself could go.
        if _is_integer(one) and _is_integer(other):
            low, high = torch.iinfo(one), torch.iinfo(other)
            return bool(high.min <= low.min and low.max <= high.max)
        return bool(torch.can_cast(one, other))

    def convert_into(self, target: Any, value: Any) -> None:
        with torch.no_grad():
            target.copy_(value)

    def create(self, spec: ArraySpec, like: Any | None) -> tuple[Any, memoryview]:
        tensor = torch.empty(spec.shape, dtype=_DTYPES[spec.dtype])
        return tensor, memory_at(tensor.data_ptr(), spec.nbytes)

    def finish(self, value: Any, like: Any | None) -> Any:
        return value


def _is_integer(dtype: torch.dtype) -> bool:
    return not (dtype.is_floating_point or dtype.is_complex or dtype == torch.bool)


def _wraps(value: torch.Tensor) -> bool:
    # Subclasses such as DTensor hold their data in other tensors; Parameter and Buffer do not.
    return hasattr(type(value), "__tensor_flatten__")


def _over(data: memoryview, dtype: torch.dtype) -> torch.Tensor:
    raw = torch.from_numpy(np.frombuffer(data, np.uint8)) if not data.readonly else None
    if raw is None:
        raw = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    # A view of another dtype wants its storage aligned, which a place in a chunk may not be.
    size = torch.empty((), dtype=dtype).element_size()
    return (raw if raw.data_ptr() % size == 0 else raw.clone()).view(dtype)


def _refusal(value: torch.Tensor) -> str:
    if value.is_meta:
        what = "is on the meta device: it has no data. Materialise it (to_empty, load) first"
    elif value.is_nested:
        what = "is a nested tensor. Save the tensors of its unbind()"
    elif value.is_quantized:
        what = "is a quantised tensor. Save its int_repr(), scale and zero point instead"
    elif value.layout is torch._mkldnn:
        what = "has the layout of oneDNN. Save its to_dense()"
    elif value.layout is not torch.strided:
        what = f"is a sparse tensor ({value.layout}). Save its indices and values, or .to_dense()"
    elif _wraps(value):
        what = f"is a {type(value).__name__}, a tensor made of others. Save those, or .to_local()"
    else:
        what = f"has the dtype {value.dtype}, which the format does not know"
    return what


def _rng_state() -> dict[str, object]:
    state: dict[str, object] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = [t.cpu() for t in torch.cuda.get_rng_state_all()]
    return state


def _set_rng_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    saved = state.get("cuda", [])
    if saved and torch.cuda.is_available():
        for device, tensor in zip(range(torch.cuda.device_count()), saved, strict=False):
            torch.cuda.set_rng_state(tensor, device)


def _devices() -> list[str]:
    if not torch.cuda.is_available():
        return ["cpu"]
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _new_generator(tree: dict[str, Any]) -> torch.Generator:
    generator = torch.Generator(device=tree["device"])
    generator.set_state(tree["state"])
    return generator


register_adapter(TorchAdapter())
register_rng(RngSource("torch", lambda: "torch" in sys.modules, _rng_state, _set_rng_state))
register_devices("torch", _devices)
register_codec(torch.Size, list, torch.Size, name="torch:Size")
register_codec(torch.device, str, torch.device, name="torch:device")
register_codec(
    torch.dtype, lambda d: str(d).removeprefix("torch."), lambda n: _DTYPES[n], name="torch:dtype"
)
register_codec(
    torch.Generator,
    lambda g: {"device": str(g.device), "state": g.get_state()},
    _new_generator,
    name="torch:Generator",
    update=lambda g, tree: g.set_state(tree["state"]),
    cheap=True,
)
register_stateful_binder(
    lambda v: isinstance(v, torch.optim.Optimizer), torch_optimizers.bind_optimizer
)
register_objection(torch_optimizers.why_not)
register_kind(
    ObjectKind(
        torch_zero.is_zero,
        torch_zero.take,
        torch_zero.put,
        stands_for=torch_zero.stands_for,
        bind=torch_zero.bind,
    )
)
register_stateful_binder(lambda v: isinstance(v, torch.nn.Module), torch_modules.bind_module)
register_guard(
    GuardKind(
        lambda v: isinstance(v, torch.optim.Optimizer),
        torch_guards.arrays_of,
        torch_guards.before_update,
    )
)
register_told_by_leaves(lambda v: isinstance(v, torch.nn.Module))
register_led(lambda v: isinstance(v, torch.nn.Module), torch_modules.buffers_of)
register_change_probe(
    lambda v: isinstance(v, torch.Tensor), lambda t: torch_changes.changes_of([t])
)
register_change_probe(lambda v: isinstance(v, torch.nn.Module), torch_changes.changes_of_module)
register_change_probe(
    lambda v: isinstance(v, torch.optim.Optimizer), torch_changes.changes_of_optimizer
)
register_change_probe(
    lambda v: isinstance(v, torch.amp.GradScaler), torch_changes.changes_of_scaler
)
