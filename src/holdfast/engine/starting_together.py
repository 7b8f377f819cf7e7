"""Several ranks begin a run, which rank 0 takes for all."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.distributed.ranks import Ranks
from holdfast.engine.handle import error_of_kind
from holdfast.errors import HoldfastError


def wait_for_rank_0(ranks: Ranks | None) -> None:
    """Let no other rank begin to write a run before rank 0 holds it.

    Args:
        ranks: Those that begin; None: this process alone, which waits for nobody.

    Raises:
        HoldfastError: Rank 0 could not take the run.
    """
    if ranks is not None and ranks.rank:
        _raise_what_was_said(ranks.group.broadcast(None))


def let_others_begin(ranks: Ranks | None, wait_ready: Callable[[], None]) -> None:
    """Tell the others whether rank 0 has taken the run; they wait for it.

    Args:
        ranks: Those that begin; None: this process alone.
        wait_ready: Waits until this rank's persister holds the run; called by rank 0 only.

    Raises:
        HoldfastError: It could not take the run.
    """
    if ranks is None or ranks.rank:
        return
    said = {"kind": "", "text": ""}
    try:
        wait_ready()
    except HoldfastError as error:
        said = {"kind": error.kind, "text": error.message}
    _raise_what_was_said(ranks.group.broadcast(said))


def _raise_what_was_said(said: dict[str, str]) -> None:
    if said["kind"]:
        raise error_of_kind(said["kind"], said["text"], {})
