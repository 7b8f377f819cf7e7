"""Part manifests: the tree of a state, its arrays, its chunks and the packs that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from math import prod
from typing import Any, NamedTuple, Protocol

from google.protobuf.message import DecodeError

from holdfast.errors import ManifestDamaged, StoreTooNew
from holdfast.format import casting, dtypes
from holdfast.format.blocks import Blocks, decode_blocks, encode_blocks
from holdfast.format.codecs import CODECS, DELTA, MAX_PLAIN_BYTES, RAW
from holdfast.format.digests import CHECK_BYTES, DIGEST_BYTES
from holdfast.format.lean import Lean, columns_of, decode_lean, encode_lean, fill_tree
from holdfast.format.names import is_pack_key
from holdfast.format.schema import PartMessage
from holdfast.format.tree import TreeColumns

# What a part has that stores every chunk as it is; one that does not; one of several ranks.
FORMAT = 1
FORMAT_WITH_CODECS = 2
FORMAT_OF_RANKS = 3
ALIGNMENT = 4096
MAX_NDIM = 64
MAX_DIM = 2**63 - 1
_NOT_LOOKED = -1


class ArrayRow(NamedTuple):
    """One array: what it is, and where its bytes begin in the part's chunks.

    An array whose bytes go beyond its first chunk starts at offset 0 of it and fills the chunks
    that follow. An array of no elements has chunk 0 and offset 0 and no bytes.

    ``not_finite`` counts its elements that are NaN or infinite; None where nobody looked. In the
    plan of a save it is 0 where somebody shall. ``cast_from`` is the type that it had in the state,
    where it is stored as another one; else it is empty.
    """

    framework: str
    dtype: str
    shape: tuple[int, ...]
    chunk: int
    offset: int
    not_finite: int | None = None
    cast_from: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes of the array, densely packed in C order."""
        return prod(self.shape) * dtypes.itemsize(self.dtype)


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """One chunk: its digests, plain length in bytes, and the place where it is stored.

    ``encoded_length`` are the bytes in which a codec stores it; 0 where it is stored as it is.
    ``base`` is the row of the chunk that a delta is a difference from; None for all others.
    ``blocks`` are the checksums of its blocks, by which a part of it can be read.
    """

    digest: bytes
    check: bytes
    length: int
    pack: int
    offset: int
    codec: int = RAW
    encoded_length: int = 0
    base: int | None = None
    blocks: Blocks | None = None

    @property
    def stored_length(self) -> int:
        """Bytes that it takes in its pack, without a seal."""
        return self.encoded_length if self.codec else self.length


@dataclass(frozen=True, slots=True)
class PackRow:
    """One object that holds chunks: its key in the store, and its length in bytes."""

    key: str
    length: int


class HasChunks(Protocol):
    """A part, or the parts of a checkpoint as one: chunks, and the packs that they are in."""

    @property
    def chunks(self) -> Sequence[ChunkRow]:
        """The chunks."""
        ...

    @property
    def packs(self) -> Sequence[PackRow]:
        """The packs."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """Everything that one rank saved of a checkpoint. ``checkpoint_id`` is 32 hex digits.

    Of several ranks' parts ``lean`` says which boxes it has, and ``tree`` what is its own.
    """

    run: str
    step: int
    checkpoint_id: str
    rank: int
    world_size: int
    tree: TreeColumns
    arrays: Sequence[ArrayRow]
    chunks: Sequence[ChunkRow]
    packs: Sequence[PackRow]
    lean: Lean | None = None


def encode(part: Part) -> bytes:
    """Return the bytes of a part manifest; equal parts give equal bytes."""
    message = PartMessage(
        format=format_of(part.chunks) if part.lean is None else FORMAT_OF_RANKS,
        run=part.run,
        step=part.step,
        checkpoint_id=bytes.fromhex(part.checkpoint_id),
        rank=part.rank,
        world_size=part.world_size,
    )
    fill_tree(message.tree, part.tree)
    if part.lean is not None:
        encode_lean(message, part.lean)
    _encode_arrays(message.arrays, part.arrays)
    _encode_chunks(message.chunks, part.chunks)
    for pack in part.packs:
        message.packs.add(key=pack.key, length=pack.length)
    return bytes(message.SerializeToString(deterministic=True))


class HasCodec(Protocol):
    """A chunk that is stored in some codec."""

    @property
    def codec(self) -> int:
        """Number of the codec."""
        ...


def format_of(chunks: Iterable[HasCodec]) -> int:
    """Return the format of one process's part with these chunks, and of its commit."""
    return FORMAT_WITH_CODECS if any(row.codec for row in chunks) else FORMAT


