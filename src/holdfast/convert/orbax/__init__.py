"""Orbax checkpoints, as ``StandardSave`` writes them: read by TensorStore, written without it.

What is exported is a folder that ``StandardCheckpointer().restore`` takes; what is imported may
have several items, or one that is called ``default``. See https://orbax.readthedocs.io.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from holdfast.convert.contract import FilePlan, Imported
from holdfast.convert.orbax.metadata import FILE
from holdfast.convert.orbax.ocdbt import MANIFEST
from holdfast.convert.orbax.reading import ItemReader
from holdfast.convert.orbax.writing import CHECKPOINT_FILE, is_holdable, plan_checkpoint
from holdfast.convert.selection import Selection
from holdfast.errors import CannotConvert, ForeignDamaged

log = logging.getLogger("holdfast")

_UNFINISHED = ".orbax-checkpoint-tmp"
# What Orbax calls the item of a checkpoint that has one.
_ONLY_ITEMS = ("default", "pytree")


@final
class Orbax:
    """The format ``orbax``."""

    name = "orbax"
    holds_values = True
    options: Sequence[str] = ()
    members: Sequence[str] = ("d", "manifest.ocdbt", "_METADATA", "_CHECKPOINT_METADATA")

    def holds(self, value: object) -> bool:
        return is_holdable(value)

    def recognises(self, path: Path) -> bool:
        if not path.is_dir():
            return False
        if _is_item(path) or (path / CHECKPOINT_FILE).is_file() or _items(path):
            return True
        # A folder with steps is none, but it is told what to give in its place.
        return any((child / CHECKPOINT_FILE).is_file() for child in path.iterdir())

    def read(self, path: Path) -> Imported:
        if _UNFINISHED in path.name:
            raise ForeignDamaged(
                f"{str(path)!r} is a checkpoint that Orbax did not finish. Nothing was saved.",
                path=str(path),
            )
        if not path.is_dir():
            raise ForeignDamaged(f"{str(path)!r} is no folder. Nothing was saved.", path=str(path))
        if _is_item(path):
            item = ItemReader(path)
            return Imported(item.read(), notes=item.notes)
        return _read_items(path)

    def plan(self, selection: Selection, options: Mapping[str, object]) -> Sequence[FilePlan]:
        return plan_checkpoint(selection)


def _is_item(path: Path) -> bool:
    return (path / FILE).is_file() or (path / MANIFEST).is_file()


def _items(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir() and _is_item(child))


def _read_items(path: Path) -> Imported:
    items = _items(path)
    if not items:
        raise ForeignDamaged(
            f"{str(path)!r} has no tree of arrays in it. Nothing was saved. Of a folder with "
            "steps, give one of them.",
            path=str(path),
        )
    if any(item.name.isdigit() for item in items):
        raise CannotConvert(
            f"{str(path)!r} has several checkpoints. Nothing was read. Give one of them: "
            f"{', '.join(item.name for item in items)}.",
            path=str(path),
        )
    for other in sorted(path.iterdir()):
        if other.is_dir() and other not in items:
            log.warning("%s: the item %s is no tree of arrays; it is left out", path, other.name)
    readers = {item.name: ItemReader(item) for item in items}
    trees: dict[str, Any] = {name: reader.read() for name, reader in readers.items()}
    notes = [note for reader in readers.values() for note in reader.notes]
    is_alone = len(items) == 1 and items[0].name in _ONLY_ITEMS
    return Imported(trees[items[0].name] if is_alone else trees, notes=notes)
