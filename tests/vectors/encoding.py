"""The encoded store: planes and deltas put together by hand from the words of docs/spec/v1.md.

Squeezed planes are frames of one repeated byte, spelled out bit by bit, so that no version of a
compressor changes these bytes.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from making import (
    Arrays,
    Files,
    Packs,
    Tree,
    add_blocks,
    commit,
    encoded,
    head,
    link,
    marker,
    statement,
)

from holdfast.format.tree import NodeKind as K

RUN, ROOT, ID, LATER = "packed", "runs/packed/", "1357" * 8, "2468" * 8
BLOCK = 131_072


def repeated(byte: int, count: int) -> bytes:
    """Return a Zstandard frame of one byte, count times: RFC 8878, a block of type RLE."""
    # A single segment, whose size is told in as few bytes as hold it.
    if count < 256:
        size = bytes([0x20, count])
    elif count < 256 + 65_536:
        size = b"\x60" + struct.pack("<H", count - 256)
    else:
        size = b"\xa0" + struct.pack("<I", count)
    block = (1 | 1 << 1 | count << 3).to_bytes(3, "little") + bytes([byte])
    return bytes.fromhex("28b52ffd") + size + block


def in_planes(chunk: bytes, width: int, turned: int) -> bytes:
    """Return a chunk in planes; a plane of one byte only is squeezed, every other one is not."""
    count = len(chunk) // width
    numbers = [int.from_bytes(chunk[i * width : (i + 1) * width], "little") for i in range(count)]
    if turned:
        top = 8 * width - 1
        numbers = [(n << 1 & (1 << 8 * width) - 1) | n >> top for n in numbers]
    table, body = b"", b""
    for begin in range(0, count, BLOCK):
        block = numbers[begin : begin + BLOCK]
        for plane in range(width):
            data = bytes(n >> 8 * plane & 0xFF for n in block)
            if len(set(data)) == 1 and len(repeated(data[0], len(data))) < len(data):
                data = repeated(data[0], len(data))
            table += struct.pack("<I", len(data))
            body += data
    return bytes([width, turned, 0, 0]) + table + body + chunk[count * width :]


def add_codecs(
    message: Any,
    chunks: Sequence[bytes],
    stored: Mapping[bytes, bytes],
    bases: Mapping[bytes, bytes] | None = None,
) -> None:
    """Make a part one of format 2 in which some chunks are stored otherwise, or as differences."""
    message.format, bases = 2, bases or {}
    for chunk in chunks:
        message.chunks.codec.append(2 if chunk in bases else 1 if chunk in stored else 0)
        message.chunks.stored.append(len(stored.get(chunk, chunk)))
        if chunk in bases:
            message.chunks.base.append(chunks.index(bases[chunk]))


def differing(chunk: bytes, other: bytes) -> bytes:
    """Return the exclusive or of two chunks."""
    return bytes(a ^ b for a, b in zip(chunk, other, strict=True))


def of_format_2(found: dict[str, Any]) -> dict[str, Any]:
    """Return the statement of a commit, made one of format 2."""
    found["predicateType"] = "https://holdfast.dev/checkpoint/v2"
    found["predicate"]["format"] = 2
    return found


def files() -> Files:
    rng = random.Random(7)
    tree, arrays = Tree(), Arrays()
    floats = struct.pack("<1500f", *(rng.choice((-1, 1)) * rng.uniform(1, 2) for _ in range(1500)))
    doubles = struct.pack("<400d", *(rng.uniform(2, 4) for _ in range(400)))
    halves = b"".join(struct.pack("<BB", rng.randrange(128, 256), 0x3F) for _ in range(900))
    counters = struct.pack("<300q", *range(300))
    # Each a chunk of its own, how wide its elements are taken to be, and whether bits are turned.
    made = {
        "float32": ("torch:float32", (1500,), floats, 4, 1),
        "float64": ("numpy:float64", (5, 80), doubles, 8, 1),
        "bfloat16": ("torch:bfloat16", (900,), halves, 2, 1),
        "int64": ("numpy:int64", (300,), counters, 8, 0),
        "two blocks and a rest": ("numpy:uint8", (2 * BLOCK + 3,), b"\7" * (2 * BLOCK + 3), 2, 0),
        "bytes": ("numpy:uint8", (BLOCK + 1,), b"\0" * BLOCK + b"\1", 1, 0),
        "as it is": ("numpy:float32", (4,), floats[:16], 0, 0),
    }
    stored = {}
    tree.container(K.DICT, len(made))
    for name, (kind, shape, data, width, turned) in made.items():
        tree.key(name)
        tree.leaf(K.ARRAY)
        arrays.rows.append((kind, shape, len(arrays.chunks), 0))
        arrays.chunks.append(data)
        arrays.nbytes += len(data)
        if width:
            stored[data] = in_planes(data, width, turned)
            assert len(stored[data]) < len(data), name
    # What lies behind the planes of a chunk is not looked at.
    stored[doubles] += b"?"
    tree.finish()
    packs = Packs(ROOT, ID, stored=lambda chunk: stored.get(chunk, chunk))
    packs.add(arrays.chunks, per_pack=4)
    message = tree.message
    head(message, run=RUN, step=3, id=ID)
    arrays.fill(message.arrays)
    packs.fill(message, arrays.chunks)
    add_codecs(message, arrays.chunks, stored)
    key, part = f"{ROOT}parts/{ID}-00000", encoded(message)
    sizes = {
        "n_leaves": tree.leaves,
        "state_bytes": arrays.nbytes,
        "stored_bytes": packs.new_bytes + len(part),
    }
    record = of_format_2(statement(key, part, run=RUN, step=3, seq=1, id=ID, **sizes))
    first = commit(record)
    return {
        "holdfast.json": marker(),
        f"{ROOT}commits/000000000001": first,
        key: part,
        **packs.objects,
        **_later(packs, stored, floats, counters, first),
    }


def _later(
    older: Packs, stored: dict[bytes, bytes], floats: bytes, counters: bytes, first: bytes
) -> Files:
    """The next checkpoint: differences from chunks of the first and of its own, and a cast."""
    rng = random.Random(8)
    moved = differing(floats, b"".join(bytes([rng.randrange(128), 0, 0, 0]) for _ in range(1500)))
    noise = rng.randbytes(6001)
    # The bits that differ are in one plane of two; the rest is a byte that has none.
    like_noise = differing(
        noise, b"".join(bytes([rng.randrange(256), 3]) for _ in range(3000)) + b"!"
    )
    stored = stored | {
        moved: in_planes(differing(moved, floats), 4, 1),
        like_noise: in_planes(differing(like_noise, noise), 2, 0) + b"?",
    }
    assert all(len(stored[chunk]) < len(chunk) for chunk in (moved, like_noise))
    made = {
        "float32": ("torch:float32", (1500,), moved),
        "noise": ("numpy:uint8", (6001,), noise),
        "like it": ("numpy:uint8", (6001,), like_noise),
        "int64": ("numpy:int64", (300,), counters),
        # 1, -2 and a NaN, as the upper halves of what they were.
        "cast": ("torch:bfloat16<float32", (3,), struct.pack("<3H", 0x3F80, 0xC000, 0x7FC0)),
    }
    tree, arrays = Tree(), Arrays()
    tree.container(K.DICT, len(made))
    for name, (kind, shape, data) in made.items():
        tree.key(name)
        tree.leaf(K.ARRAY)
        arrays.rows.append((kind, shape, len(arrays.chunks), 0))
        arrays.chunks.append(data)
        arrays.nbytes += len(data)
    tree.finish()
    # What no array is in has its row behind the others.
    chunks = [*arrays.chunks, floats]
    packs = Packs(ROOT, LATER, older, stored=lambda chunk: stored.get(chunk, chunk))
    packs.add(chunks, per_pack=4)
    message = tree.message
    head(message, run=RUN, step=4, id=LATER)
    arrays.fill(message.arrays)
    packs.fill(message, chunks)
    add_codecs(message, chunks, stored, {moved: floats, like_noise: noise})
    add_blocks(message, chunks, 4096, without=[chunk for chunk in chunks if chunk != noise])
    key, part = f"{ROOT}parts/{LATER}-00000", encoded(message)
    sizes = {
        "n_leaves": tree.leaves,
        "state_bytes": arrays.nbytes,
        "stored_bytes": packs.new_bytes + len(part),
        "parent": ID,
        "previous": link(first),
    }
    record = of_format_2(statement(key, part, run=RUN, step=4, seq=2, id=LATER, **sizes))
    return {f"{ROOT}commits/000000000002": commit(record), key: part, **packs.objects}
