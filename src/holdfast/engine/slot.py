"""A slot: an arena, what is in it, and the save that is using it."""

from __future__ import annotations

from holdfast.engine.arena import Arena
from holdfast.engine.gate import Copying
from holdfast.engine.handle import SaveHandle
from holdfast.plan.layout import Layout


class Slot:
    """An arena, the layout of the snapshot in it, and the save that is using it.

    ``generation`` is that of the persister that knows where the snapshot's chunks were stored.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.arena: Arena | None = None
        self.name = ""
        self.layout: Layout | None = None
        self.generation = 0
        self.handle: SaveHandle | None = None
        self.copying: Copying | None = None

    @property
    def is_free(self) -> bool:
        """Whether nobody writes to the arena, and no save needs what is in it."""
        is_written = self.copying is not None and not self.copying.is_over
        return not is_written and (self.handle is None or self.handle.is_written)

    def wait(self) -> None:
        """Wait until the slot is free; raises nothing."""
        if self.copying is not None:
            self.copying.wait()
        if self.handle is not None:
            self.handle.wait_written()
