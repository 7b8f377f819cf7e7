"""What Orbax's users write, read as ours: ``CheckpointManagerOptions`` and ``args``.

Nothing of Orbax is imported: its options are looked at by the names of their fields.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.errors import UsageError
from holdfast.policy.checks import checked_mode
from holdfast.policy.keep import keep
from holdfast.policy.keep_policy import KeepPolicy

# The metric that holds what ``best_fn`` makes of the others.
BEST_FN = "best_fn"
# They decide by rules of their own, which a store cannot be told.
_REFUSED = {
    "preservation_policy": "max_to_keep, keep_period, keep_time_interval, best_fn; or keep=",
    "save_decision_policy": "save_interval_steps, save_on_steps, should_save_fn",
}


@dataclass(frozen=True, slots=True)
class OrbaxOptions:
    """When to save and what to keep, as ``CheckpointManagerOptions`` say it.

    Attributes:
        interval: Steps that are multiples of it are saved.
        steps: Steps that are saved besides.
        decides: Asked instead of both: step, newest step.
        keep: What stays; None is everything.
        best_fn: Makes one number of the metrics, by which the best is found.
        best_mode: Which value of it is best.
        read_only: Nothing is saved.
    """

    interval: int
    steps: Container[int]
    decides: Callable[[int, int | None], bool] | None
    keep: KeepPolicy | None
    best_fn: Callable[[Any], float] | None
    best_mode: Literal["min", "max"]
    read_only: bool


def read_options(options: Any) -> OrbaxOptions:
    """Return what ``CheckpointManagerOptions`` say; what is about files means nothing here.

    Raises:
        UsageError: They say what a store cannot do.
    """
    for name, instead in _REFUSED.items():
        if getattr(options, name, None) is not None:
            raise UsageError(f"{name} is Orbax's own; give {instead} instead. Nothing was saved.")
    best_fn = getattr(options, "best_fn", None)
    mode = checked_mode(getattr(options, "best_mode", "max"))
    return OrbaxOptions(
        # 0 where nothing may be saved.
        interval=max(getattr(options, "save_interval_steps", 1), 1),
        steps=getattr(options, "save_on_steps", None) or (),
        decides=getattr(options, "should_save_fn", None),
        keep=_kept(options, BEST_FN if best_fn is not None else None, mode),
        best_fn=best_fn,
        best_mode=mode,
        read_only=bool(getattr(options, "read_only", False)),
    )


def _kept(options: Any, metric: str | None, mode: Literal["min", "max"]) -> KeepPolicy | None:
    last = getattr(options, "max_to_keep", None)
    if last is None:
        return None
    # As Orbax has it: with best_fn so many of the best stay, not of the newest.
    if metric is None:
        policy: KeepPolicy = keep.last(max(last, 1))
    else:
        policy = keep.best(metric, n=max(last, 1), mode=mode)
    if (period := getattr(options, "keep_period", None)) is not None:
        policy = policy | keep.every(steps=period)
    if (span := getattr(options, "keep_time_interval", None)) is not None:
        policy = policy | keep.every(hours=span.total_seconds() / 3600)
    return policy


def item_of(args: Any) -> Any:
    """Return the pytree that ``args`` wrap; of ``Composite`` a dict of those that it has.

    >>> from types import SimpleNamespace
    >>> item_of(SimpleNamespace(item=[1]))
    [1]
    """
    if is_composite(args):
        return {name: item_of(value) for name, value in args.items()}
    return getattr(args, "item", args)


def is_composite(args: Any) -> bool:
    """Say whether ``args`` are several items by name."""
    return type(args).__name__.startswith("Composite")
