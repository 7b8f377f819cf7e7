"""What one process does for the tests of JAX over several: ``FOLDER ACTION…``, in that order.

``save`` saves every layout; ``restore`` restores what is in the folder into each; ``torch``
restores what ranks of torch have saved; ``late`` waits in vain for the others.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jax_states import LAYOUTS, begin, check, lies, mesh_of, placed

import holdfast
from holdfast import Checkpointer
from holdfast.distributed import jax_group
from holdfast.engine.restore import Wanted, restore_checkpoint
from holdfast.history.refs import resolve
from holdfast.records.opening import open_store

SEED, OTHER = 3, 8


def save(folder: Path) -> None:
    store, rank = folder / f"n-{jax.process_count()}", jax.process_index()
    state = {layout: placed(layout, SEED) for layout in LAYOUTS} | {"own": rank}
    with Checkpointer(store, state, run="r", per_rank="own") as ckpt:
        assert ckpt.restore() is None
        ckpt.save(1).wait()
        ckpt.save(2, tag="final").wait()
    print("saved", store.name, flush=True)


def restore(folder: Path) -> None:
    world_size, rank = jax.process_count(), jax.process_index()
    for store in sorted(folder.glob("n-*")):
        n_saved = int(store.name.partition("-")[2])
        for turn in (0, 1):
            # Each into its own layout by the front door; then into the other, which is described.
            into = dict(zip(LAYOUTS, list(LAYOUTS)[:: -1 if turn else 1], strict=True))
            before = {name: placed(layout, OTHER) for name, layout in into.items()}
            state: dict[str, Any] = {
                name: _described(tree) if turn else dict(tree) for name, tree in before.items()
            }
            state["own"] = rank
            by_itself = turn or n_saved not in (1, world_size)
            (_by_itself if by_itself else _by_checkpointer)(store, state)
            # What one process saved is everybody's; of several each has its own, or what it had.
            assert state["own"] == (0 if n_saved == 1 else rank), store.name
            for name in into:
                check(state[name], SEED)
                assert lies(state[name]) == lies(before[name]), (store.name, name)
            print("restored", store.name, *into.values(), flush=True)


def _described(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state whose parameters are not there, but to be."""
    params = {
        name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
        for name, x in state["params"].items()
    }
    return state | {"params": params}


def _by_checkpointer(store: Path, state: dict[str, Any]) -> None:
    with Checkpointer(store, state, run="r", per_rank="own") as ckpt:
        restored = ckpt.restore("final")
        assert restored is not None and restored.step == 2


def _by_itself(store: Path, state: dict[str, Any]) -> None:
    # A process for each of many restores would take most of the time.
    place = open_store(store, create=False)
    wanted = Wanted(state, whole=True, rng=True, rank=jax.process_index())
    assert restore_checkpoint(place, resolve(place, "r@final"), wanted).record.step == 2


def from_torch(folder: Path) -> None:
    """Restore the weights that ranks of torch have saved into a mesh of JAX."""
    mesh = mesh_of("2d")
    for store in sorted(told.with_suffix("") for told in folder.glob("*-[23].json")):
        saved = holdfast.load(store, "r@final", only="model/**")["model"]
        wanted = {"up.weight": P("x", "y"), "down.weight": P("y"), "up.bias": P("y")}
        model: dict[str, Any] = {
            name: jax.ShapeDtypeStruct(
                saved[name].shape, np.float32, sharding=NamedSharding(mesh, spec)
            )
            for name, spec in wanted.items()
        }
        only = [f"model/{name}" for name in wanted]
        holdfast.load(store, "r@final", into={"model": model}, only=only)
        for name in wanted:
            whole = saved[name].numpy()
            assert not model[name].is_fully_addressable
            for shard in model[name].addressable_shards:
                assert np.array_equal(shard.data, whole[shard.index]), name
        print("from torch", store.name, flush=True)


def late(folder: Path) -> None:
    """Make a Checkpointer on one process alone."""
    jax_group.PATIENCE_S = 2.0
    if jax.process_index() == 0:
        try:
            Checkpointer(folder, {"w": 1}, run="late")
        except holdfast.errors.EnvironmentTrouble as error:
            print("refused", error.message, flush=True)
    with Checkpointer(folder / "alone", {"w": 1}, run=str(jax.process_index()), ranks=None) as ckpt:
        ckpt.save(1).wait()
    # Whoever leaves is not waited for any more, but missed at once.
    while not {"0", "1"} <= set(holdfast.Store(folder / "alone").runs()):
        time.sleep(0.05)
    print("alone", flush=True)
    # The thread that waits for the others cannot be ended; an interpreter that ends trips over it.
    os._exit(0)


if __name__ == "__main__":
    begin()
    actions = {"save": save, "restore": restore, "torch": from_torch, "late": late}
    for action in sys.argv[2:]:
        actions[action](Path(sys.argv[1]))
