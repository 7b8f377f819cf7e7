"""Several hosts in one process: stores in folders, and keepers that answer on this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from holdfast.distributed.hosts import Hosts
from holdfast.engine.peers.keeper import Keeper, Sweeper
from holdfast.engine.peers.peered_store import PeeredStore, reopened
from holdfast.engine.peers.serving import Serving
from holdfast.history.sweep import sweep
from holdfast.records.opening import open_store
from holdfast.store import recipe as recipes
from holdfast.store.recipe import recipe_of

SECRET = "5e" * 32
RUN = "r"


@contextmanager
def neighbours(
    folder: Path, names: Sequence[str], copies: int = 1, run: str = RUN
) -> Iterator[dict[str, PeeredStore]]:
    """Give the store of each host, as its only rank has it."""
    with ExitStack() as ends:
        addresses = {name: keeper_at(folder / name, ends, run) for name in names}
        found = {}
        for rank, name in enumerate(names):
            hosts = Hosts(tuple(names), rank, copies)
            found[name] = reopened(
                recipes.to_message(recipe_of(open_store(folder / name, create=False))),
                run,
                hosts.with_copies,
                names[0],
                {other: addresses[other] for other in hosts.others},
                SECRET,
                10.0,
            )
            ends.callback(found[name].hang_up)
        yield found


def keeper_at(folder: Path, ends: ExitStack, run: str = RUN) -> tuple[str, int]:
    """Start the keeper of a host; return where it answers."""
    store = open_store(folder, create=True)
    listening = ends.enter_context(socket.create_server(("127.0.0.1", 0)))
    sweeper = Sweeper(lambda: sweep(store, run))
    serving = Serving(store, run, "", sweeper.want)
    Keeper(listening, bytes.fromhex(SECRET), serving, 10.0).begin()
    return ("127.0.0.1", int(listening.getsockname()[1]))
