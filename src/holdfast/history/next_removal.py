"""What a retention removes next: at the save that is still to come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from holdfast.history.info import CheckpointInfo
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.policy.retention import plan_retention


def next_removed(
    checkpoints: Sequence[CheckpointInfo], policy: KeepPolicy
) -> list[tuple[CheckpointInfo, str]]:
    """Return what goes once one more checkpoint is there, and why.

    That one is taken to come as many steps and as long after the newest as lay between the newest
    two, and to be the best of nothing. A budget is left out: it goes by what the next one takes.

    Args:
        checkpoints: Those of a run, in any order; those that are not trusted are left alone.
        policy: What the run keeps.
    """
    ordered = sorted(checkpoints, key=lambda info: info.seq)
    ordered = [info for info in ordered if info.trust is None or info.trust.trusted]
    if not ordered:
        return []
    return list(plan_retention([*ordered, _next(ordered)], policy).removed)


def _next(ordered: Sequence[CheckpointInfo]) -> CheckpointInfo:
    newest, before = ordered[-1], ordered[-2] if len(ordered) > 1 else ordered[-1]
    later = newest.created - before.created
    epochs = None if newest.epoch is None else newest.epoch - (before.epoch or 0.0)
    return replace(
        newest,
        id="",
        seq=newest.seq + 1,
        step=newest.step + max(newest.step - before.step, 1),
        created=newest.created + max(later, later * 0),
        epoch=None if newest.epoch is None or epochs is None else newest.epoch + max(epochs, 0.0),
        metrics={},
        tags=(),
    )
