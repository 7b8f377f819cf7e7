"""PyTorch's distributed checkpoints: archives, and ``.metadata`` that says what is where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from holdfast.convert.contract import FilePlan, Imported, Piece
from holdfast.convert.dcp.metadata import metadata_of
from holdfast.convert.dcp.names import items_of
from holdfast.convert.nesting import nest
from holdfast.convert.pickled_files import begins_with, read_pickled
from holdfast.convert.selection import Selection
from holdfast.convert.torch_archive import plan_archive
from holdfast.convert.zip_plan import ZipPlan
from holdfast.foreign import Unknown
from holdfast.foreign.dcp import METADATA

_FILE = "__0_0.distcp"


@final
class DistributedCheckpoint:
    """The format ``dcp``."""

    name = "dcp"
    holds_values = True
    options: Sequence[str] = ()
    members: Sequence[str] = ("*.distcp", ".metadata")
    keeps_tree = True

    def recognises(self, path: Path) -> bool:
        metadata = path / METADATA if path.is_dir() else path
        return metadata.name == METADATA and begins_with(metadata, 1) == b"\x80"

    def read(self, path: Path) -> Imported:
        return read_pickled(path)

    def read_unknown(self, path: Path, unknown: Unknown) -> Imported:
        return read_pickled(path, unknown)

    def plan(self, selection: Selection, options: Mapping[str, object]) -> Sequence[FilePlan]:
        nested = nest(selection)
        root = nested.value if isinstance(nested.value, dict) else {"value": nested.value}
        items = items_of(root, nested.notes, selection.ref)
        rows = selection.part.arrays
        plans: list[ZipPlan] = []
        end = 0
        for item in items:
            plans.append(plan_archive(item.value, rows, end))
            end = plans[-1].base + plans[-1].nbytes
        metadata = metadata_of(items, plans, rows, _FILE)
        arrays = [placement for plan in plans for placement in plan.arrays]
        data = FilePlan(_FILE, end, (), arrays, "crc32", _Pieces(plans), tuple(nested.notes))
        return [data, FilePlan(METADATA, len(metadata), [(0, metadata)], ())]


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Everything but the arrays of archives behind one another."""

    plans: Sequence[ZipPlan]

    def __call__(self, sums: Sequence[int]) -> Iterable[Piece]:
        at = 0
        for plan in self.plans:
            yield from plan.pieces(sums[at : at + len(plan.arrays)])
            at += len(plan.arrays)
