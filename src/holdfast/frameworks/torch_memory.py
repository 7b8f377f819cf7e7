"""Whether the memory of a tensor can be written: a file may be mapped for reading only.

PyTorch does not know it of a tensor that stands over such memory (``torch.from_numpy`` of a
``numpy.memmap``); whoever writes there is ended by the system. Here the system is asked: it writes
back a byte that it was given from there, or says that it may not.
"""

from __future__ import annotations

import ctypes
import os

import torch

READ_ONLY = (
    "lies in memory that can only be read (a file that is mapped?), so that it cannot be filled. "
    "Clone it, which makes it a tensor of its own"
)

_read = ctypes.CDLL(None).read
_read.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_read.restype = ctypes.c_ssize_t


def is_writable(tensor: torch.Tensor) -> bool:
    """Say whether what a dense tensor stands over can be written, from its first to its last byte.

    Only the CPU's memory is looked at, and of that only what PyTorch has not allocated itself.
    """
    if tensor.device.type != "cpu" or not tensor.numel() or tensor.untyped_storage().resizable():
        return True
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    last = sum((n - 1) * step for n, step in steps) * tensor.element_size()
    begin = tensor.data_ptr()
    return _may_write({begin, begin + last + tensor.element_size() - 1})


def _may_write(addresses: set[int]) -> bool:
    out, into = os.pipe()
    try:
        for address in addresses:
            os.write(into, ctypes.string_at(address, 1))
            if _read(out, address, 1) != 1:
                return False
    finally:
        os.close(out)
        os.close(into)
    return True
