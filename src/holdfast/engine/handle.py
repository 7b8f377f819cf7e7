"""The handle of a save under way."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

from holdfast.errors import HoldfastError, SaveFailed, UsageError
from holdfast.history.info import CheckpointInfo


class SaveHandle:
    """A save that was started; the loop may go on while it becomes durable.

    Attributes:
        step: The step that is saved.
        held_s: Seconds that the call held the training loop.
        durable_s: Seconds from the call's return to durable, once done.
        tiers: Where it goes: ``home``, and far tiers by name, which are copied to after it is done.
            Empty where it is saved in memory only.
    """

    def __init__(self, step: int, checkpoint_id: str, tiers: tuple[str, ...] = ("home",)) -> None:
        self.step = step
        self.tiers = tiers
        self.id = checkpoint_id
        self.held_s = 0.0
        self.durable_s = 0.0
        self._finished = threading.Event()
        self._written = threading.Event()
        self._info: CheckpointInfo | None = None
        self._error: HoldfastError | None = None
        self._told = False
        self._pid = os.getpid()

    @property
    def done(self) -> bool:
        """Whether the save has ended, well or not; never waits."""
        return self._finished.is_set()

    @property
    def is_written(self) -> bool:
        """Whether nobody needs its snapshot any more, as what this process has of it is durable."""
        return self._written.is_set()

    @property
    def info(self) -> CheckpointInfo:
        """The committed checkpoint; waits for it."""
        return self.wait()

    @property
    def error(self) -> HoldfastError | None:
        """Why the save failed, or None; never waits."""
        return self._error

    def wait_ended(self) -> None:
        """Wait until the save has ended, well or not; raises nothing."""
        self._finished.wait()

    def wait_written(self) -> None:
        """Wait until nobody needs the snapshot any more; raises nothing."""
        self._written.wait()

    def wait(self, timeout_s: float | None = None) -> CheckpointInfo:
        """Wait until the checkpoint is durable and return what it is.

        Raises:
            SaveFailed, NoSpace, StoreUnavailable, RunBusy: It did not become durable.
            TimeoutError: It is not durable yet after ``timeout_s`` seconds; it goes on.
            UsageError: This process was forked from the one that saves.
        """
        if not self.done and os.getpid() != self._pid:
            # Nobody would ever say here how it ends.
            raise UsageError(
                f"The save of step {self.step} belongs to the process that this one was forked "
                "from; wait for it there. It goes on."
            )
        if not self._finished.wait(timeout_s):
            raise TimeoutError(f"Step {self.step} is not durable after {timeout_s} s; it goes on.")
        self._told = True
        if self._error is not None:
            raise self._error
        assert self._info is not None
        return self._info

    def succeed(self, info: CheckpointInfo, durable_s: float) -> None:
        """Let the save have ended well; for the engine."""
        self._info = info
        self.durable_s = durable_s
        self._end()

    def fail(self, error: HoldfastError) -> None:
        """Let the save have failed; for the engine."""
        self._error = error
        self._end()

    def let_go(self) -> None:
        """Let the snapshot be needed no more, while others have still to save theirs."""
        self._written.set()

    def _end(self) -> None:
        self._finished.set()
        self._written.set()

    def take_untold_error(self) -> HoldfastError | None:
        """Return the error if nobody has been told of it, and count it as told."""
        if self._error is None or self._told:
            return None
        self._told = True
        return self._error


def error_of_kind(kind: str, message: str, facts: Mapping[str, Any]) -> HoldfastError:
    """Return an error of the class that has that kind, for one that happened in the persister."""

    def classes(cls: type[HoldfastError]) -> list[type[HoldfastError]]:
        return [cls, *(c for sub in cls.__subclasses__() for c in classes(sub))]

    for cls in classes(HoldfastError):
        if cls.kind == kind:
            return cls(message, **facts)
    return SaveFailed(message, **facts)
