"""Table files, keys, texts and graphs of TensorFlow's checkpoints, by what is known of them."""

from __future__ import annotations

import random

import pytest

from holdfast.convert.table_coding import read_varint, varint
from holdfast.convert.tensorflow import strings
from holdfast.convert.tensorflow.graph import graph_of, keys_of, speaks_of
from holdfast.convert.tensorflow.messages import BundleEntry, ObjectGraph
from holdfast.convert.tensorflow.names import key_of, local_name, name_of
from holdfast.convert.tensorflow.slice_keys import slice_key
from holdfast.convert.tensorflow.table import (
    MAGIC,
    read_table,
    write_table,
)
from holdfast.errors import ForeignDamaged
from holdfast.foreign.checksums import masked, masked_checksum


def entries(n: int, seed: int = 0) -> list[tuple[bytes, bytes]]:
    dice = random.Random(seed)
    keys = {b""} | {b"layer/%d/" % i + dice.randbytes(dice.randrange(9)) for i in range(n - 1)}
    return [(key, dice.randbytes(dice.randrange(200))) for key in sorted(keys)]


@pytest.mark.parametrize("n", [1, 2, 16, 17, 33, 1000])
def test_a_table_has_what_was_put_into_it(n: int) -> None:
    assert list(read_table(write_table(entries(n)), "t")) == entries(n)


def test_an_empty_table_is_one() -> None:
    assert list(read_table(write_table([]), "t")) == []


def test_a_table_ends_as_leveldb_says() -> None:
    assert write_table(entries(3))[-8:] == bytes.fromhex("57fb808b247547db")
    assert MAGIC == 0xDB4775248B80FB57


def test_every_changed_bit_of_a_block_is_told() -> None:
    whole = write_table(entries(40))
    dice = random.Random(1)
    for place in dice.sample(range(len(whole) - 48), 200):
        changed = bytearray(whole)
        changed[place] ^= 1 << dice.randrange(8)
        # The empty block for facts about the table, which nobody reads, has no entry to lose.
        try:
            found = list(read_table(bytes(changed), "t"))
        except ForeignDamaged:
            continue
        assert found == entries(40)


def test_every_truncation_is_told() -> None:
    whole = write_table(entries(40))
    for length in range(0, len(whole), 7):
        with pytest.raises(ForeignDamaged):
            list(read_table(whole[:length], "t"))


def test_a_compressed_block_is_told() -> None:
    whole = bytearray(write_table(entries(1)))
    at, _ = read_varint(bytes(whole[-48:]), 0)
    # The type is behind the block, in front of its checksum.
    body_end = at - 5
    whole[body_end] = 1
    whole[body_end + 1 : body_end + 5] = masked_checksum(bytes(whole[: body_end + 1]))
    with pytest.raises(ForeignDamaged, match="compressed"):
        list(read_table(bytes(whole), "t"))


@pytest.mark.parametrize("keys", [[b"b", b"a"], [b"a", b"a"]])
def test_keys_out_of_order_are_told(keys: list[bytes]) -> None:
    with pytest.raises(ForeignDamaged, match="not in order"):
        list(read_table(write_table([(key, b"") for key in keys]), "t"))


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**32, 2**63, 2**64 - 1])
def test_numbers_of_any_length(number: int) -> None:
    assert read_varint(varint(number) + b"x", 0) == (number, len(varint(number)))
    with pytest.raises(ValueError, match="does not end"):
        read_varint(b"\x80" * len(varint(number)), 0)


def test_masks_are_those_of_leveldb() -> None:
    # Of "foo", as LevelDB's own tests have it: a mask of a mask is no checksum of anything.
    assert masked(0) == 0xA282EAD8 and masked(1) == 0xA284EAD8


def test_a_checksum_of_zero_is_there() -> None:
    # The size of an index must not depend on the checksums in it.
    lengths = {len(BundleEntry(crc32c=crc).SerializeToString()) for crc in (0, 1, 2**32 - 1)}
    assert len(lengths) == 1


# --- keys ---


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("w", "w/.ATTRIBUTES/VARIABLE_VALUE"),
        ("a/b.c", "a/b..c/.ATTRIBUTES/VARIABLE_VALUE"),
        ("a/..", "a/..../.ATTRIBUTES/VARIABLE_VALUE"),
        ("v/.OPTIMIZER_SLOT/opt/m", "v/.OPTIMIZER_SLOT/opt/m/.ATTRIBUTES/VARIABLE_VALUE"),
        ("table/.ATTRIBUTES/keys", "table/.ATTRIBUTES/keys"),
    ],
)
def test_names_and_keys(name: str, key: str) -> None:
    assert key_of(name) == key
    assert name_of(key) == name


def test_other_keys_are_names() -> None:
    assert name_of("dense/kernel") == "dense/kernel"
    # With a slash in a part of the way the name is the key, which is what it goes back to.
    key = "a.Sb/.ATTRIBUTES/VARIABLE_VALUE"
    assert name_of(key) == key == key_of(name_of(key))
    assert local_name("a.Sb..c") == "a/b.c"


def test_keys_of_parts_are_ordered_codes() -> None:
    # By the rules of ordered codes: 0 as a number; a text with 0 and 255 paired, and its end; the
    # number of dimensions; signed numbers.
    assert slice_key("w", [(0, -1), (3, 64)]) == bytes.fromhex("00 77 0001 0102 80 7f 83 c040")
    assert slice_key("\0\udcff", []) == bytes.fromhex("00 00ff ff00 0001 00")
    keys = [slice_key("w", [(n, 1)]) for n in (0, 1, 63, 64, 8191, 8192, 10**6, 2**40)]
    assert keys == sorted(keys)


# --- texts, graphs ---


def test_texts_are_split_as_they_were_joined() -> None:
    texts = [b"", b"a" * 300, b"\xff\0"]
    head, summed = strings.head_of([len(t) for t in texts])
    data = b"".join(texts)
    assert strings.split(head + data, 3) == (texts, summed + data)
    far = varint((1 << 69) + 1)
    for wrong in (head + data + b"x", head + data[:-1], b"\x80", head[:-1] + b"?" + data, far * 3):
        with pytest.raises(ValueError):
            strings.split(wrong, 3)


def test_a_graph_leads_to_every_key() -> None:
    keys = [key_of(n) for n in ("net/a", "net/b.c", "net/a/.OPTIMIZER_SLOT/opt/m", "opt/rate")]
    graph = graph_of(keys)
    assert keys_of(graph) == set(keys) and speaks_of(graph, keys)
    assert not speaks_of(graph, keys[1:]) and not speaks_of(b"\xff", keys)
    nodes = ObjectGraph.FromString(graph).nodes
    names = {child.local_name for node in nodes for child in node.children}
    assert names == {"net", "a", "b.c", "opt", "rate"}
    [slot] = [slot for node in nodes for slot in node.slot_variables]
    assert slot.slot_name == "m"
    assert nodes[slot.original_variable_node_id].attributes[0].checkpoint_key == keys[0]
