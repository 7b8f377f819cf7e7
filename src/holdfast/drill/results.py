"""What a run of the script has left behind, read from its folder."""

from __future__ import annotations

from holdfast.drill.checkpoint_files import Found, find
from holdfast.drill.file_reading import of_file
from holdfast.drill.leaves import Saved, placed
from holdfast.drill.record import Life, Record
from holdfast.drill.series import of_files, of_lines, of_stores
from holdfast.drill.store_reading import OpenStore, in_store
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
    return Record(lives, {one.key: one for one in saved}, {one.key: one for one in series})


def read_all(folder: RunFolder, found: Found, open_store: OpenStore) -> tuple[Saved, ...]:
    """Read everything that was found: of each run in a store its newest checkpoint and its tags."""
    places = {str(folder.root): "{run}", str(folder.root.resolve()): "{run}"}
    saved: list[Saved] = []
    for store in found.stores:
        saved += in_store(folder.root / store, store, open_store, places)
    newest = max((seen.changed_ns for seen in found.files.values()), default=0)
    latest: dict[str, str] = {}
    for name in sorted(found.files, key=lambda name: found.files[name].changed_ns):
        latest[placed(name, {})] = name
    for key, name in latest.items():
        is_newest = found.files[name].changed_ns == newest
        saved.append(of_file(folder.root / name, key, places, is_newest))
    return tuple(saved)
