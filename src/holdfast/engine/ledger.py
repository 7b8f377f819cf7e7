"""The saves that were started: what each cost, and errors that somebody must be told of."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from holdfast.engine.followers import Followers
from holdfast.engine.handle import SaveHandle
from holdfast.errors import HoldfastError

_log = logging.getLogger("holdfast")

OnError = Literal["raise", "warn"]


@dataclass(frozen=True, slots=True)
class SaveTimes:
    """What a finished save cost: seconds held, seconds until durable, bytes of state and stored.

    ``tiers`` is where it went; empty where it was saved in memory only.
    """

    step: int
    held_s: float
    durable_s: float
    state_bytes: int
    stored_bytes: int
    tiers: tuple[str, ...] = ("home",)


class Ledger:
    """Keeps the handles that are still news, and the times of the saves that have ended.

    Attributes:
        followers: Those that are told of each save that has become durable.
    """

    def __init__(self, on_error: OnError, followers: Followers | None = None) -> None:
        self._on_error = on_error
        self.followers = followers or Followers((), None)
        self._open: list[SaveHandle] = []
        self._times: list[SaveTimes] = []
        self._newest: str | None = None
        self._not_finite: set[int] = set()
        self._has_told_of_memory = False

    def add(self, handle: SaveHandle) -> None:
        """Note a save that was started."""
        self._open.append(handle)
        self.followers.add(handle)

    def newest(self) -> str | None:
        """Return the id of the newest checkpoint that was saved, or is being saved."""
        self._settle()
        under_way = [h.id for h in self._open if not h.done]
        return under_way[-1] if under_way else self._newest

    def restart(self, checkpoint_id: str) -> None:
        """Let a checkpoint that was restored be the newest."""
        # Those that have ended before it must not come to be newer than it.
        self._settle()
        self._newest = checkpoint_id

    def not_finite(self) -> frozenset[int]:
        """Return the steps whose checkpoints turned out to have values that are not finite."""
        self._settle()
        return frozenset(self._not_finite)

    @property
    def n_durable(self) -> int:
        """How many saves have become durable so far."""
        self._settle()
        return len(self._times)

    def times(self) -> list[SaveTimes]:
        """Return what each save that has become durable cost, oldest first."""
        self._settle()
        return list(self._times)

    def tell_errors(self) -> None:
        """Raise, or log, the first error of a save that nobody was told of yet.

        What failed in memory only is logged always: it shall not stop training.

        Raises:
            HoldfastError: A save failed, and ``on_error`` is ``raise``.
        """
        self._settle()
        for handle in [h for h in self._open if h.done]:
            self._open.remove(handle)
            error = handle.take_untold_error()
            if error is not None and handle.tiers:
                self.tell(error, handle.step)
            elif error is not None:
                self._tell_of_memory(error, handle.step)

    def _tell_of_memory(self, error: HoldfastError, step: int) -> None:
        """Say once that steps are not saved in memory: what is saved at home stops for nothing."""
        if not self._has_told_of_memory:
            self._has_told_of_memory = True
            _log.error(
                "Step %d was not saved in memory, nor may those after it be: %s", step, error
            )

    def tell(self, error: HoldfastError, step: int) -> None:
        """Raise, or log, why a save has failed."""
        if self._on_error == "raise":
            raise error
        _log.error("The save of step %d failed: %s", step, error)

    def _settle(self) -> None:
        ended = [h for h in self._open if h.done and h.error is None]
        for handle in ended:
            info = handle.info
            self._newest = handle.id
            if not handle.tiers:
                self._has_told_of_memory = False
            if info.not_finite:
                self._not_finite.add(handle.step)
            else:
                self._not_finite.discard(handle.step)
            self._times.append(
                SaveTimes(
                    handle.step,
                    handle.held_s,
                    handle.durable_s,
                    info.state_bytes,
                    info.stored_bytes,
                    handle.tiers,
                )
            )
        self._open = [h for h in self._open if h not in ended]
