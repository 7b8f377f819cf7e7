"""The journal of a run: one JSON object per line for every event, appended, never rewritten.

It is for people and reports; no checkpoint depends on it. A line torn by a crash is passed over.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from holdfast.errors import ChunkMissing, HoldfastError, SealBroken
from holdfast.format.names import RunKeys
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")


def record(store: ObjectStore, run: str, event: str, /, **facts: object) -> None:
    """Append an event; trouble with it is logged, never raised.

    It is of this moment, by the wall clock (``time_ns``) and by the one that cannot be set
    (``mono_s``), unless the facts say of which.
    """
    now = {"event": event, "time_ns": time.time_ns(), "mono_s": time.monotonic()}
    line = json.dumps({**now, **facts}, separators=(",", ":"))
    try:
        # The newline first ends a line that a crash has torn.
        store.append(RunKeys(run).events, b"\n" + line.encode() + b"\n")
    except HoldfastError as error:
        _log.warning("An event of run %r is lost: %s", run, error)


def events(store: ObjectStore, run: str) -> list[dict[str, Any]]:
    """Return the events of a run, oldest first."""
    try:
        data = store.get(RunKeys(run).events)
    except (ChunkMissing, SealBroken):
        return []
    found = []
    for line in data.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            found.append(event)
    return found
