"""Hosts begin a run together: each starts its keeper, and all agree on what there is.

All of it goes through the group of the ranks, which talk when they begin; after that they do not.
"""

from __future__ import annotations

import logging
import os
import secrets
from typing import Any, final

from holdfast.distributed.hosts import Peers
from holdfast.distributed.ranks import Ranks
from holdfast.engine.peers.agreeing import agree, fill_up, from_message, held_by, to_message
from holdfast.engine.peers.launching import KeeperProcess
from holdfast.engine.peers.meeting import Met, meet, together
from holdfast.engine.peers.peer import Peer
from holdfast.engine.peers.peered_store import PeeredStore, reopened
from holdfast.engine.run_writer import RunWriter
from holdfast.errors import UsageError
from holdfast.security.authenticity import NOBODY, Authenticity
from holdfast.store import recipe as recipes
from holdfast.store.contract import ObjectStore
from holdfast.store.local import LocalStore
from holdfast.store.recipe import recipe_of

_log = logging.getLogger("holdfast")


@final
class PeeredRun:
    """What this process has of a run whose hosts hold copies for one another.

    Attributes:
        store: The host's own store, and those of the others.
    """

    def __init__(self, store: PeeredStore, keeper: KeeperProcess | None) -> None:
        self.store = store
        self._keeper = keeper

    def close(self) -> None:
        """Let the keeper go once nobody needs it."""
        self.store.hang_up()
        if self._keeper is not None:
            self._keeper.close()


def begin(
    local: ObjectStore,
    run: str,
    peers: Peers,
    ranks: Ranks | None,
    authenticity: Authenticity = NOBODY,
) -> PeeredRun | None:
    """Begin a run on several hosts; every rank must.

    One that trains alone, since it alone is left, goes on with what its host has: None.

    Args:
        local: The store of this host.
        run: The run.
        peers: What was asked for.
        ranks: Those that train together.
        authenticity: Who signs, and who is believed.

    Raises:
        UsageError: It cannot be so.
        RunBusy: The run is being written on one of the hosts.
        PeersUnavailable: A host could not begin, or does not answer.
    """
    if ranks is None:
        _log.warning(
            "This process trains alone, so that peers= makes no copies: what is saved is lost with "
            "this machine's disk. Ranks that train together need torch.distributed, initialized."
        )
        return None
    if not isinstance(local, LocalStore):
        raise UsageError(
            f"peers= takes a folder on a disk of each host's own, not encrypted: copies at other "
            f"hosts of what is in {local.location!r} are not possible. Nothing was saved."
        )
    met = meet(ranks.group, local.location, peers)
    _tell_of_fewer(met, ranks)
    secret = ranks.group.broadcast(secrets.token_hex(32))
    keeper = together(ranks.group, lambda: _keeper(local, run, met, ranks, secret))
    peered = PeeredRun(_store(local, run, met, ranks, secret), keeper)
    try:
        _agree(peered.store, run, met, ranks)
        _settle(peered.store, run, met, ranks, secret, authenticity)
    except BaseException:
        peered.close()
        raise
    peered.store.hang_up()
    return peered


def _tell_of_fewer(met: Met, ranks: Ranks) -> None:
    there = len(met.hosts.with_copies)
    if there < met.hosts.copies and not ranks.rank:
        _log.warning(
            "%d host(s) only: there will be %d copies on other hosts, not %d.%s",
            len(met.hosts.names),
            there,
            met.hosts.copies,
            "" if there else " What is saved is lost with this machine's disk.",
        )


def _keeper(
    local: LocalStore, run: str, met: Met, ranks: Ranks, secret: str
) -> KeeperProcess | None:
    """Start the keeper of this host, on its first rank; return it once it answers."""
    if met.listening is None:
        return None
    told = {
        "store": recipes.to_message(recipe_of(local)),
        "run": run,
        "secret": secret,
        "incarnation": ranks.incarnation,
        "owner_pid": os.getpid(),
        "has_rank_0": not ranks.rank,
        "patience_s": ranks.patience_s,
    }
    return KeeperProcess(met.listening, told)


def _store(local: LocalStore, run: str, met: Met, ranks: Ranks, secret: str) -> PeeredStore:
    hosts = met.hosts
    return reopened(
        recipes.to_message(recipe_of(local)),
        run,
        hosts.with_copies,
        hosts.of_rank[0],
        {name: met.addresses[name] for name in hosts.others},
        secret,
        ranks.patience_s,
    )


def _agree(store: PeeredStore, run: str, met: Met, ranks: Ranks) -> None:
    """Let every host have the records that any of them has."""
    hosts, group = met.hosts, ranks.group

    def look() -> dict[str, Any] | None:
        return to_message(held_by(store, run)) if hosts.is_leader else None

    said = group.gather(together(group, look))
    held = {name: from_message(said[hosts.leader(name)]) for name in hosts.names}

    def fill() -> None:
        if hosts.is_leader:
            fill_up(store, run, held[hosts.home], agree(held))

    together(group, fill)


def _settle(
    store: PeeredStore, run: str, met: Met, ranks: Ranks, secret: str, authenticity: Authenticity
) -> None:
    """Commit what only lacks that, and have nothing left of what dead writers have not finished."""
    hosts, group = met.hosts, ranks.group

    def complete() -> None:
        if ranks.rank == 0:
            writer = RunWriter(store, run, authenticity=authenticity, incarnation=ranks.incarnation)
            writer.open(os.getpid())
            writer.close()

    def clear() -> None:
        if hosts.is_leader and ranks.rank:
            at = met.addresses[hosts.home]
            home = Peer(hosts.home, at, bytes.fromhex(secret), ranks.patience_s)
            home.clear()
            home.hang_up()

    together(group, complete)
    together(group, clear)