def _encode_arrays(table: Any, rows: Sequence[ArrayRow]) -> None:
    types: dict[str, int] = {}
    index = [types.setdefault(_joined_type(r), len(types)) for r in rows]
    table.type.extend(types)
    table.type_index.extend(index)
    table.ndim.extend([len(r.shape) for r in rows])
    table.dim.extend([n for r in rows for n in r.shape])
    table.chunk.extend([r.chunk for r in rows])
    table.offset.extend([r.offset for r in rows])
    _encode_not_finite(table, [r.not_finite for r in rows])


def _encode_not_finite(table: Any, counts: Sequence[int | None]) -> None:
    if any(count is not None for count in counts):
        table.not_finite.extend([_NOT_LOOKED if count is None else count for count in counts])


def _encode_chunks(table: Any, rows: Sequence[ChunkRow]) -> None:
    table.digest = b"".join(r.digest for r in rows)
    table.check = b"".join(r.check for r in rows)
    table.length.extend([r.length for r in rows])
    table.pack.extend([r.pack for r in rows])
    table.offset.extend([r.offset for r in rows])
    if format_of(rows) == FORMAT_WITH_CODECS:
        table.codec.extend([r.codec for r in rows])
        table.stored.extend([r.stored_length for r in rows])
        table.base.extend([r.base for r in rows if r.base is not None])
    encode_blocks(table, [r.blocks for r in rows])


def decode(data: bytes, *, what: str) -> Part:
    """Return the part of a manifest's bytes, with every cross-reference checked.

    Raises:
        ManifestDamaged: The bytes are no manifest, or one that contradicts itself.
        StoreTooNew: A newer version of holdfast wrote them.
    """
    try:
        message = PartMessage.FromString(data)
    except DecodeError as error:
        raise ManifestDamaged(f"{what} is no manifest: {error}.", record=what) from error
    if not FORMAT <= message.format <= FORMAT_OF_RANKS:
        raise StoreTooNew(
            f"{what} has format {message.format}; this version of holdfast reads up to "
            f"{FORMAT_OF_RANKS}.",
            found=message.format,
            supported=FORMAT_OF_RANKS,
        )
    _refuse_new_codecs(message, what)
    try:
        part = _decode_message(message)
        _check_bounds(part)
    except (ValueError, IndexError, TypeError) as error:
        raise ManifestDamaged(f"{what} contradicts itself: {error}.", record=what) from error
    return part


def _refuse_new_codecs(message: Any, what: str) -> None:
    if message.format != FORMAT:
        unknown = set(message.chunks.codec) - CODECS
        if unknown:
            raise StoreTooNew(
                f"{what} has chunks in codec {min(unknown)}, which this version of holdfast does "
                "not know. Nothing is wrong with the data: upgrade holdfast to load it.",
                found=min(unknown),
                supported=max(CODECS),
            )


def _decode_message(message: Any) -> Part:
    lean = decode_lean(message)
    if (lean is not None) != (message.format == FORMAT_OF_RANKS):
        raise ValueError("its format does not say whether it is of several ranks")
    # In format 3 the columns of codecs are there where a chunk has one.
    has_codecs = message.format == FORMAT_WITH_CODECS or (lean and len(message.chunks.codec))
    return Part(
        run=message.run,
        step=message.step,
        checkpoint_id=message.checkpoint_id.hex(),
        rank=message.rank,
        world_size=message.world_size,
        tree=columns_of(message.tree),
        arrays=_decode_arrays(message.arrays),
        chunks=_decode_chunks(message.chunks, has_codecs=bool(has_codecs)),
        packs=[PackRow(pack.key, pack.length) for pack in message.packs],
        lean=lean,
    )


def _decode_arrays(table: Any) -> list[ArrayRow]:
    types = [_split_type(name) for name in table.type]
    ndims = list(table.ndim)
    if any(n > MAX_NDIM for n in ndims):
        raise ValueError(f"an array has more than {MAX_NDIM} dimensions")
    dims = list(table.dim)
    if any(n > MAX_DIM for n in dims):
        raise ValueError("a dimension is larger than any array")
    ends = list(accumulate(ndims))
    if (ends[-1] if ends else 0) != len(dims):
        raise ValueError("the shapes do not add up")
    counts: Sequence[int | None] = [None] * len(ndims)
    if len(table.not_finite):
        counts = [None if count == _NOT_LOOKED else count for count in table.not_finite]
    return [
        ArrayRow(
            types[t][0], types[t][1], tuple(dims[end - n : end]), chunk, offset, count, types[t][2]
        )
        for t, n, end, chunk, offset, count in zip(
            table.type_index, ndims, ends, table.chunk, table.offset, counts, strict=True
        )
    ]


