"""Pins: saves under way tell what must not be swept, without a lock.

A save first puts its pin, then looks whether its parent is still listed. Who removes first
unlists, then looks at the pins. Whichever order the two come in, one sees the other: either the
save finds its parent gone and does not build on it, or the sweep finds the pin and spares what
the parent had.

Who begins to write a run takes the pins away that are there, since their writers must be dead,
and then looks at the commits. A writer that was not dead looks for its pin after its commit:
either the pin is still there, and whoever takes it away sees the commit, or it takes the commit
back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.errors import ChunkMissing, SealBroken
from holdfast.format.names import RunKeys, last_component
from holdfast.records.visible import wait_until_seen
from holdfast.store.contract import ObjectStore


@dataclass(frozen=True, slots=True)
class Pin:
    """A save under way.

    Attributes:
        checkpoint_id: Its id.
        base_parts: The keys of the manifests that it builds on.
        rank: Which of the processes that save it together has put the pin.
        incarnation: Whose they are; empty where there is but one.
        draft: Of rank 0, what its commit will say (engine.drafts).
        packs: The keys of packs of this run that it may refer to, whoever else names them.
    """

    checkpoint_id: str
    base_parts: tuple[str, ...]
    rank: int = 0
    incarnation: str = ""
    draft: Mapping[str, Any] | None = None
    packs: tuple[str, ...] = ()


def put_pin(store: ObjectStore, run: str, pin: Pin) -> None:
    """Announce a save; all see it when this returns."""
    said: dict[str, object] = {"id": pin.checkpoint_id, "base_parts": list(pin.base_parts)}
    if pin.incarnation:
        said["incarnation"] = pin.incarnation
    if pin.draft is not None:
        said["draft"] = pin.draft
    if pin.packs:
        said["packs"] = list(pin.packs)
    data = json.dumps(said).encode()
    # A pin need not outlive its writer, so no power cut either.
    key = RunKeys(run).pin(pin.checkpoint_id, pin.rank)
    store.put_hint(key, data)
    wait_until_seen(store, key)


def is_pinned(store: ObjectStore, run: str, checkpoint_id: str) -> bool:
    """Say whether the pin of a save is still there."""
    return store.exists(RunKeys(run).pin(checkpoint_id))


def delete_pin(store: ObjectStore, run: str, checkpoint_id: str, rank: int = 0) -> None:
    """Take back what was announced."""
    store.delete_hint(RunKeys(run).pin(checkpoint_id, rank))


def all_pins(store: ObjectStore, run: str) -> list[Pin]:
    """Return the pins of a run. A torn one still pins its own save."""
    pins = []
    for info in store.list(RunKeys(run).pins):
        checkpoint_id, _, number = last_component(info.key).partition("-")
        rank, incarnation = int(number) if number.isdecimal() else 0, ""
        draft: Mapping[str, Any] | None = None
        packs: tuple[str, ...] = ()
        try:
            payload = json.loads(store.get(info.key))
            base = tuple(str(key) for key in payload["base_parts"])
            incarnation = str(payload.get("incarnation", ""))
            said = payload.get("draft")
            draft = said if isinstance(said, dict) else None
            packs = tuple(str(key) for key in payload.get("packs", ()))
        except ChunkMissing:
            continue
        except (ValueError, KeyError, TypeError, AttributeError, SealBroken):
            base = packs = ()
        pins.append(Pin(checkpoint_id, base, rank, incarnation, draft, packs))
    return pins
