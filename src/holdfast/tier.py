"""Tiers for a ``Checkpointer``: the same run in memory, at home, and far away.

``Checkpointer("ckpts", state, run="r", tiers=[tier.memory(save=every(steps=20)),
tier.far("s3://bucket/ckpts", save=every(hours=1))])``
"""

from __future__ import annotations

import math
import os

from holdfast.engine.tiers.kinds import HOME, MEMORY, FarTier, MemoryTier, Tier
from holdfast.engine.tiers.telling import forget_memory
from holdfast.errors import UsageError
from holdfast.format.names import check_tag
from holdfast.policy.bandwidth import parse_bandwidth
from holdfast.policy.keep import keep as keep_policies
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.policy.when import SavePolicy
from holdfast.records.opening import Location
from holdfast.repository import Store

__all__ = ["FarTier", "MemoryTier", "Tier", "far", "forget", "memory"]


def memory(
    save: SavePolicy | None = None,
    keep: KeepPolicy | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> MemoryTier:
    """Return a tier in this machine's memory: it outlives the process, not the machine.

    Everything that is saved is written there first, and training waits for that only; what goes
    home goes there from memory. A process that is killed and started again on this machine restores
    from it. What was saved nowhere else is gone when the machine restarts.

    Args:
        save: When to save there besides, every(steps=20) say. None: not besides.
        keep: What stays there; the newest always does. None: ``keep.last(1)``.
        folder: A folder in memory. None: ``/dev/shm``, which Linux has.

    Raises:
        UsageError: An argument is not possible.
    """
    _check(save, keep)
    if folder is not None and not isinstance(folder, str | os.PathLike):
        raise UsageError(f"folder={folder!r} is no folder.")
    at = None if folder is None else os.path.abspath(os.fspath(folder))
    return MemoryTier(save, keep if keep is not None else keep_policies.last(1), at)


def far(
    location: Location | Store,
    save: SavePolicy | None = None,
    keep: KeepPolicy | None = None,
    bandwidth: str | int | None = None,
    name: str = "far",
    wait_s: float = 60.0,
) -> FarTier:
    """Return a tier in another store, to which checkpoints are copied in the background.

    What the tier asks for is saved at home, and copied from there by the process that writes, while
    training goes on. Where the copying is behind, the newest goes first. What is there is not sent
    again, after a crash neither; trouble with the store is told and never stops training.

    Args:
        location: A folder, a bucket or a ``Store``, made if it is not there.
        save: Which checkpoints go there, every(hours=1) say. None: all that are saved at home.
            What ``save()`` saves goes there too, and what is saved as training is left.
        keep: What stays there; the newest and tagged ones always do. None: all.
        bandwidth: What may be sent per second, ``"100MB/s"`` or bytes. None: as much as goes.
        name: What the tier is called, where there are several.
        wait_s: How long ``close`` waits at the end of training for what is still to be copied. The
            copying goes on after that, for as long as the machine lets it.

    Raises:
        UsageError: An argument is not possible.
    """
    _check(save, keep)
    if check_tag(name) in (HOME, MEMORY):
        raise UsageError(f"name={name!r} is what another tier is called.")
    if isinstance(wait_s, bool) or not isinstance(wait_s, int | float) or not wait_s >= 0:
        raise UsageError(f"wait_s={wait_s!r} is no number of seconds.")
    if math.isinf(wait_s):
        raise UsageError("wait_s= is finite: a store that never answers is not waited for.")
    limit = None if bandwidth is None else parse_bandwidth(bandwidth)
    return FarTier(Store(location).place, name, save, keep, limit, float(wait_s))


def forget(location: Location | Store, folder: str | os.PathLike[str] | None = None) -> int:
    """Give the memory back in which checkpoints of a store are kept; return how many bytes.

    What was saved nowhere else is gone. A run that is over has no use for it any more.

    Args:
        location: The store.
        folder: As for ``memory``.

    Raises:
        NotFound: There is no such store.
        RunBusy: A run of it is being written.
    """
    at = None if folder is None else os.path.abspath(os.fspath(folder))
    return forget_memory(Store(location).place.open(), at)


def _check(save: object, keep: object) -> None:
    if save is not None and not isinstance(save, SavePolicy):
        raise UsageError(f"save= takes a policy such as every(steps=20), not {save!r}.")
    if keep is not None and not isinstance(keep, KeepPolicy):
        raise UsageError(f"keep= takes a policy such as keep.last(3), not {keep!r}.")
