"""The last whole step of a run, for when the next one is interrupted."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.engine.boundary import Boundary
from holdfast.engine.handle import SaveHandle
from holdfast.engine.schedule import Schedule
from holdfast.engine.shield import uninterrupted
from holdfast.errors import HoldfastError

_log = logging.getLogger("holdfast")


class LastStep:
    """Remembers the end of each step if anything may ask for it, and says what to save of it."""

    def __init__(self, state: Mapping[str, Any], schedule: Schedule, *, rng: bool) -> None:
        self._state = state
        self._schedule = schedule
        self._rng = rng
        self._boundary: Boundary | None = None
        self._has_warned = False

    def note(self, step: int) -> None:
        """Remember the end of a step."""
        if not self._schedule.saves_last_step:
            return
        try:
            self._boundary = Boundary.take(self._state, step, rng=self._rng)
        except Exception as error:
            self._boundary = None
            if not self._has_warned:
                self._has_warned = True
                _log.warning(
                    "Nothing will be saved if a step is interrupted: an object of the state could "
                    "not tell what it is: %s: %s",
                    type(error).__name__,
                    error,
                )

    def forget(self) -> None:
        """Let there be none: the state is another now."""
        self._boundary = None

    def save(
        self,
        error: BaseException | None,
        came: tuple[int, ...],
        save: Callable[[Boundary, str], SaveHandle | None],
    ) -> None:
        """Save the last whole step, if the policy wants it and the state is still at it.

        Args:
            error: What interrupted the next step, or None.
            came: Signals that came meanwhile.
            save: Saves a step for a reason.
        """
        found = self._to_save(error, came)
        if found is None:
            return
        try:
            # A second Ctrl-C shall not undo what the first asked for. Once it is handed on, the
            # save becomes durable whether it is waited for or not.
            with uninterrupted():
                handle = save(*found)
            assert handle is not None
            handle.wait()
        except HoldfastError as failure:
            _log.error("The save on %s failed: %s", found[1], failure)

    def _to_save(
        self, error: BaseException | None, came: tuple[int, ...]
    ) -> tuple[Boundary, str] | None:
        boundary, saved_step = self._boundary, self._schedule.saved_step
        wanted = self._schedule.wants_exception or came
        if not wanted or boundary is None or boundary.step == saved_step:
            return None
        if not boundary.still_holds(self._state):
            _log.warning(
                "Nothing was saved on %s: the state is in the middle of step %d. %s",
                "a signal" if came else type(error).__name__,
                boundary.step + 1,
                "There is no checkpoint yet."
                if saved_step is None
                else f"The last checkpoint is of step {saved_step}.",
            )
            return None
        if came:
            return boundary, f"signal {signal.Signals(came[0]).name}"
        return boundary, f"exception {type(error).__name__}"
