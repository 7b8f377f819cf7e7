"""What the arguments of a ``Checkpointer`` may be."""

from __future__ import annotations

from holdfast.distributed.board import Posts
from holdfast.distributed.ranks import Ranks
from holdfast.errors import UsageError
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.policy.watch import WatchPolicy
from holdfast.policy.when import SavePolicy
from holdfast.state.flags import require_flags


def check_together(save: SavePolicy | None, zero_stall: bool, ranks: Ranks | None) -> None:
    """Refuse what several ranks cannot do together; None is a process that trains alone.

    Raises:
        UsageError: They are no ranks; or a policy goes by what only one of them sees, and too late
            to tell the others.
    """
    if ranks is None:
        return
    if not isinstance(ranks, Ranks):
        raise UsageError(f"ranks= takes 'auto', None or a Ranks, not {ranks!r}.")
    if save is not None and save.wants_exception:
        raise UsageError(
            "Several ranks save together, and on.exception() cannot: when one of them raises, the "
            "others are in the middle of the next step and wait for it there. Save more often "
            "instead, every(minutes=10) say."
        )
    if save is not None and not save.is_same_for_all and not isinstance(ranks.group, Posts):
        raise UsageError(
            f"These ranks have no place for notices ({type(ranks.group).__name__} has no post and "
            "peek): save= may go by steps and epochs only, every(steps=500) say. save() by hand "
            "works, where all ranks call it at the same step."
        )
    if zero_stall:
        raise UsageError("zero_stall=True is for a process that saves alone; ranks save together.")


def check_choices(
    save: object,
    keep: object,
    watch: object,
    on_error: str,
    backpressure: str,
    in_flight: int,
    nice: int,
    zero_stall: bool,
) -> None:
    """Refuse arguments that are not possible.

    Raises:
        UsageError: One is not; the message names it.
    """
    if save is not None and not isinstance(save, SavePolicy):
        raise UsageError(f"save= takes a policy such as every(steps=500), not {save!r}.")
    if keep is not None and not isinstance(keep, KeepPolicy):
        raise UsageError(f"keep= takes a policy such as keep.last(3), not {keep!r}.")
    if watch is not None and not isinstance(watch, WatchPolicy):
        raise UsageError(f"watch= takes a watch such as watch.divergence('loss'), not {watch!r}.")
    if on_error not in ("raise", "warn"):
        raise UsageError(f"on_error={on_error!r} is neither 'raise' nor 'warn'.")
    if backpressure not in ("wait", "skip"):
        raise UsageError(f"backpressure={backpressure!r} is neither 'wait' nor 'skip'.")
    if isinstance(in_flight, bool) or not isinstance(in_flight, int) or in_flight < 1:
        raise UsageError(f"in_flight={in_flight!r} is no number of snapshots.")
    if isinstance(nice, bool) or not isinstance(nice, int) or not 0 <= nice <= 19:
        raise UsageError(f"nice={nice!r} is no niceness: a whole number, 0 to 19.")
    require_flags(zero_stall=zero_stall)
