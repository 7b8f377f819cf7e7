"""Digests of the random number generators that a process's libraries keep."""

from __future__ import annotations

import random
import sys

from .rows import digest


def generators() -> dict[str, str]:
    """Return a digest of each library's global generator, by library; none is moved."""
    found = {"python": digest(repr(random.getstate()).encode())}
    numpy = sys.modules.get("numpy")
    if numpy is not None and "numpy.random" in sys.modules:
        name, keys, pos, has_gauss, gauss = numpy.random.get_state()
        told = f"{name} {pos} {has_gauss} {gauss!r}".encode()
        found["numpy"] = digest(keys.tobytes() + told)
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_rng_state"):
        found["torch"] = digest(bytes(torch.get_rng_state().numpy()))
        cuda = getattr(torch, "cuda", None)
        if cuda is not None and cuda.is_initialized():
            found["cuda"] = digest(bytes(cuda.get_rng_state().numpy()))
    return found
