"""Whether tensors have changed in place, told without reading them.

PyTorch counts the changes of each tensor. Changes through ``.data`` or a NumPy view pass by the
counter; a few bytes of each tensor in host memory tell those that change all of it, as an
optimizer or a moving average does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

import torch

_SAMPLE_BYTES = 32
# Others may hold their data elsewhere, or have none yet.
_PLAIN = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)


def changes_of(tensors: Iterable[torch.Tensor]) -> object:
    """Return something that differs once one of the tensors has changed, or is another."""
    version, count = 0, 0
    samples: list[bytes] = []
    for tensor in tensors:
        version += tensor._version
        count += 1
        if type(tensor) in _PLAIN and tensor.device.type == "cpu":
            samples.append(_sample_of(tensor))
    return count, version, hash(b"".join(samples))


def _sample_of(tensor: torch.Tensor) -> bytes:
    """Return some bytes from the middle of a tensor in host memory."""
    nbytes = tensor.nbytes if tensor.layout is torch.strided and tensor.is_contiguous() else 0
    if nbytes == 0:
        return b""
    begin = max(0, nbytes // 2 - _SAMPLE_BYTES)
    return ctypes.string_at(tensor.data_ptr() + begin, min(nbytes - begin, 2 * _SAMPLE_BYTES))
