"""Memory copied between addresses: large pieces past the processor's caches, small ones at once.

A store to memory first reads the cache line that it is about to overwrite, and what is written
pushes everything else out of the caches. Instructions that store past them do neither. The C
library uses them only for single copies longer than three quarters of the cache that the processor
claims to have: on a virtual machine, which may name all of the host's, that is more than any tensor
here. So the loop that it would run is made here, of instructions that every x86-64 processor has
(docs/adr/0043). Elsewhere, and where a system lets nobody make code, the C library copies.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import sys
from collections.abc import Callable

import numpy as np

# Shorter copies may be read again from the cache, and gain nothing.
LEAST_BYTES = 1 << 20
# Up to here a copy takes a few microseconds.
QUICK_BYTES = 64 << 10

_libc = ctypes.CDLL(None)
_Signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_memcpy = _libc.memcpy
_memcpy.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_memcpy.restype = ctypes.c_void_p
# The same, for what takes less time than to let other threads in and to wait for them again.
_quick_memcpy = ctypes.PyDLL(None).memcpy
_quick_memcpy.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_quick_memcpy.restype = ctypes.c_void_p

# One turn of the loop copies a cache line. The arguments are in rdi, rsi, rdx (System V ABI).
_LINE_BYTES = 64
_BEGIN = bytes.fromhex("f30f1efa")  # endbr64: a place that may be called; else it does nothing
_TURN = bytes.fromhex(
    "0f188600040000"  # prefetchnta [rsi+1024]
    "f30f6f06"  # movdqu xmm0, [rsi]
    "f30f6f4e10"  # movdqu xmm1, [rsi+16]
    "f30f6f5620"  # movdqu xmm2, [rsi+32]
    "f30f6f5e30"  # movdqu xmm3, [rsi+48]
    "660fe707"  # movntdq [rdi], xmm0
    "660fe74f10"  # movntdq [rdi+16], xmm1
    "660fe75720"  # movntdq [rdi+32], xmm2
    "660fe75f30"  # movntdq [rdi+48], xmm3
    "4883c640"  # add rsi, 64
    "4883c740"  # add rdi, 64
    "4883ea40"  # sub rdx, 64
)
_BACK = bytes((0x75, 256 - len(_TURN) - 2))  # jnz, to the begin of the turn
_END = bytes.fromhex("0faef8c3")  # sfence: other processors see all of it; ret
_ALIGNMENT = 16  # What movntdq writes to

# Kept: it is run.
_made: list[mmap.mmap] = []


def copy(to: int, source: int, nbytes: int) -> None:
    """Copy bytes between addresses that do not overlap.

    Other threads of Python's go on meanwhile, but where the copy takes a few microseconds.

    Args:
        to: Address of the first byte that is written.
        source: Address of the first byte that is read.
        nbytes: How many.
    """
    if nbytes <= QUICK_BYTES:
        _quick_memcpy(to, source, nbytes)
        return
    if nbytes < LEAST_BYTES or _stream is None:
        _memcpy(to, source, nbytes)
        return
    # The few bytes before and after what is aligned are the C library's.
    head = -to % _ALIGNMENT
    body = (nbytes - head) // _LINE_BYTES * _LINE_BYTES
    tail = nbytes - head - body
    if head:
        _memcpy(to, source, head)
    _stream(to + head, source + head, body)
    if tail:
        _memcpy(to + head + body, source + head + body, tail)


def copy_bytes(into: memoryview, data: memoryview) -> None:
    """Copy bytes that do not overlap, without holding others up as a slice assignment would."""
    to, source = np.frombuffer(into, np.uint8), np.frombuffer(data, np.uint8)
    if to.nbytes != source.nbytes:
        raise ValueError(f"{source.nbytes} bytes do not go into {to.nbytes}.")
    if to.nbytes < LEAST_BYTES:
        np.copyto(to, source)
    else:
        copy(to.ctypes.data, source.ctypes.data, to.nbytes)


def _make() -> Callable[[int, int, int], None] | None:
    """Return the loop as a function, or None where it cannot be had."""
    is_ours = platform.machine() in ("x86_64", "AMD64") and sys.maxsize > 1 << 32
    if sys.platform != "linux" or not is_ours:
        return None
    code = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    code.write(_BEGIN + _TURN + _BACK + _END)
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    # Never to be written and run at the same time; hardened systems refuse this one, too.
    rights = mmap.PROT_READ | mmap.PROT_EXEC
    if _libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE), rights) != 0:
        return None
    _made.append(code)
    return _Signature(address)


_stream = _make()
