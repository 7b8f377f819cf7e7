"""Several ranks begin a run, which rank 0 takes for all."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.distributed.ranks import Ranks
from holdfast.engine.handle import error_of_kind
from holdfast.errors import HoldfastError


def after_rank_0(ranks: Ranks | None, wait_ready: Callable[[], None]) -> None:
    """Let rank 0 hold the run before any other rank begins to write there.

    Args:
        ranks: Those that begin; None: this process alone, which waits for nobody.
        wait_ready: Waits until this rank's persister holds the run; called by rank 0 only.

    Raises:
        HoldfastError: Rank 0 could not take the run, on every rank.
    """
    if ranks is None:
        return
    said = {"kind": "", "text": ""}
    if ranks.rank == 0:
        try:
            wait_ready()
        except HoldfastError as error:
            said = {"kind": error.kind, "text": error.message}
    said = ranks.group.broadcast(said)
    if said["kind"]:
        raise error_of_kind(said["kind"], said["text"], {})
