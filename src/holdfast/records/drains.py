"""What is still to be copied to a farther store: which checkpoint, for which tier.

It is noted before the checkpoint is committed, and taken away once the copy is: a process that
dies in between is no reason to forget it. Retention spares what is noted here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.errors import ChunkMissing, SealBroken
from holdfast.format.digests import digest
from holdfast.format.names import RunKeys, is_id
from holdfast.store.contract import ObjectStore


@dataclass(frozen=True, slots=True)
class Drain:
    """A checkpoint that a tier has still to get."""

    tier: str
    checkpoint_id: str


def note(store: ObjectStore, run: str, drain: Drain) -> None:
    """Write down that a tier shall get a checkpoint."""
    said = {"tier": drain.tier, "id": drain.checkpoint_id}
    store.put(_key(run, drain), json.dumps(said).encode())


def forget(store: ObjectStore, run: str, gone: Sequence[Drain]) -> None:
    """Take away what was noted: it is there, or shall not go any more."""
    if gone:
        store.delete([_key(run, drain) for drain in gone])


def noted(store: ObjectStore, run: str) -> list[Drain]:
    """Return what is to be copied; what cannot be read is passed over."""
    found = []
    for info in store.list(RunKeys(run).drains):
        try:
            said = json.loads(store.get(info.key))
            drain = Drain(str(said["tier"]), str(said["id"]))
        except (ChunkMissing, SealBroken, ValueError, KeyError, TypeError, RecursionError):
            continue
        if is_id(drain.checkpoint_id):
            found.append(drain)
    return found


def _key(run: str, drain: Drain) -> str:
    # The name of a tier is the user's, and no path.
    return RunKeys(run).drain(drain.checkpoint_id, digest(drain.tier.encode()).hex()[:16])