def _joined_type(row: ArrayRow) -> str:
    return f"{row.framework}:{casting.type_text(row.dtype, row.cast_from)}"


def _split_type(name: str) -> tuple[str, str, str]:
    framework, _, text = name.partition(":")
    return framework, *casting.split_type(text)


def _decode_chunks(table: Any, *, has_codecs: bool) -> list[ChunkRow]:
    digests, checks, count = table.digest, table.check, len(table.length)
    if len(digests) != count * DIGEST_BYTES or len(checks) != count * CHECK_BYTES:
        raise ValueError("the digests are not as many as the chunks")
    if not has_codecs and (table.codec or table.stored or table.base):
        raise ValueError("it has codecs, which its format does not")
    if len(table.base) != sum(codec == DELTA for codec in table.codec):
        raise ValueError("the bases are not as many as the deltas")
    bases = iter(table.base)
    return [
        ChunkRow(
            digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES],
            checks[i * CHECK_BYTES : (i + 1) * CHECK_BYTES],
            length,
            pack,
            offset,
            codec,
            stored if codec else _same(stored, length),
            next(bases) if codec == DELTA else None,
            blocks,
        )
        for i, (length, pack, offset, codec, stored, blocks) in enumerate(
            zip(
                table.length,
                table.pack,
                table.offset,
                table.codec if has_codecs else repeat(RAW, count),
                table.stored if has_codecs else table.length,
                decode_blocks(table, table.length),
                strict=True,
            )
        )
    ]


def _same(stored: int, length: int) -> int:
    if stored != length:
        raise ValueError("a chunk that is stored as it is has two lengths")
    return 0


def _check_bounds(part: Part) -> None:
    if any(not is_pack_key(part.run, pack.key) for pack in part.packs):
        raise ValueError("a pack's key is none of this run")
    for chunk in part.chunks:
        end = chunk.offset + chunk.stored_length
        if chunk.codec and not 0 < chunk.encoded_length < chunk.length <= MAX_PLAIN_BYTES:
            raise ValueError("a chunk in a codec takes no less than it would without")
        if not chunk.length or chunk.offset % ALIGNMENT or end > part.packs[chunk.pack].length:
            raise ValueError("a chunk does not lie within its pack")
        if chunk.codec and chunk.blocks is not None:
            raise ValueError("a chunk in a codec has checks of blocks")
        if chunk.base is not None:
            _check_base(chunk, part.chunks[chunk.base])
    ends = list(accumulate((chunk.length for chunk in part.chunks), initial=0))
    for row in part.arrays:
        nbytes = row.nbytes
        if row.not_finite is not None and not 0 <= row.not_finite <= prod(row.shape):
            raise ValueError("an array has more elements that are not finite than elements")
        if nbytes == 0:
            if row.chunk or row.offset:
                raise ValueError("an array of no bytes has a place")
            continue
        length = part.chunks[row.chunk].length
        start = ends[row.chunk] + row.offset
        if row.offset >= length or start + nbytes > ends[-1]:
            raise ValueError("an array does not lie within the chunks")
        if row.offset and row.offset + nbytes > length:
            raise ValueError("an array that spans chunks does not start at one")


def _check_base(chunk: ChunkRow, base: ChunkRow) -> None:
    # So that a chunk never needs more than one other to be read.
    if base.base is not None:
        raise ValueError("a delta is a difference from another delta")
    if base.length != chunk.length:
        raise ValueError("a delta is a difference from a chunk of another length")


def complete(
    plan: bytes,
    chunks: Sequence[ChunkRow],
    packs: Sequence[PackRow],
    not_finite: Sequence[int | None] = (),
) -> bytes:
    """Return the bytes of a manifest made of a plan and the tables of what was written.

    Args:
        plan: A manifest without them.
        chunks: The chunks.
        packs: The packs.
        not_finite: For each array, how many elements are not finite; nothing where none was looked
            at.
    """
    message = PartMessage.FromString(plan)
    del message.arrays.not_finite[:]
    _encode_not_finite(message.arrays, not_finite)
    if message.format == FORMAT_OF_RANKS:
        if message.rank:
            # The digest stands for it, but in rank 0's.
            message.ClearField("shared")
    else:
        message.format = format_of(chunks)
    _encode_chunks(message.chunks, chunks)
    for pack in packs:
        message.packs.add(key=pack.key, length=pack.length)
    return bytes(message.SerializeToString(deterministic=True))


def planned_arrays(plan: bytes) -> list[ArrayRow]:
    """Return the rows of arrays of a plan that this process has been given by one it trusts."""
    return _decode_arrays(PartMessage.FromString(plan).arrays)
