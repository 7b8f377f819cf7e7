"""Exports or imports in a process of its own, and says by how much its memory grew, in MB."""

from __future__ import annotations

import resource
import sys

from holdfast.convert import export, import_checkpoint
from holdfast.convert import registry as _all_formats_are_loaded  # noqa: F401


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    what, store, path, name = sys.argv[1:]
    before = peak_mb()
    if what == "export":
        export(store, "r@0", path, format=name, root="model")
    else:
        import_checkpoint(store, path, run=name)
    # What reads pickles must not need what made them.
    assert "torch" not in sys.modules
    print(peak_mb() - before)
