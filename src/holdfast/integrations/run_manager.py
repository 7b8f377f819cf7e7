"""What managers have in common that stand where a framework's own manager of checkpoints stood."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from holdfast.checkpointer import Checkpointer
from holdfast.engine.handle import SaveHandle
from holdfast.errors import NotFound
from holdfast.format.names import check_run
from holdfast.history.info import CheckpointInfo
from holdfast.integrations.arguments import check_options
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.policy.retention import plan_retention
from holdfast.records.opening import Location
from holdfast.repository import Store


class RunManager:
    """A run of a store, and the Checkpointer that saves to it once there is something to save.

    Args:
        directory: Where the store is.
        run: Name of the run.
        state: What is saved; it may still be filled.
        options: Arguments of the Checkpointer.

    Attributes:
        last_save: Handle of the last save: ``.wait()`` returns once it is durable.
    """

    def __init__(
        self,
        directory: Location | Store,
        run: str,
        state: dict[str, Any],
        options: Mapping[str, Any],
    ) -> None:
        self._store = Store(directory)
        self._run = check_run(run)
        self._state = state
        self._options = check_options(options, type(self).__name__)
        self._opened: Checkpointer | None = None
        self.last_save: SaveHandle | None = None

    def _checkpointer(self) -> Checkpointer:
        if self._opened is None:
            self._opened = Checkpointer(
                self._store, self._state, run=self._run, ranks=None, **self._options
            )
        return self._opened

    def _wait(self) -> None:
        if self._opened is not None:
            self._opened.wait()

    def _log(self) -> list[CheckpointInfo]:
        """Return all checkpoints, oldest first; saves under way are waited for."""
        self._wait()
        try:
            return self._store.log(self._run)
        except NotFound:
            return []

    def _kept(self) -> list[CheckpointInfo]:
        """Return the checkpoints that stay, oldest first; saves under way are waited for.

        The persister removes the others when nobody waits for it: right after a save they may be
        there yet, and must not be counted on.
        """
        log, policy = self._log(), self._options.get("keep")
        if not isinstance(policy, KeepPolicy):
            return log
        return sorted((info for info, _ in plan_retention(log, policy).kept), key=_by_commit)

    def close(self) -> None:
        """Wait for the saves under way, and end."""
        if self._opened is not None:
            self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            self._opened.__exit__(kind, error, traceback)


def _by_commit(info: CheckpointInfo) -> int:
    return info.seq
