"""Several ranks begin a run, which rank 0 takes for all."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.distributed.ranks import Ranks
from holdfast.engine.handle import error_of_kind
from holdfast.errors import HoldfastError


def wait_for_rank_0(ranks: Ranks | None) -> None:
    """Wait until rank 0 holds the run, before this rank begins to write there.

    Rank 0 waits for nobody, nor does who is alone.

    Args:
        ranks: Those that begin; None: this process alone.

    Raises:
        HoldfastError: Rank 0 could not take the run.
    """
    if ranks is not None and ranks.rank:
        _after_rank_0(ranks, lambda: None)


def let_others_begin(ranks: Ranks | None, wait_ready: Callable[[], None]) -> None:
    """As rank 0, let those begin that wait for it; nobody waits for any other.

    Args:
        ranks: Those that begin; None: this process alone.
        wait_ready: Waits until this rank's persister holds the run.

    Raises:
        HoldfastError: This rank could not take the run; the others are told.
    """
    if ranks is not None and not ranks.rank:
        _after_rank_0(ranks, wait_ready)


def _after_rank_0(ranks: Ranks, wait_ready: Callable[[], None]) -> None:
    said = {"kind": "", "text": ""}
    if ranks.rank == 0:
        try:
            wait_ready()
        except HoldfastError as error:
            said = {"kind": error.kind, "text": error.message}
    said = ranks.group.broadcast(said)
    if said["kind"]:
        raise error_of_kind(said["kind"], said["text"], {})
