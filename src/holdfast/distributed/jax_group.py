"""Ranks of jax.distributed: what they say goes through JAX's own gathering over all devices."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import numpy as np

from holdfast.errors import EnvironmentTrouble

PATIENCE_S = 120.0
# Lengths are rounded up: each one that JAX has not met costs a compilation.
_LEAST_BYTES = 256


def is_jax_distributed() -> bool:
    """Say whether this process is one of several of jax.distributed; imports nothing."""
    jax = sys.modules.get("jax")
    # Of JAX 0.5.0, which has no name for it, nobody can tell without starting its devices.
    asked = getattr(getattr(jax, "distributed", None), "is_initialized", None)
    return jax is not None and asked is not None and asked() and int(jax.process_count()) > 1


class JaxGroup:
    """All processes of jax.distributed; to make one, every process must.

    Raises:
        EnvironmentTrouble: Not every process has come.
    """

    def __init__(self) -> None:
        import jax

        self.rank, self.world_size = jax.process_index(), jax.process_count()
        self.gather(None)

    def broadcast(self, value: Any) -> Any:
        """Return rank 0's value on every rank."""
        return self.gather(value if self.rank == 0 else None)[0]

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks on every rank.

        Raises:
            EnvironmentTrouble: Not every process has come.
        """
        # With the rank: rows come in the order of the devices, which need not be that of ranks.
        data = json.dumps([self.rank, value]).encode()
        longest = int(self._together(np.array([len(data)], np.int32)).max())
        row = np.full(_rounded(longest), ord(" "), np.uint8)
        row[: len(data)] = np.frombuffer(data, np.uint8)
        said = [json.loads(row.tobytes()) for row in self._together(row)]
        return [found for _, found in sorted(said, key=lambda pair: pair[0])]

    def _together(self, row: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the rows of all ranks.

        JAX itself would wait for ever. A thread of its own does the waiting, in which no mesh and
        no default device of the caller's is set, either.
        """
        found: list[Any] = []

        def gather() -> None:
            from jax.experimental import multihost_utils

            try:
                found.append(np.asarray(multihost_utils.process_allgather(row)))
            except Exception as error:
                found.append(error)

        thread = threading.Thread(target=gather, name="holdfast-gather", daemon=True)
        thread.start()
        thread.join(PATIENCE_S)
        if not found or isinstance(found[0], Exception):
            why = "waited in vain for the others" if not found else "could not ask the others"
            what = found[0] if found else f"after {PATIENCE_S:.0f} s not all of them had come"
            raise EnvironmentTrouble(
                f"Rank {self.rank} of {self.world_size} {why}: {what}. A Checkpointer is made by "
                "every process, and restores on every one; one that saves by itself is told so: "
                "ranks=None."
            )
        rows: np.ndarray[Any, Any] = found[0].reshape(self.world_size, -1)
        return rows


def _rounded(nbytes: int) -> int:
    """Return the least power of two that holds so many bytes, from a least one on.

    >>> _rounded(5), _rounded(300)
    (256, 512)
    """
    return max(_LEAST_BYTES, 1 << (nbytes - 1).bit_length())
