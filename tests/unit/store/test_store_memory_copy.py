"""Memory copied past the caches: every byte, none beside them, whatever a system allows."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from holdfast.store import memory_copy
from holdfast.store.memory_copy import LEAST_BYTES, copy

RNG = np.random.default_rng(0)


def copied(nbytes: int, to: int, source: int) -> None:
    """Copy between places so far from an aligned one, and look at every byte."""
    given = RNG.integers(0, 256, nbytes + 256, np.uint8)
    memory = RNG.integers(0, 256, nbytes + 256, np.uint8)
    expected = memory.copy()
    expected[64 + to : 64 + to + nbytes] = given[source : source + nbytes]
    copy(memory.ctypes.data + 64 + to, given.ctypes.data + source, nbytes)
    assert np.array_equal(memory, expected)


@pytest.mark.parametrize("nbytes", [0, 1, 4096, LEAST_BYTES - 1])
def test_short_copies(nbytes: int) -> None:
    copied(nbytes, 3, 5)


@pytest.mark.parametrize("more", [0, 1, 15, 16, 63, 64, 65, 127])
def test_every_length_and_every_place(more: int) -> None:
    for to in (0, 1, 8, 15, 16, 17, 63):
        copied(LEAST_BYTES + more, to, int(RNG.integers(0, 64)))


def test_it_is_made_where_it_can_be() -> None:
    """Here, if the tests run on such a machine: otherwise saves would hold loops for longer."""
    import platform

    is_there = sys.platform == "linux" and platform.machine() == "x86_64"
    assert (memory_copy._stream is not None) == is_there


def test_where_nobody_may_make_code_the_c_library_copies() -> None:
    """PR_SET_MDWE (Linux 6.3): memory that could be written is never run, in that process."""
    script = """
        import ctypes
        import numpy as np
        refused = ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0
        from holdfast.store import memory_copy
        assert memory_copy._stream is None or not refused
        given, memory = np.arange(1 << 20), np.zeros(1 << 20, np.int64)
        memory_copy.copy(memory.ctypes.data, given.ctypes.data, given.nbytes)
        assert np.array_equal(given, memory)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
