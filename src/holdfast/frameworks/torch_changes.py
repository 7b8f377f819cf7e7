"""Whether tensors have changed in place, told without reading them.

PyTorch counts the changes of each tensor. Changes through ``.data`` or a NumPy view pass by the
counter; a few bytes of each tensor in host memory tell those that change all of it, as an
optimizer or a moving average does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

import torch

from holdfast.frameworks import torch_zero
from holdfast.state.changes import mark

_SAMPLE_BYTES = 32
# Others may hold their data elsewhere, or have none yet.
_PLAIN = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)


def changes_of_module(module: torch.nn.Module) -> object:
    """Return something that differs once a module's state has changed."""
    base = torch.nn.Module
    parts = list(module.modules())
    if type(module).state_dict is not base.state_dict or any(map(_saves_otherwise, parts)):
        return mark(module.state_dict())
    extra = [m.get_extra_state() for m in parts if _has_extra_state(m)]
    return changes_of([*module.parameters(), *module.buffers()]), mark(extra)


def changes_of_optimizer(optimizer: torch.optim.Optimizer) -> object:
    """Return something that differs once an optimizer's state has changed."""
    if torch_zero.is_zero(optimizer):
        # Its own state_dict wants all ranks to be asked first.
        groups = mark([_without_params(group) for group in optimizer.param_groups])
        return changes_of_optimizer(torch_zero.inner(optimizer)), groups
    hooks = optimizer._optimizer_state_dict_pre_hooks or optimizer._optimizer_state_dict_post_hooks
    if type(optimizer).state_dict is not torch.optim.Optimizer.state_dict or hooks:
        return mark(optimizer.state_dict())
    values = [value for entry in optimizer.state.values() for value in _values(entry)]
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    plain = [value for value in values if not isinstance(value, torch.Tensor)]
    groups = [_without_params(group) for group in optimizer.param_groups]
    return changes_of(tensors), mark(plain), mark(groups)


def _without_params(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


def changes_of_scaler(scaler: torch.amp.GradScaler) -> object:
    """Return something that differs once a scaler has changed; its state_dict would wait."""
    plain = {
        name: value for name, value in vars(scaler).items() if isinstance(value, bool | int | float)
    }
    tensors = [value for value in vars(scaler).values() if isinstance(value, torch.Tensor)]
    return mark(plain), changes_of(tensors)


def _saves_otherwise(module: torch.nn.Module) -> bool:
    own = type(module)._save_to_state_dict is not torch.nn.Module._save_to_state_dict
    ours = type(module).__module__.startswith("torch.nn.modules.")
    return bool(module._state_dict_hooks or module._state_dict_pre_hooks) or (own and not ours)


def _has_extra_state(module: torch.nn.Module) -> bool:
    return type(module).get_extra_state is not torch.nn.Module.get_extra_state


def _values(entry: object) -> Iterable[Any]:
    return entry.values() if isinstance(entry, dict) else [entry]


def changes_of(tensors: Iterable[torch.Tensor]) -> object:
    """Return something that differs once one of the tensors has changed, or is another."""
    version, count = 0, 0
    samples: list[bytes] = []
    for tensor in tensors:
        version += _version_of(tensor)
        count += 1
        if type(tensor) in _PLAIN and tensor.device.type == "cpu":
            samples.append(_sample_of(tensor))
    return count, version, hash(b"".join(samples))


def _version_of(tensor: torch.Tensor) -> int:
    try:
        return int(tensor._version)
    except RuntimeError:
        return 0  # Tensors that were made in inference mode have no counter.


def _sample_of(tensor: torch.Tensor) -> bytes:
    """Return some bytes from the middle of a tensor in host memory."""
    nbytes = tensor.nbytes if tensor.layout is torch.strided and tensor.is_contiguous() else 0
    if nbytes == 0:
        return b""
    begin = max(0, nbytes // 2 - _SAMPLE_BYTES)
    return ctypes.string_at(tensor.data_ptr() + begin, min(nbytes - begin, 2 * _SAMPLE_BYTES))
