"""A strategy of checkpointing, as far as a simulator has to know it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from holdfast.errors import UsageError


@dataclass(frozen=True, slots=True)
class Tier:
    """A faster place for checkpoints than the store, which may be lost with what fails.

    Attributes:
        every: Each so many-th checkpoint goes to the store as well.
        survives: The probability that the tier's checkpoints outlive a failure.
        restart_s: From a failure until training goes on, where they do.
        lag_s: From the end of a snapshot until the tier has it.
    """

    every: int
    survives: float
    restart_s: float
    lag_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Strategy:
    """How a run saves.

    Attributes:
        name: For tables.
        interval_s: Training between saves; infinite for none.
        cost_s: What training pays for a save: held and slowed.
        lag_s: From the end of what is paid until it is durable; 0 where saving blocks.
        restart_s: From a failure until training goes on, without queueing.
        keep: How many checkpoints stay.
        stored_bytes: What one takes.
        spoiled: The probability that a checkpoint turns out damaged when it is needed.
        tier: A faster tier, or None.
        saves_on_notice: The probability that a failure comes with enough notice to save.
    """

    name: str
    interval_s: float
    cost_s: float
    lag_s: float = 0.0
    restart_s: float = 0.0
    keep: int = 3
    stored_bytes: int = 0
    spoiled: float = 0.0
    tier: Tier | None = None
    saves_on_notice: float = 0.0

    def __post_init__(self) -> None:
        for name in ("cost_s", "lag_s", "restart_s"):
            if not (getattr(self, name) >= 0.0 and math.isfinite(getattr(self, name))):
                raise UsageError(f"{name} is {getattr(self, name)!r}; it is 0 or more seconds.")
        if not self.interval_s > 0.0:
            raise UsageError(f"interval_s is {self.interval_s!r}; it is above 0 seconds.")
        if not 0.0 <= self.spoiled < 1.0:
            raise UsageError(
                f"spoiled is {self.spoiled!r}; it is a probability below 1: where every checkpoint "
                "is damaged, nothing is ever done."
            )
        if self.keep < 1:
            raise UsageError(f"keep is {self.keep!r}; at least one checkpoint stays.")

    @property
    def is_saving(self) -> bool:
        """Whether it saves at all."""
        return math.isfinite(self.interval_s)


def survives(loses_one: float, replicas: int) -> float:
    """Return the probability that one of some copies outlives a failure that takes each alone.

    >>> survives(0.1, 2)
    0.99
    """
    return 1.0 - loses_one**replicas


@dataclass(frozen=True, slots=True)
class Saving:
    """A state and a machine, from which the cost of a save follows.

    Attributes:
        state_bytes: What is saved.
        copy_bps: Bytes in a second into memory.
        store_bps: Bytes in a second into the store.
        ratio: Bytes of the state for one stored byte.
        codec_bps: Bytes of the state in a second through the codec; infinite without one.
    """

    state_bytes: float
    copy_bps: float
    store_bps: float
    ratio: float = 1.0
    codec_bps: float = math.inf

    @property
    def snapshot_s(self) -> float:
        """How long the copy takes."""
        return self.state_bytes / self.copy_bps

    @property
    def persist_s(self) -> float:
        """How long it takes to encode and write it; the two overlap."""
        return max(self.state_bytes / self.codec_bps, self.stored_bytes / self.store_bps)

    @property
    def stored_bytes(self) -> float:
        """What is stored."""
        return self.state_bytes / self.ratio


def blocking(name: str, interval_s: float, saving: Saving, restart_s: float) -> Strategy:
    """Return a strategy in which training waits until a save is durable."""
    return Strategy(
        name,
        interval_s,
        cost_s=saving.snapshot_s + saving.persist_s,
        restart_s=restart_s,
        stored_bytes=round(saving.stored_bytes),
    )


def in_background(
    name: str, interval_s: float, saving: Saving, restart_s: float, slowed: float = 0.0
) -> Strategy:
    """Return a strategy in which training waits for the snapshot only.

    Args:
        name: For tables.
        interval_s: Training between saves.
        saving: State and machine.
        restart_s: From a failure until training goes on.
        slowed: The share of its speed that training loses while a save is written.
    """
    return Strategy(
        name,
        interval_s,
        cost_s=saving.snapshot_s + slowed * saving.persist_s,
        lag_s=saving.persist_s,
        restart_s=restart_s,
        stored_bytes=round(saving.stored_bytes),
    )
