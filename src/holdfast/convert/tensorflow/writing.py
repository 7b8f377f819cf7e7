"""TensorFlow checkpoints planned: a data file, its index, and the note which one is the latest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from holdfast.convert.containers import contained
from holdfast.convert.contract import FilePlan, Piece, Placement
from holdfast.convert.naming import require_utf8
from holdfast.convert.selection import LONG_TEXTS, NamedArray, NamedValue, Selection
from holdfast.convert.tensorflow import strings
from holdfast.convert.tensorflow.element_types import NUMBERS, STRING
from holdfast.convert.tensorflow.graph import graph_of, speaks_of
from holdfast.convert.tensorflow.messages import BundleEntry, BundleHeader
from holdfast.convert.tensorflow.names import GRAPH, key_of
from holdfast.convert.tensorflow.table import write_table
from holdfast.convert.tensorflow.text_lists import TextList, text_lists
from holdfast.errors import CannotConvert, UsageError
from holdfast.foreign.checksums import checksum, combine, masked
from holdfast.format import dtypes

_ALIGNMENT = 64
# TensorFlow's own writers say version 1, readable by all.
_PRODUCER = 1
_COUNTER = "save_counter"
_FLAGS: Mapping[object, bool] = {True: True, False: False, "true": True, "false": False}
_GRAPH_PIECE = re.compile(re.escape(GRAPH) + r"/\d+")
_PREFIX = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that is to be written.

    Attributes:
        key: Its key.
        dtype: Number of its element type.
        shape: In elements.
        head: Bytes before those of the array, or all of them.
        summed: What its checksum begins with in the place of ``head``.
        row: Row of the array in the checkpoint; -1 for none.
        array_bytes: Bytes of the array.
    """

    key: str
    dtype: int
    shape: tuple[int, ...]
    head: bytes = b""
    summed: bytes = b""
    row: int = -1
    array_bytes: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes in the data file."""
        return len(self.head) + self.array_bytes


def plan_bundle(selection: Selection, options: Mapping[str, object]) -> Sequence[FilePlan]:
    """Return the files of a checkpoint in which a selection is.

    Raises:
        CannotConvert: A dtype or a name has no place.
        UsageError: An option makes no sense.
    """
    prefix = str(options.get("prefix", "ckpt"))
    if not _PREFIX.fullmatch(prefix):
        raise UsageError(f"prefix={prefix!r} is no beginning of file names.")
    style = options.get("names", "objects")
    if style not in ("objects", "plain"):
        raise UsageError(f"names={style!r} is neither 'objects' nor 'plain'.")
    counter = _FLAGS.get(options.get("save_counter", True))
    if counter is None:
        raise UsageError(f"save_counter={options['save_counter']!r} is neither true nor false.")
    require_utf8(selection.names(), "TensorFlow")
    tensors = _tensors(selection, is_plain=style == "plain")
    if style == "objects":
        tensors = _with_graph(selection, tensors, counter=counter)
    return _plan_files(prefix, sorted(tensors, key=lambda t: t.key.encode()))


def _tensors(selection: Selection, *, is_plain: bool) -> list[Tensor]:
    found = []
    lists = text_lists(contained(selection))
    within = {name for texts in lists for name in texts.leaves}
    leaves: list[NamedArray | NamedValue | TextList] = [*selection.arrays, *selection.values]
    for leaf in [*leaves, *lists]:
        if leaf.name in within or _GRAPH_PIECE.fullmatch(leaf.name) or leaf.name == GRAPH:
            continue
        if leaf.name.startswith("\0") or not leaf.name:
            raise CannotConvert(
                f"{leaf.name!r} is no name for a variable of TensorFlow. Nothing was written. "
                "Change it with --rename.",
                name=leaf.name,
            )
        tensor = _tensor(leaf.name if is_plain else key_of(leaf.name), leaf)
        found += [tensor] if tensor is not None else []
    return found


def _tensor(key: str, leaf: NamedArray | NamedValue | TextList) -> Tensor | None:
    """Return the tensor of a leaf; None of a value that has no place."""
    if isinstance(leaf, NamedArray):
        return _of_array(key, leaf)
    if isinstance(leaf, TextList):
        return _texts(key, leaf.shape, leaf.texts)
    if isinstance(leaf.value, np.generic) and not isinstance(leaf.value, np.character):
        return _of_number(key, leaf, leaf.value)
    if isinstance(leaf.value, str):
        return _texts(key, (), [leaf.value.encode("utf-8", "surrogatepass")])
    return _texts(key, (), [bytes(leaf.value)]) if isinstance(leaf.value, bytes) else None


def _of_array(key: str, leaf: NamedArray) -> Tensor:
    row = leaf.array
    if row.framework in LONG_TEXTS:
        head, summed = strings.head_of([row.nbytes])
        return Tensor(key, STRING, (), head, summed, leaf.row, row.nbytes)
    if row.dtype not in NUMBERS:
        raise _unknown(leaf.name, row.dtype)
    return Tensor(key, NUMBERS[row.dtype], row.shape, row=leaf.row, array_bytes=row.nbytes)


def _of_number(key: str, leaf: NamedValue, value: np.generic) -> Tensor:
    name = dtypes.from_numpy(value.dtype)
    if name not in NUMBERS:
        raise _unknown(leaf.name, str(name or value.dtype))
    data = value.tobytes()
    return Tensor(key, NUMBERS[name], (), data, data)


def _texts(key: str, shape: tuple[int, ...], texts: Sequence[bytes]) -> Tensor:
    head, summed = strings.head_of([len(text) for text in texts])
    data = b"".join(texts)
    return Tensor(key, STRING, shape, head + data, summed + data)


def _unknown(name: str, dtype: str) -> CannotConvert:
    return CannotConvert(
        f"{name!r} has the dtype {dtype}, which TensorFlow does not know. Nothing was written. To "
        f"leave it out: --skip {name!r}.",
        name=name,
    )


def _with_graph(selection: Selection, tensors: list[Tensor], *, counter: bool) -> list[Tensor]:
    """Return the tensors with the graph of objects: the one that came with them, if it fits."""
    pieces = [
        value.value
        for value in selection.values
        if _GRAPH_PIECE.fullmatch(value.name) and isinstance(value.value, bytes)
    ]
    graph = b"".join(pieces)
    keys = [tensor.key for tensor in tensors]
    if not (pieces and speaks_of(graph, keys)):
        if counter and key_of(_COUNTER) not in keys:
            # tf.train.Checkpoint.restore wants one, and makes sure that it was there.
            one = (1).to_bytes(8, "little")
            tensors = [*tensors, Tensor(key_of(_COUNTER), NUMBERS["int64"], (), one, one)]
        graph = graph_of([tensor.key for tensor in tensors])
    return [*tensors, _texts(GRAPH, (), [graph])]


def _plan_files(prefix: str, tensors: Sequence[Tensor]) -> Sequence[FilePlan]:
    offsets, pieces, placements, at = [], [], [], 0
    for tensor in tensors:
        at += -at % _ALIGNMENT
        offsets.append(at)
        if tensor.head:
            pieces.append((at, tensor.head))
        if tensor.array_bytes:
            placements.append(Placement(tensor.row, at + len(tensor.head)))
        at += tensor.nbytes

    def late(sums: Sequence[int]) -> Sequence[Piece]:
        return [(0, _index(tensors, offsets, sums))]

    data = FilePlan(f"{prefix}.data-00000-of-00001", at, pieces, placements, "crc32c")
    nbytes = len(_index(tensors, offsets, [0] * len(placements)))
    index = FilePlan(f"{prefix}.index", nbytes, (), (), "crc32c", late, sums_of=0)
    note = f'model_checkpoint_path: "{prefix}"\nall_model_checkpoint_paths: "{prefix}"\n'.encode()
    return [data, index, FilePlan("checkpoint", len(note), [(0, note)], ())]


def _index(tensors: Sequence[Tensor], offsets: Sequence[int], sums: Sequence[int]) -> bytes:
    header = BundleHeader(num_shards=1)
    header.version.producer = _PRODUCER
    entries = [(b"", header.SerializeToString(deterministic=True))]
    left = iter(sums)
    for tensor, offset in zip(tensors, offsets, strict=True):
        value = checksum("crc32c")(memoryview(tensor.summed))
        if tensor.array_bytes:
            value = combine("crc32c", value, next(left), tensor.array_bytes)
        entry = BundleEntry(
            dtype=tensor.dtype, offset=offset, size=tensor.nbytes, crc32c=masked(value)
        )
        entry.shape.SetInParent()
        for size in tensor.shape:
            entry.shape.dim.add(size=size)
        entries.append((tensor.key.encode(), entry.SerializeToString(deterministic=True)))
    return write_table(entries)
