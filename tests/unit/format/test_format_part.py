"""Part manifests: what they hold, and what a reader refuses."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from holdfast.errors import ManifestDamaged, StoreTooNew
from holdfast.format import part as part_format
from holdfast.format.digests import check, digest
from holdfast.format.names import RunKeys
from holdfast.format.part import ArrayRow, ChunkRow, PackRow, Part
from holdfast.format.schema import PartMessage
from holdfast.format.tree import NodeKind, TreeColumns


def chunk(length: int, pack: int = 0, offset: int = 0) -> ChunkRow:
    data = bytes([length % 251]) * 7
    return ChunkRow(digest(data), check(data), length, pack, offset)


KEYS = RunKeys("gpt2 small/α")
TREE = TreeColumns(
    kind=[NodeKind.DICT, NodeKind.ARRAY, NodeKind.INT, NodeKind.STR],
    children=[3],
    key=[b"w", b"\xf0\x9f\x90\x8b", b"5"],
    key_kind=[0, 0, 1],
    type_name=["module:Class"],
    ints=[-(2**63), 2**63 - 1],
    floats=[0.1, float("inf")],
    blobs=[b"\x00\xff", b""],
    refs=[0],
)
PART = Part(
    run="gpt2 small/α",
    step=2**63 - 1,
    checkpoint_id="00ff" * 8,
    rank=3,
    world_size=8,
    tree=TREE,
    arrays=[
        ArrayRow("torch", "float32", (3, 5), 0, 16),
        ArrayRow("numpy", "np:<U8", (), 0, 96),
        ArrayRow("numpy", "float32", (0, 7), 0, 0),
        ArrayRow("torch", "uint8", (9000,), 1, 0),
        ArrayRow("torch", "float32", (2,), 3, 8),
    ],
    chunks=[chunk(128), chunk(8192, offset=4096), chunk(808, 1, 4096), chunk(16, 1, 8192)],
    packs=[PackRow(KEYS.pack("a" * 32, 0), 12288), PackRow(KEYS.pack("b" * 32, 100_000), 12288)],
)


def message(part: Part = PART) -> Any:
    return PartMessage.FromString(part_format.encode(part))


def decode(message: Any) -> Part:
    return part_format.decode(message.SerializeToString(), what="the manifest")


def test_a_part_comes_back() -> None:
    assert part_format.decode(part_format.encode(PART), what="x") == PART
    assert part_format.encode(PART) == part_format.encode(PART)


def test_a_part_of_nothing_comes_back() -> None:
    empty = Part("r", 0, "0" * 32, 0, 1, TreeColumns(kind=[1], children=[0]), [], [], [])
    assert part_format.decode(part_format.encode(empty), what="x") == empty


def test_a_plan_is_completed_with_what_was_written() -> None:
    plan = part_format.encode(replace(PART, chunks=[], packs=[]))
    assert part_format.complete(plan, PART.chunks, PART.packs) == part_format.encode(PART)


def test_the_bytes_of_an_array_follow_from_its_shape() -> None:
    assert [row.nbytes for row in PART.arrays] == [60, 32, 0, 9000, 8]


def test_garbage_is_refused() -> None:
    rng = random.Random(0)
    good = part_format.encode(PART)
    refused = 0
    for i in range(2000):
        bad = bytearray(good)
        if i % 3 == 0:
            bad = bad[: rng.randrange(len(bad))]
        else:
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        try:
            part_format.decode(bytes(bad), what="the manifest")
        except (ManifestDamaged, StoreTooNew):
            refused += 1
    # What is left are other values that hold together; the digest in the commit finds those.
    assert refused > 500


def test_a_newer_format_is_not_called_damaged() -> None:
    found = message()
    found.format = 9
    with pytest.raises(StoreTooNew) as caught:
        decode(found)
    assert (caught.value.found, caught.value.supported) == (9, 3)


def test_a_codec_of_the_future_is_not_called_damaged() -> None:
    found = with_codecs([1, 99], [6, 4])
    with pytest.raises(StoreTooNew) as caught:
        decode(found)
    assert (caught.value.found, caught.value.supported) == (99, 2)


def test_deltas_name_their_bases() -> None:
    sizes = replace(PART.chunks[0], codec=2, encoded_length=9, base=4)
    again = replace(PART.chunks[3], codec=2, encoded_length=9, base=1)
    base = chunk(128, 1)
    short = replace(PART.chunks[1], length=16)
    part = replace(
        PART,
        arrays=[ArrayRow("torch", "uint8", (100,), 0, 16)],
        chunks=[sizes, short, PART.chunks[2], again, base],
    )
    assert decode(message(part)) == part
    for row, wrong in ((0, 5), (0, 0), (0, 3), (0, 1), (3, 4)):
        bases = {0: 4, 3: 1} | {row: wrong}
        found = message(part)
        del found.chunks.base[:]
        found.chunks.base.extend(bases.values())
        with pytest.raises(ManifestDamaged):
            decode(found)


def with_codecs(codecs: list[int], stored: list[int]) -> Any:
    found = message()
    found.format = 2
    found.chunks.codec.extend(codecs)
    found.chunks.stored.extend(stored)
    return found


def change(path: str, value: Any) -> Any:
    def apply(found: Any) -> None:
        *way, last = path.split(".")
        for step in way:
            found = found[int(step)] if step.isdigit() else getattr(found, step)
        if isinstance(value, list):
            del getattr(found, last)[:]
            getattr(found, last).extend(value)
        elif last.isdigit():
            found[int(last)] = value
        else:
            setattr(found, last, value)

    return apply


@pytest.mark.parametrize(
    ("path", "value"),
    [
        # arrays
        ("arrays.type.0", "torch:float33"),
        ("arrays.type.0", "torch:"),
        ("arrays.type.0", ""),
        ("arrays.type.0", "numpy:np:|O"),
        ("arrays.type.0", "numpy:np:[[1]]"),
        ("arrays.type.0", "numpy:np:[]]"),
        ("arrays.type.0", "numpy:np:nonsense"),
        ("arrays.type_index.0", 77),
        ("arrays.type_index", [0, 0, 0, 0]),
        ("arrays.ndim.0", 65),
        ("arrays.ndim.0", 1),
        ("arrays.ndim", [2, 0, 2, 1]),
        ("arrays.dim", [3, 5]),
        ("arrays.dim.0", 2**60),
        ("arrays.chunk", [0]),
        ("arrays.offset", []),
        ("arrays.chunk.0", 4),
        ("arrays.chunk.0", 2**32 - 1),
        ("arrays.offset.0", 128),
        ("arrays.offset.0", 100),
        ("arrays.offset.3", 1),
        ("arrays.dim.4", 9200),
        # chunks
        ("chunks.digest", b""),
        ("chunks.digest", bytes(32 * 4 - 1)),
        ("chunks.digest", bytes(32 * 5)),
        ("chunks.check", bytes(16 * 3)),
        ("chunks.length", [128, 8192, 808]),
        ("chunks.length.0", 12289),
        ("chunks.length.1", 12288),
        ("chunks.length.1", 4096),
        ("chunks.pack", [0, 0, 1]),
        ("chunks.pack.0", 2),
        ("chunks.offset.0", 1),
        ("chunks.offset.0", 2048),
        ("chunks.offset.0", 12288),
        ("chunks.offset.0", 2**64 - 4096),
        ("chunks.offset", []),
        # packs
        ("packs.0.length", 0),
        ("packs.1.length", 8200),
    ],
)
def test_a_part_that_contradicts_itself_is_refused(path: str, value: Any) -> None:
    found = message()
    change(path, value)(found)
    with pytest.raises(ManifestDamaged, match="the manifest"):
        decode(found)


def test_a_part_without_the_packs_of_its_chunks_is_refused() -> None:
    found = message()
    del found.packs[:]
    with pytest.raises(ManifestDamaged, match="contradicts itself"):
        decode(found)


def test_an_array_of_no_elements_needs_no_chunk() -> None:
    only = replace(PART, arrays=[ArrayRow("torch", "float32", (0,), 0, 0)], chunks=[], packs=[])
    assert part_format.decode(part_format.encode(only), what="x") == only
