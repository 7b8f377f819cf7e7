"""The store that a run is saved to, where hosts may hold copies for one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from holdfast.distributed.hosts import Peers
from holdfast.distributed.ranks import Ranks
from holdfast.errors import UsageError
from holdfast.security.authenticity import Authenticity
from holdfast.store.contract import ObjectStore


def with_peers(
    local: ObjectStore,
    run: str,
    peers: Peers | None,
    ranks: Ranks | None,
    authenticity: Authenticity,
    tiers: Sequence[object] = (),
) -> tuple[ObjectStore, Callable[[], None]]:
    """Return the store that a run is saved to, and what is to be called at its end.

    Args:
        local: The one that was given.
        run: The run.
        peers: How hosts hold copies for one another; None: there is but the one store.
        ranks: Those that train together.
        authenticity: Who signs, and who is believed.
        tiers: Where the run shall be kept besides.

    Raises:
        UsageError, RunBusy, PeersUnavailable: The hosts cannot begin the run together.
    """
    if peers is None:
        return local, lambda: None
    if not isinstance(peers, Peers):
        raise UsageError(f"peers= takes Peers(copies=1), say, not {peers!r}.")
    if tiers:
        raise UsageError(
            "peers= and tiers= do not go together yet: each host's store has only a part of a "
            "checkpoint that could be copied on. Leave one of them out. Nothing was saved."
        )
    # Who trains in one place does without what this imports.
    from holdfast.engine.peers import starting

    peered = starting.begin(local, run, peers, ranks, authenticity)
    return (peered.store, peered.close) if peered is not None else (local, lambda: None)
