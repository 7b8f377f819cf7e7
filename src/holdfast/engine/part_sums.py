"""What the parts of all ranks come to, added up as they come and none of them kept.

There may be tens of thousands of parts, each with thousands of boxes: what is looked at here is
looked at in columns, and no row of a part becomes an object. What readers look at besides, they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from holdfast.errors import ManifestDamaged
from holdfast.format import dtypes
from holdfast.format.casting import split_type
from holdfast.format.lean import REPLICA_BYTES
from holdfast.format.names import checkpoint_of
from holdfast.format.schema import PartMessage
from holdfast.format.shared import PART_OF, Header, decode_header
from holdfast.plan.coverage import Coverage
from holdfast.records.differing import Disagreement
from holdfast.records.joined import shared_root
from holdfast.state.nodes import Node

_Ints = NDArray[np.int64]


def parse(data: bytes, what: str) -> Any:
    """Return a part's message, not yet looked at.

    Raises:
        ManifestDamaged: The bytes are no manifest.
    """
    try:
        return PartMessage.FromString(data)
    except DecodeError as error:
        raise ManifestDamaged(f"{what} is no manifest: {error}.", record=what) from error


@final
class PartSums:
    """The parts of a checkpoint, added up.

    Args:
        first: Rank 0's, which says what all ranks agree on.
        what: Of which checkpoint, for messages.

    Attributes:
        root: What all ranks agree on.
        plan: Its digest.
        state_bytes: Bytes of all arrays, so far.
        new_bytes: Bytes of the packs that this save has written, so far.
        not_finite: How many elements are not finite; None where nobody looked.
    """

    def __init__(self, first: Any, what: str) -> None:
        self.root = shared_root(first.shared, what)
        self.plan = first.plan
        self._id = first.checkpoint_id.hex()
        self._arrays = list(_arrays_of(self.root))
        self._coverage = Coverage([header.shape for _, header in self._arrays])
        names: dict[str, int] = {}
        kinds = [header.type_name for _, header in self._arrays]
        self._kinds = np.array([names.setdefault(kind, len(names)) for kind in kinds], np.int64)
        self._number_of = names
        self._replicas = _Replicas()
        self.state_bytes = 0
        self.new_bytes = 0
        self.not_finite: int | None = None

    def is_of_this_state(self, message: Any) -> bool:
        """Say whether a rank has saved what rank 0 has."""
        return bool(message.plan == self.plan)

    def add(self, message: Any) -> None:
        """Add a part.

        Raises:
            Disagreement: It does not fit.
        """
        try:
            self._add(message)
        except (ValueError, IndexError, OverflowError) as error:
            raise Disagreement("", message.rank, f"a malformed part: {error}") from error

    def _add(self, message: Any) -> None:
        rank, arrays = int(message.rank), message.arrays
        boxes = np.array(message.boxes.array, np.int64)
        ndims, dims = np.array(arrays.ndim, np.int64), np.array(arrays.dim, np.int64)
        index = np.array(arrays.type_index, np.int64)
        if len(boxes) > len(ndims) or not message.HasField("boxes"):
            raise Disagreement("", rank, "a part without its boxes")
        n_dims = int(ndims[: len(boxes)].sum())
        if fault := self._coverage.add(boxes, list(message.boxes.at), dims[:n_dims]):
            raise Disagreement("", rank, fault)
        types = [self._number_of.get(name, -1) for name in arrays.type]
        kinds = np.array(types, np.int64)[index[: len(boxes)]] if len(boxes) else boxes
        if len(bad := np.flatnonzero(kinds != self._kinds[boxes])):
            path, _ = self._arrays[int(boxes[bad[0]])]
            raise Disagreement(path, rank, "a box of another type than its array")
        sizes = np.array([_itemsize(name) for name in arrays.type], np.int64)
        if len(index):
            self.state_bytes += int((_volumes(dims, ndims) * sizes[index]).sum())
        packs: Mapping[str, int] = {pack.key: pack.length for pack in message.packs}
        self.new_bytes += sum(n for key, n in packs.items() if checkpoint_of(key) == self._id)
        looked = [count for count in arrays.not_finite if count >= 0]
        if looked:
            self.not_finite = sum(looked) + (self.not_finite or 0)
        self._note_replicas(rank, message.replicas)

    def finish(self) -> None:
        """Look at what can only be seen once all parts are there.

        Raises:
            Disagreement: Some array is not in boxes that cover it once and only once.
        """
        for number in self._coverage.faults():
            path, header = self._arrays[number]
            what = "the boxes that ranks have written do not cover it once and only once"
            raise Disagreement(path, 0, f"{what}, {header.dtype}{list(header.shape)}")

    def _note_replicas(self, rank: int, told: Any) -> None:
        rows = zip(told.array, told.first, range(len(told.array)), strict=True)
        for array, first, i in rows:
            digest = told.digest[i * REPLICA_BYTES : (i + 1) * REPLICA_BYTES]
            other = self._replicas.differs_from(rank, array, first, digest)
            if other is not None:
                path, _ = self._arrays[array]
                what = f"a replica that differs from that of rank {other}, which shall be the same"
                raise Disagreement(path, rank, what)


@dataclass(slots=True)
class _Replicas:
    """What replicas digest to: by array and first holder, who has said so first, and what."""

    known: dict[tuple[int, int], tuple[int, bytes]] = field(default_factory=dict)

    def differs_from(self, rank: int, array: int, first: int, digest: bytes) -> int | None:
        """Return a rank that holds something else in the place of the same, or None."""
        other, said = self.known.setdefault((array, first), (rank, digest))
        return other if said != digest else None


def _arrays_of(root: Node) -> list[tuple[str, Header]]:
    """Return path and header of the arrays of a shared tree, in order."""
    found, stack = [], [root]
    while stack:
        node = stack.pop()
        if node.type_name == PART_OF:
            content = node.children[0].children
            try:
                found.append((node.path, decode_header(content[0].value if content else None, 0)))
            except ValueError as error:
                raise Disagreement(node.path, 0, str(error)) from error
        else:
            stack.extend(reversed(node.children))
    return found


def _itemsize(type_name: str) -> int:
    return dtypes.itemsize(split_type(type_name.partition(":")[2])[0])


def _volumes(dims: _Ints, ndims: _Ints) -> _Ints:
    """Return the products of the dims of each row."""
    found = np.ones(len(ndims), np.int64)
    filled = ndims > 0
    if filled.any():
        begins = (np.cumsum(ndims) - ndims)[filled]
        found[filled] = np.multiply.reduceat(dims, begins)
    return found
