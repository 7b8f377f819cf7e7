"""What a run of the script has left behind, read from its folder."""

from __future__ import annotations

from holdfast.drill.checkpoint_files import OpenStore, find, read_all
from holdfast.drill.record import Life, Record
from holdfast.drill.series import of_files, of_lines, of_stores
from holdfast.drill.work_folder import RunFolder


def record_of(folder: RunFolder, lives: tuple[Life, ...], open_store: OpenStore) -> Record:
    """Read the checkpoints and metrics of a run.

    Args:
        folder: Where it happened.
        lives: How it went.
        open_store: Opens a store that is found there.
    """
    found = find(folder)
    series = [
        *of_stores(folder, found.stores, open_store),
        *of_files(folder, found.stores),
        *of_lines(lives[-1].lines),
    ]
    saved = read_all(folder, found, open_store)
    return Record(
        lives,
        {one.key: one for one in saved},
        {f"{one.source}: {one.name}": one for one in series},
    )
