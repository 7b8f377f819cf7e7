"""What the checksums of blocks cost a save, beside what it costs without: ``make blocks``.

First the digests of one chunk in memory, by block size, then saves of a state of random bytes, both
ways of saving it in turns. Measure on a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from blake3 import blake3

import holdfast
from holdfast.chunks import write
from holdfast.chunks.digesting import digests_of
from holdfast.chunks.form import PlainForm
from holdfast.plan.blocks import block_bytes
from holdfast.plan.layout import CHUNK_BYTES

SIZES = (65536, 16384, 8192, 4096)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=1024, help="size of the state that is saved")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", help="where to save; a folder for a while if not given")
    arguments = parser.parse_args()
    digests(arguments.rounds)
    saves(arguments.mb, arguments.rounds, arguments.folder)


def digests(rounds: int) -> None:
    """Print what the digests of a chunk take, in milliseconds for each GiB and core."""
    data, form = memoryview(bytearray(os.urandom(CHUNK_BYTES))), PlainForm()
    ways: dict[str, Callable[[], object]] = {
        "without": lambda: digests_of(data, form, 0, 0),
        **{f"XXH3 of {n >> 10} KiB": _with_blocks(data, form, n) for n in SIZES},
        **{f"BLAKE3 of {n >> 10} KiB": _with_blake3(data, form, n) for n in SIZES},
    }
    for name, times in _in_turns(ways, rounds, time.process_time).items():
        print(f"{name:>18}: {median(times) * (1 << 30) / CHUNK_BYTES * 1e3:6.0f} ms/GiB of a core")


def _with_blocks(data: memoryview, form: PlainForm, nbytes: int) -> Callable[[], object]:
    return lambda: digests_of(data, form, nbytes, 0)


def _with_blake3(data: memoryview, form: PlainForm, nbytes: int) -> Callable[[], object]:
    def way() -> None:
        digests_of(data, form, 0, 0, look)

    def look(_: int, __: int, piece: memoryview) -> None:
        for at in range(0, piece.nbytes, nbytes):
            blake3(piece[at : at + nbytes]).digest()

    return way


def saves(mb: int, rounds: int, folder: str | None) -> None:
    """Print how long saves take until they are durable."""
    rng = np.random.default_rng(0)
    arrays = {f"w{i}": rng.standard_normal(8_000_000 // 4, np.float32) for i in range(mb // 8)}
    state: dict[str, Any] = {"model": arrays}
    with tempfile.TemporaryDirectory(dir=folder) as store:
        step = 0

        def saved(how: Callable[[int, int], int]) -> Callable[[], object]:
            def way() -> None:
                nonlocal step
                step += 1
                for array in arrays.values():
                    array[::1000] += 1
                write.block_bytes = how  # type: ignore[attr-defined]
                holdfast.save(store, state, run="r", step=step, rng=False)

            return way

        ways = {"without": saved(lambda length, total: 0), "with": saved(block_bytes)}
        for name, times in _in_turns(ways, rounds, time.perf_counter).items():
            print(f"saves {name:>7}: median {median(times):.3f} s, least {min(times):.3f} s")


def _in_turns(
    ways: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = clock()
            way()
            times[name].append(clock() - began)
    return times


if __name__ == "__main__":
    main()
