"""What there is to tell of a store's tiers, for who looks at the store; memory given back."""

from __future__ import annotations

import shutil
from contextlib import ExitStack

from holdfast.engine.tiers.memory_folder import find_memory
from holdfast.engine.writer_lock import without_writers
from holdfast.format.names import RUNS_PREFIX, run_of_component
from holdfast.records import commits, drains
from holdfast.store.contract import ObjectStore
from holdfast.store.local import LocalStore
from holdfast.store.os_errors import translated


def tier_facts(store: ObjectStore) -> dict[str, object]:
    """Return where the store's memory tier is, what it takes, and what is still to be copied.

    Nothing is told of what there is not.
    """
    facts: dict[str, object] = {}
    folder = find_memory(store)
    if folder is not None:
        facts["in_memory"] = folder
        facts["in_memory_bytes"] = sum(info.size for info in LocalStore(folder).list(""))
    waiting = sum(len(drains.noted(store, run)) for run in commits.runs(store))
    if waiting:
        facts["to_be_copied"] = waiting
    return facts


def forget_memory(store: ObjectStore, base: str | None) -> int:
    """Remove the memory tier of a store; return the bytes that this gave back.

    Args:
        store: The store.
        base: The folder in memory; None: where this system has it.

    Raises:
        RunBusy: A run of it is being written.
    """
    folder = find_memory(store, base)
    if folder is None:
        return 0
    memory = LocalStore(folder)
    with ExitStack() as held:
        # By the names of folders: of an encrypted store they tell nothing, and need not.
        for name in memory.folders(RUNS_PREFIX):
            held.enter_context(without_writers(memory, run_of_component(name)))
        nbytes = sum(info.size for info in memory.list(""))
        with translated("remove", folder):
            shutil.rmtree(folder)
    return nbytes
