"""Whether checkpoints have what a retention policy goes by."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.errors import UsageError
from holdfast.history.info import CheckpointInfo
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.policy.retention import measures_of


def require_measured(run: str, checkpoints: Sequence[CheckpointInfo], policy: KeepPolicy) -> None:
    """Refuse a policy that ranks by what no checkpoint has: it is misspelt, most likely.

    Raises:
        UsageError: No checkpoint has a metric, or any epoch, that the policy goes by.
    """
    if not checkpoints:
        return
    there = {name for info in checkpoints for name in info.metrics}
    metrics, goes_by_epochs = measures_of(policy)
    for metric in metrics:
        if metric not in there:
            raise UsageError(
                f"No checkpoint of run {run!r} has the metric {metric!r}, so that none can be told "
                "from the best; nothing was removed. Metrics there: "
                f"{', '.join(sorted(there)) or 'none'}.",
                run=run,
                metric=metric,
            )
    if goes_by_epochs and all(info.epoch is None for info in checkpoints):
        raise UsageError(
            f"No checkpoint of run {run!r} knows its epoch, so that none can be chosen by it; "
            "nothing was removed. Tell epochs with ckpt.step(step, epoch=…), or keep by steps.",
            run=run,
        )
