"""Table files: sorted keys and values in blocks, as LevelDB has them; TensorFlow's index is one.

A block is entries, each with the length of what its key shares with the one before; then offsets of
keys that are whole; then a byte for its compression and a masked CRC32C. A last block has for every
block a key not before its last one, and its place. The footer tells where that is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from holdfast.convert.table_coding import read_varint, shared_bytes, varint
from holdfast.errors import ForeignDamaged
from holdfast.foreign.checksums import masked_checksum

MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
_TRAILER_BYTES = 5
_BLOCK_BYTES = 4 << 10
_WHOLE_KEY_EVERY = 16


def write_table(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return a table file of keys and values; the keys are in order and there once."""
    out = bytearray()
    index: list[tuple[bytes, bytes]] = []
    block: list[tuple[bytes, bytes]] = []
    held = 0
    for key, value in entries:
        block.append((key, value))
        held += len(key) + len(value)
        if held >= _BLOCK_BYTES:
            index.append((key, _append(out, block)))
            block, held = [], 0
    if block:
        index.append((block[-1][0], _append(out, block)))
    handles = _append(out, []) + _append(out, index, whole_key_every=1)
    footer = handles.ljust(FOOTER_BYTES - 8, b"\0") + MAGIC.to_bytes(8, "little")
    return bytes(out) + footer


def _append(
    out: bytearray,
    entries: Sequence[tuple[bytes, bytes]],
    whole_key_every: int = _WHOLE_KEY_EVERY,
) -> bytes:
    """Append a block, and return its handle."""
    block, whole, before = bytearray(), [0], b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % whole_key_every == 0:
            whole += [len(block)] if number else []
        else:
            shared = shared_bytes(before, key)
        block += varint(shared) + varint(len(key) - shared) + varint(len(value))
        block += key[shared:] + value
        before = key
    block += struct.pack(f"<{len(whole) + 1}I", *whole, len(whole))
    handle = varint(len(out)) + varint(len(block))
    block += b"\0"
    out += block + masked_checksum(bytes(block))
    return handle


def read_table(data: bytes, path: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a table file, in order.

    Args:
        data: All of the file.
        path: Its name, for messages.

    Raises:
        ForeignDamaged: It is no whole table, or its keys are not in order.
    """
    try:
        yield from _entries(data)
    except (ValueError, IndexError, struct.error) as error:
        raise ForeignDamaged(
            f"{path!r} is no whole table file: {error}. Nothing was saved.", path=path
        ) from error


def _entries(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    footer = data[-FOOTER_BYTES:]
    if len(footer) < FOOTER_BYTES or footer[-8:] != MAGIC.to_bytes(8, "little"):
        raise ValueError("its end is not that of one")
    at = read_varint(footer, read_varint(footer, 0)[1])[1]
    before: bytes | None = None
    end = 0
    for _, handle in _block(data, footer[at:-8]):
        begin = read_varint(handle, 0)[0]
        if begin < end:
            raise ValueError("its blocks overlap")
        end = begin + 1
        for key, value in _block(data, handle):
            if before is not None and key <= before:
                raise ValueError(f"the key {key!r} is not in order, or there twice")
            before = key
            yield key, value


def _block(data: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of the block that a handle leads to."""
    block = _plain_block(data, handle)
    (n_whole,) = struct.unpack_from("<I", block, len(block) - 4)
    limit = len(block) - 4 - 4 * n_whole
    if limit < 0:
        raise ValueError("a block has more whole keys than bytes")
    key, at = b"", 0
    while at < limit:
        shared, at = read_varint(block, at)
        rest, at = read_varint(block, at)
        n_value, at = read_varint(block, at)
        if shared > len(key) or at + rest + n_value > limit:
            raise ValueError("an entry goes beyond its block")
        key = key[:shared] + block[at : at + rest]
        at += rest
        yield key, block[at : at + n_value]
        at += n_value


def _plain_block(data: bytes, handle: bytes) -> bytes:
    """Return the bytes of a block, its checksum compared."""
    offset, at = read_varint(handle, 0)
    nbytes, _ = read_varint(handle, at)
    end = offset + nbytes + _TRAILER_BYTES
    if end > len(data) - FOOTER_BYTES or nbytes < 8:
        raise ValueError("a block goes beyond it")
    body = data[offset : end - 4]
    if masked_checksum(body) != data[end - 4 : end]:
        raise ValueError(f"the checksum of the block at byte {offset} is wrong")
    if body[-1] != 0:
        raise ValueError(f"the block at byte {offset} is compressed (method {body[-1]})")
    return body[:-1]
