"""What watches in the processes of the script that is drilled; it changes nothing there.

This package is copied into a folder of its own and started by a ``sitecustomize``. So it imports
nothing but the standard library, and works in a Python that has no holdfast. Frameworks are looked
at only once the script itself has imported them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import holdfast_eyes, imports, torch_eyes
from .rows import Writer
from .strike import Striker


def attend(config: Mapping[str, Any]) -> None:
    """Watch this process for the rest of its life.

    Args:
        config: ``trace``, the folder that rows are written to; ``strike``, what shall happen to
            this process and when, or None; ``effects``, a store's folder whose effects are counted
            or struck, or None.
    """
    writer = Writer(config["trace"])
    writer.striker = Striker(config.get("strike"))
    imports.after("torch.optim.optimizer", lambda module: torch_eyes.on_steps(module, writer))
    imports.after("torch.nn.modules.module", lambda module: torch_eyes.on_calls(module, writer))
    imports.after("torch.serialization", lambda module: torch_eyes.on_saves(module, writer))
    imports.after("holdfast.checkpointer", lambda module: holdfast_eyes.watch(module, writer))
    effects = config.get("effects")
    if effects is not None:
        # Before the package is used, after it is known that the script uses it.
        imports.after("holdfast.store", lambda module: holdfast_eyes.count_effects(effects))
    imports.begin()
