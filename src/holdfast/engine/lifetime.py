"""Whether a ``Checkpointer`` may be used: open, by the process that made it, its state whole."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.errors import RestoreIncomplete, UsageError


class Lifetime:
    """Knows whether it is open, whose it is, and whether the state is half restored.

    Between open and over it is being closed; who was interrupted at that may close it again.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self.is_open = True
        self.is_over = False
        # Why the state has a checkpoint's values in some places only, or None.
        self.half_restored: RestoreIncomplete | None = None
        # What has left the ``with`` block, or None.
        self.left_by: BaseException | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is open, this process's own, and the state not half restored."""
        return self.is_open and self._is_own and self.half_restored is None

    @property
    def _is_own(self) -> bool:
        # A forked child has it too, but neither the persister nor its work; what it would copy into
        # the memory that both share would be in its parent's checkpoint.
        return os.getpid() == self._pid

    def end(self) -> bool:
        """Close it; say whether that is this caller's to do."""
        if self.is_over or not self._is_own:
            return False
        self.is_open = False
        return True

    def how_it_ended(self, came: tuple[int, ...]) -> str:
        """Return how training was left, in words for the journal.

        Args:
            came: Signals that have asked for it.
        """
        if came:
            return f"signal {signal.Signals(came[0]).name}"
        if isinstance(self.left_by, Exception | KeyboardInterrupt):
            return f"exception {type(self.left_by).__name__}"
        return "done"

    @contextmanager
    def noting_half(self) -> Iterator[None]:
        """Note that the state is half restored, if the block leaves it so."""
        try:
            yield
        except RestoreIncomplete as error:
            self.half_restored = error
            raise

    def require_open(self) -> None:
        """Refuse what needs it to be open.

        Raises:
            UsageError: It is closed, or another process's.
        """
        if not self.is_open:
            raise UsageError("This Checkpointer is closed.")
        if not self._is_own:
            raise UsageError(
                "This Checkpointer belongs to the process that made it, not to one forked from it."
            )

    def require_whole(self) -> None:
        """Refuse what needs the state to be whole, too.

        Raises:
            UsageError: It is closed, or another process's.
            RestoreIncomplete: The state is half restored.
        """
        self.require_open()
        if self.half_restored is not None:
            raise RestoreIncomplete(
                "The state is half restored, so that it is neither trained nor saved with. Restore "
                f"again, or start the process anew. What happened: {self.half_restored}"
            ) from self.half_restored
