"""Steps and restores of a holdfast ``Checkpointer``, and the effects on its store."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from .generators import generators
from .rows import Writer


def watch(module: ModuleType, writer: Writer) -> None:
    """Write a row for each step and each restore."""
    checkpointer = module.Checkpointer
    step, restore = checkpointer.step, checkpointer.restore

    @functools.wraps(step)
    def watched_step(self: Any, number: int, *args: Any, **kwargs: Any) -> Any:
        rng = generators()
        # The row after the step: whoever is struck there has done the save that was due.
        try:
            return step(self, number, *args, **kwargs)
        finally:
            writer.write("c", step=int(number), rng=rng)

    @functools.wraps(restore)
    def watched_restore(self: Any, *args: Any, **kwargs: Any) -> Any:
        restored = restore(self, *args, **kwargs)
        writer.write("r", next_step=self.next_step)
        return restored

    checkpointer.step, checkpointer.restore = watched_step, watched_restore


def count_effects(plan: Mapping[str, Any]) -> None:
    """Count the effects of this process on a store, and strike at one of them if asked to."""
    from holdfast.testing.effects import attach

    attach(plan["folder"], plan["log"], plan["strike"])
