"""What tiers there are, as users ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from holdfast.errors import UsageError
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.records.place import Place

if TYPE_CHECKING:
    from holdfast.policy.when import SavePolicy

MEMORY = "memory"
# The store that the run is at home in: the location of the ``Checkpointer``.
HOME = "home"


@final
@dataclass(frozen=True, slots=True)
class MemoryTier:
    """Checkpoints in the memory of this machine.

    Attributes:
        save: When to save there besides what goes home; None: not besides.
        keep: What stays there.
        folder: Where the memory is; None: where this system has it.
    """

    save: SavePolicy | None
    keep: KeepPolicy
    folder: str | None


@final
@dataclass(frozen=True, slots=True)
class FarTier:
    """Checkpoints copied to another store in the background.

    Attributes:
        place: That store.
        name: What the tier is called.
        save: Which checkpoints go there; None: all that go home.
        keep: What stays there; None: all.
        bandwidth_bytes_s: What may be sent per second; None: as much as goes.
        wait_s: How long the end of training waits for what is still to be copied.
    """

    place: Place
    name: str
    save: SavePolicy | None
    keep: KeepPolicy | None
    bandwidth_bytes_s: int | None
    wait_s: float


Tier = MemoryTier | FarTier


def check_tiers(tiers: object, *, is_together: bool) -> tuple[MemoryTier | None, list[FarTier]]:
    """Return the memory tier, if any, and the far ones.

    Args:
        tiers: What the user gave.
        is_together: Whether several ranks save together.

    Raises:
        UsageError: They are no tiers, or cannot be together.
    """
    if isinstance(tiers, str) or not isinstance(tiers, Sequence):
        raise UsageError(f"tiers= takes a list such as [tier.memory()], not {tiers!r}.")
    for item in tiers:
        if not isinstance(item, MemoryTier | FarTier):
            raise UsageError(f"tiers= takes tier.memory() and tier.far(), not {item!r}.")
        _check_policy(item, is_together=is_together)
    near = [item for item in tiers if isinstance(item, MemoryTier)]
    far = [item for item in tiers if isinstance(item, FarTier)]
    if len(near) > 1:
        raise UsageError("There is one tier.memory() at most.")
    if near and is_together:
        raise UsageError(
            "tier.memory() is for a process that saves alone: what one machine's memory has of "
            "several ranks is no whole checkpoint. Ranks may have tier.far()."
        )
    names = [item.name for item in far]
    if len(set(names)) < len(names):
        raise UsageError("Several far tiers need names: tier.far(…, name='archive').")
    return (near[0] if near else None), far


def _check_policy(tier: Tier, *, is_together: bool) -> None:
    policy = tier.save
    if policy is None:
        return
    if policy.signals or policy.wants_exception or policy.is_adaptive:
        raise UsageError(
            "The save= of a tier goes by steps, epochs, time or the best metric. Signals, "
            "exceptions and adaptive() belong to the save= of the Checkpointer; what is saved for "
            "a signal or an exception goes to every tier."
        )
    if is_together and not policy.is_same_for_all:
        raise UsageError("Where several ranks save, save= of a tier goes by steps and epochs only.")
