"""Several ranks begin a run, which rank 0 takes for all."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.distributed.ranks import Ranks
from holdfast.engine.handle import error_of_kind
from holdfast.engine.peers.peered_store import PeeredStore
from holdfast.errors import HoldfastError, UsageError
from holdfast.records.marker import store_id
from holdfast.store.contract import ObjectStore


def wait_for_rank_0(ranks: Ranks | None, store: ObjectStore, run: str) -> None:
    """Let no other rank begin to write a run before rank 0 holds it.

    Args:
        ranks: Those that begin; None: this process alone, which waits for nobody.
        store: Where this rank saves.
        run: The run that it saves.

    Raises:
        UsageError: Rank 0 saves another run, or somewhere else.
        HoldfastError: Rank 0 could not take the run.
    """
    if ranks is None or not ranks.rank:
        return
    said = ranks.group.broadcast(None)
    _raise_what_was_said(said)
    if said["run"] != run:
        what = f"Rank {ranks.rank} saves the run {run!r}, and rank 0 the run {said['run']!r}"
    elif said["store"] not in ("", _id_of(store)):
        what = f"Rank {ranks.rank} saves into another store than rank 0: into {store.location!r}"
    else:
        return
    raise UsageError(
        f"{what}. Ranks that train together save one run, all into the same place; one that saves "
        "by itself is told so: ranks=None. Nothing was saved.",
        rank=ranks.rank,
        run=run,
        location=store.location,
    )


def _id_of(store: ObjectStore) -> str:
    """Return what tells a store from others; of hosts with a folder each there is no such thing."""
    return "" if isinstance(store, PeeredStore) else store_id(store) or ""


def let_others_begin(
    ranks: Ranks | None, store: ObjectStore, run: str, wait_ready: Callable[[], None]
) -> None:
    """Tell the others whether rank 0 has taken the run; they wait for it.

    Args:
        ranks: Those that begin; None: this process alone.
        store: Where rank 0 saves.
        run: The run that it saves.
        wait_ready: Waits until this rank's persister holds the run; called by rank 0 only.

    Raises:
        HoldfastError: It could not take the run.
    """
    if ranks is None or ranks.rank:
        return
    said = {"kind": "", "text": "", "run": run, "store": ""}
    try:
        wait_ready()
        said["store"] = _id_of(store)
    except HoldfastError as error:
        said |= {"kind": error.kind, "text": error.message}
    _raise_what_was_said(ranks.group.broadcast(said))


def _raise_what_was_said(said: dict[str, str]) -> None:
    if said["kind"]:
        raise error_of_kind(said["kind"], said["text"], {})
