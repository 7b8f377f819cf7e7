"""HDF5 as a plain tree, by h5py: groups, datasets, attributes.

Mappings are groups, arrays datasets, plain values attributes; lists, tuples and mappings with
numbers as keys are groups with a mark (``holdfast.kind``). See ``element_types`` for what becomes
of element types that HDF5 has no word for. See https://docs.hdfgroup.org.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

from holdfast.convert.containers import contained, keys_as_texts
from holdfast.convert.contract import FilePlan, Imported
from holdfast.convert.hdf5.attributes import is_holdable
from holdfast.convert.hdf5.library import has_signature
from holdfast.convert.hdf5.reading import Hdf5Reader
from holdfast.convert.hdf5.writing import lay_out
from holdfast.convert.selection import Selection


@final
class Hdf5:
    """The format ``hdf5``."""

    name = "hdf5"
    holds_values = True
    keeps_byte_order = True
    options: Sequence[str] = ()
    members: Sequence[str] = ()

    def holds(self, value: object) -> bool:
        return is_holdable(value)

    def recognises(self, path: Path) -> bool:
        return path.is_file() and has_signature(path)

    def read(self, path: Path) -> Imported:
        return Imported(Hdf5Reader(str(path)).read())

    def plan(self, selection: Selection, options: Mapping[str, object]) -> Sequence[FilePlan]:
        plan = lay_out(contained(selection))
        return [replace(plan, notes=[*plan.notes, *keys_as_texts(selection.root)])]
