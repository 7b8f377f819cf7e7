"""A reader of stores made from docs/spec/v1.md alone: it shares not a line with holdfast.

It has the standard library, the digests, the ciphers and Zstandard, and says what is in a store
as plain JSON. That it reads what holdfast writes, and refuses what holdfast refuses, is the proof
that the specification is enough to get at one's data.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import xxhash
import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Refused(Exception):
    """The store holds something that a reader must refuse."""


def refuse_unless(condition: object, why: str) -> None:
    if not condition:
        raise Refused(why)


# --- section 3: envelopes ---


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


@dataclass
class Envelope:
    payload: dict[str, Any]
    body: bytes
    message: bytes
    signatures: dict[str, bytes]


def unwrap(data: bytes, payload_type: str) -> dict[str, Any]:
    opened = open_envelope(data, payload_type)
    refuse_unless(not opened.signatures, "signatures on what nobody signs")
    return opened.payload


def open_envelope(data: bytes, payload_type: str) -> Envelope:
    try:
        outer = json.loads(data)
        body = base64.b64decode(outer["payload"], validate=True)
        payload = json.loads(body)
        kind = payload_type.encode()
        pae = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)
        further = outer["signatures"][1:]
        signatures = {e["keyid"]: base64.b64decode(e["sig"], validate=True) for e in further}
        for key_id, value in signatures.items():
            refuse_unless(re.fullmatch(r"[a-z0-9-]{1,32}:[0-9a-f]{64}", key_id), "no key id")
            refuse_unless(value, "an empty signature")
        refuse_unless(len(further) <= 64, "too many signatures")
        entries = [
            {"keyid": key_id, "sig": base64.b64encode(signatures[key_id]).decode()}
            for key_id in sorted(signatures)
        ]
        covered = pae + (canonical(entries) if entries else b"")
        seal = {"keyid": "blake3", "sig": base64.b64encode(blake3(covered).digest()).decode()}
        envelope = {
            "payload": base64.b64encode(body).decode(),
            "payloadType": payload_type,
            "signatures": [seal, *entries],
        }
        refuse_unless(canonical(envelope) == data, "the envelope is damaged")
        refuse_unless(canonical(payload) == body, "the payload is not canonical")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(f"no envelope: {error}") from error
    refuse_unless(isinstance(payload, dict), "the payload is no object")
    return Envelope(payload, body, pae, signatures)


def signed_by(envelope: Envelope, public_keys: Sequence[bytes]) -> list[str]:
    """Return the ids of the keys that have signed an envelope, of those that are known."""
    found = []
    for key in public_keys:
        der = bytes.fromhex("302a300506032b6570032100") + key
        key_id = f"ed25519:{hashlib.sha256(der).hexdigest()}"
        if key_id in envelope.signatures:
            try:
                value = envelope.signatures[key_id]
                Ed25519PublicKey.from_public_bytes(key).verify(value, envelope.message)
            except InvalidSignature:
                continue
            found.append(key_id)
    return sorted(found)


# --- section 7: Protocol Buffers, as far as they are needed ---


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        refuse_unless(at < len(data) and shift < 70, "a number is cut short")
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value & (2**64 - 1), at


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value: int | bytes
            value, at = varint(data, at)
        elif wire == 2:
            length, at = varint(data, at)
            refuse_unless(at + length <= len(data), "a field is cut short")
            value, at = data[at : at + length], at + length
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            refuse_unless(at + size <= len(data), "a field is cut short")
            value, at = data[at : at + size], at + size
        else:
            raise Refused(f"wire type {wire}")
        yield number, value


def message(data: bytes) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for number, value in fields(data):
        found.setdefault(number, []).append(value)
    return found


def numbers(values: list[Any]) -> list[int]:
    out: list[int] = []
    for value in values:
        if isinstance(value, int):
            out.append(value)
            continue
        at = 0
        while at < len(value):
            number, at = varint(value, at)
            out.append(number)
    return out


def signed(values: list[Any]) -> list[int]:
    return [(n >> 1) ^ -(n & 1) for n in numbers(values)]


def doubles(values: list[Any]) -> list[float]:
    data = b"".join(values)
    refuse_unless(len(data) % 8 == 0, "a float is cut short")
    return list(struct.unpack(f"<{len(data) // 8}d", data))


# --- section 7.2: the tree ---

DICT, ORDERED_DICT, LIST, TUPLE, NAMED_TUPLE, DATACLASS, STATEFUL, CUSTOM = range(1, 9)
ARRAY, ALIAS, OMITTED = 20, 21, 22
KINDS = {
    30: "none",
    31: "false",
    32: "true",
    33: "int",
    34: "big int",
    35: "float",
    36: "complex",
    37: "str",
    38: "bytes",
    39: "datetime",
    40: "path",
    41: "enum",
    42: "scalar",
}
CONTAINERS = {
    DICT: "dict",
    ORDERED_DICT: "ordered dict",
    LIST: "list",
    TUPLE: "tuple",
    NAMED_TUPLE: "named tuple",
    DATACLASS: "dataclass",
    STATEFUL: "stateful",
    CUSTOM: "custom",
}
KEYED = {DICT, ORDERED_DICT, NAMED_TUPLE, DATACLASS}
WRAPPED = {STATEFUL, CUSTOM}
TYPED = {NAMED_TUPLE, DATACLASS, STATEFUL, CUSTOM, 41}
BLOBS = {34, 37, 38, 39, 40, 41, 42}


@dataclass
class Row:
    """One line of the description of a checkpoint: a node, as plain JSON."""

    path: str
    kind: str
    facts: dict[str, Any] = field(default_factory=dict)


class TreeReader:
    def __init__(self, data: bytes, arrays: list[dict[str, Any]]) -> None:
        found = message(data)
        self.kinds = iter(numbers(found.get(1, [])))
        self.children = iter(numbers(found.get(2, [])))
        keys = found.get(3, [])
        key_kinds = numbers(found.get(4, [])) or [0] * len(keys)
        refuse_unless(len(key_kinds) == len(keys), "as many key kinds as keys")
        self.keys = iter(list(zip(key_kinds, keys, strict=True)))
        self.types = iter([text(name) for name in found.get(5, [])])
        self.ints = iter(signed(found.get(6, [])))
        self.floats = iter(doubles(found.get(7, [])))
        self.blobs = iter(found.get(8, []))
        self.refs = iter(numbers(found.get(9, [])))
        self.arrays = arrays
        self.paths: list[str] = []
        self.rows: list[Row] = []

    def read(self) -> list[Row]:
        try:
            self.node("", 0)
        except StopIteration as error:
            raise Refused("a column is too short") from error
        columns = (
            self.kinds,
            self.children,
            self.keys,
            self.types,
            self.ints,
            self.floats,
            self.blobs,
            self.refs,
        )
        refuse_unless(all(next(c, None) is None for c in columns), "a column is too long")
        refuse_unless(len(self.paths) == len(self.arrays), "arrays that no node names")
        refuse_unless(self.rows[0].kind in ("dict", "ordered dict"), "the root is no mapping")
        return self.rows

    def node(self, path: str, depth: int, parent: int = 0) -> None:
        refuse_unless(depth <= 200, "too deep")
        kind = next(self.kinds)
        facts = {"type": next(self.types)} if kind in TYPED else {}
        if kind in CONTAINERS:
            count = next(self.children)
            row = Row(path, CONTAINERS[kind], {**facts, "children": count})
            self.rows.append(row)
            self.below(row, kind, count, path, depth)
        elif kind == ARRAY:
            facts = self.arrays[len(self.paths)] if len(self.paths) < len(self.arrays) else {}
            refuse_unless(facts, "an array without a row")
            self.paths.append(path)
            self.rows.append(Row(path, "array", dict(facts)))
        elif kind == ALIAS:
            ref = next(self.refs)
            refuse_unless(ref < len(self.paths), "an alias before its array")
            self.rows.append(Row(path, "alias", {"of": self.paths[ref]}))
        elif kind == OMITTED:
            refuse_unless(parent in (LIST, TUPLE), "an omitted node outside of a sequence")
            self.rows.append(Row(path, "omitted"))
        else:
            refuse_unless(kind in KINDS, f"node kind {kind}")
            self.rows.append(Row(path, KINDS[kind], {**facts, **self.value(kind)}))

    def below(self, row: Row, kind: int, count: int, path: str, depth: int) -> None:
        if kind in WRAPPED:
            refuse_unless(count == 1, "a wrapped value has one child")
            self.node(path, depth + 1, kind)
        elif kind in KEYED:
            keys = row.facts["keys"] = []
            for _ in range(count):
                key_kind, data = next(self.keys)
                keys.append([key_kind, text(data)])
                refuse_unless(keys.count(keys[-1]) == 1, "a key twice")
                refuse_unless(kind not in (NAMED_TUPLE, DATACLASS) or key_kind == 0, "a field name")
                self.node(join(path, component(key_kind, data)), depth + 1, kind)
        else:
            for i in range(count):
                self.node(join(path, str(i)), depth + 1, kind)

    def value(self, kind: int) -> dict[str, Any]:
        if kind == 33:
            return {"value": str(next(self.ints))}
        if kind == 35:
            return {"value": next(self.floats).hex()}
        if kind == 36:
            return {"value": [next(self.floats).hex(), next(self.floats).hex()]}
        if kind not in BLOBS:
            return {}
        blob = next(self.blobs)
        if kind == 34:
            return {"value": str(int.from_bytes(blob, "little", signed=True))}
        if kind == 38:
            return {"value": blob.hex()}
        if kind == 42:
            dtype, nul, data = blob.partition(b"\0")
            size = len(data) if dtype in (b"str", b"bytes") else itemsize(text(dtype))
            refuse_unless(nul and len(data) == size, "a scalar of another size")
            return {"dtype": text(dtype), "value": data.hex()}
        value = text(blob)
        refuse_unless(kind != 39 or DATETIME.fullmatch(value), "no date and time")
        return {"value": value}


DATETIME = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?([+-]\d\d:\d\d(:\d\d(\.\d{6})?)?)?(\[[^\]~]+\])?~?"
)


def text(data: bytes) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise Refused("no UTF-8") from error


def component(kind: int, data: bytes) -> str:
    """Return what a key is called in a path."""
    word = text(data)
    if kind == 0:
        return word
    if kind == 1:
        refuse_unless(re.fullmatch(r"0|-?[1-9]\d*", word), "no integer key")
        return word
    if kind == 2:
        refuse_unless(word in ("0", "1"), "no boolean key")
        return "True" if word == "1" else "False"
    if kind == 3:
        refuse_unless(word == "", "no null key")
        return "None"
    refuse_unless(kind == 4, f"key kind {kind}")
    try:
        return repr(float.fromhex(word))
    except ValueError as error:
        raise Refused("no float key") from error


def join(path: str, name: str) -> str:
    name = name.replace("~", "~0").replace("/", "~1")
    return f"{path}/{name}" if path else name


# --- sections 7.3 and 7.4: arrays, chunks, packs ---

SIZES = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "float8_e4m3fn": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2": 1,
    "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "bfloat16": 2,
    "int32": 4,
    "uint32": 4,
    "float32": 4,
    "complex32": 4,
    "int64": 8,
    "uint64": 8,
    "float64": 8,
    "complex64": 8,
    "complex128": 16,
}
SIMPLE = re.compile(r"[<>|=]([?bBiufcSVUmM])(\d+)(\[.*\])?")


def itemsize(name: str) -> int:
    if name in SIZES:
        return SIZES[name]
    refuse_unless(name.startswith("np:"), f"unknown dtype {name}")
    return descr_size(json.loads(name[3:]) if name.startswith("np:[") else name[3:])


def descr_size(descr: Any) -> int:
    if isinstance(descr, str):
        found = SIMPLE.fullmatch(descr)
        refuse_unless(found, f"unknown dtype {descr}")
        assert found
        return int(found[2]) * (4 if found[1] == "U" else 1)
    return sum(descr_size(f[1]) * prod(f[2] if len(f) > 2 else ()) for f in descr)


def out_of_planes(stored: bytes, length: int) -> bytes:
    """Section 16: a chunk in planes, made one again."""
    refuse_unless(len(stored) >= 4, "no planes")
    width, turned = stored[:2]
    refuse_unless(width in (1, 2, 4, 8) and turned <= (width > 1), "planes of another kind")
    count = length // width
    blocks = [min(131_072, count - begin) for begin in range(0, count, 131_072)]
    at = 4 + 4 * width * len(blocks)
    refuse_unless(at <= len(stored), "a table of planes that is cut short")
    lengths = struct.unpack(f"<{width * len(blocks)}I", stored[4:at])
    out = b""
    for number, elements in enumerate(blocks):
        planes = []
        for size in lengths[number * width : (number + 1) * width]:
            refuse_unless(size <= elements and at + size <= len(stored), "a plane too long")
            planes.append(plane(stored[at : at + size], elements))
            at += size
        whole = b"".join(bytes(element) for element in zip(*planes, strict=True))
        out += turned_back(whole, width) if turned else whole
    rest = length - count * width
    refuse_unless(at + rest <= len(stored), "a rest that is cut short")
    return out + stored[at : at + rest]


def plane(data: bytes, elements: int) -> bytes:
    if len(data) == elements:
        return data
    try:
        refuse_unless(zstandard.frame_content_size(data) == elements, "a plane of another length")
        return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Refused(f"no frame: {error}") from error


def turned_back(data: bytes, width: int) -> bytes:
    kind = {2: "H", 4: "I", 8: "Q"}[width]
    numbers = struct.unpack(f"<{len(data) // width}{kind}", data)
    return struct.pack(
        f"<{len(numbers)}{kind}", *(n >> 1 | (n & 1) << (8 * width - 1) for n in numbers)
    )


class Part:
    def __init__(self, store: Plain, data: bytes, run_root: str) -> None:
        found = message(data)
        self.store, self.run_root = store, run_root
        self.format = number(found, 1)
        if self.format not in (1, 2, 3):
            raise Refused(f"too new: format {self.format}")
        self.run, self.step = text(one(found, 2, b"")), number(found, 3)
        self.checkpoint_id = one(found, 4, b"").hex()
        self.rank, self.world_size = number(found, 5), number(found, 6)
        self.packs = [
            (text(one(pack, 1, b"")), number(pack, 2)) for pack in map(message, found.get(13, []))
        ]
        self.chunks = self.read_chunks(message(one(found, 12, b"")))
        self.contents: list[bytes] = []
        self.arrays = [
            self.read_array(*row) for row in self.array_rows(message(one(found, 11, b"")))
        ]
        self.boxes: list[tuple[int, list[int]]] = []
        if self.format == 3:
            self.plan, self.shared = one(found, 7, b""), one(found, 15, b"")
            refuse_unless(14 in found and len(self.plan) == 32, "no boxes, or no digest")
            refuse_unless(bool(self.shared) == (self.rank == 0), "a tree of all in another part")
            self.read_boxes(message(one(found, 14, b"")))
        else:
            refuse_unless(not {7, 14, 15, 16} & found.keys(), "boxes in a part of another format")
        self.rows = TreeReader(one(found, 10, b""), self.arrays[len(self.boxes) :]).read()

    def read_boxes(self, table: dict[int, list[Any]]) -> None:
        owners, at = numbers(table.get(1, [])), numbers(table.get(2, []))
        refuse_unless(owners == sorted(owners) and len(owners) <= len(self.arrays), "boxes")
        for owner, row in zip(owners, self.arrays, strict=False):
            n = len(row["shape"])
            refuse_unless(len(at) >= n, "a box without an offset")
            self.boxes.append((owner, at[:n]))
            at = at[n:]
        refuse_unless(not at, "an offset without a box")

    def read_chunks(self, table: dict[int, list[Any]]) -> list[bytes]:
        digests, checks = one(table, 1, b""), one(table, 2, b"")
        lengths, packs, offsets = (numbers(table.get(n, [])) for n in (3, 4, 5))
        n = len(lengths)
        codecs, sizes, bases = (numbers(table.get(n, [])) for n in (6, 7, 8))
        refuse_unless(self.format != 1 or not codecs + sizes + bases, "codecs in format 1")
        if self.format == 1 or (self.format == 3 and not codecs + sizes + bases):
            codecs, sizes = [0] * n, lengths
        refuse_unless(len(packs) == len(offsets) == n, "columns of chunks differ")
        refuse_unless(len(codecs) == len(sizes) == n, "columns of chunks differ")
        too_new_unless(all(codec in (0, 1, 2) for codec in codecs), "a codec")
        refuse_unless(len(digests) == 32 * n and len(checks) == 16 * n, "digests are missing")
        refuse_unless(len(bases) == codecs.count(2), "as many bases as deltas")
        blocks = self.block_checks(table, lengths)
        base_of = dict(zip((i for i in range(n) if codecs[i] == 2), bases, strict=True))
        for i, base in base_of.items():
            refuse_unless(base < n and codecs[base] != 2, "a base that is not there, or a delta")
            refuse_unless(lengths[base] == lengths[i], "a base of another length")
        out = [b""] * n
        # Deltas last: what they are differences from must be there.
        for i in sorted(range(n), key=lambda i: codecs[i] == 2):
            length, pack, offset = lengths[i], packs[i], offsets[i]
            stored = sizes[i]
            refuse_unless(not (codecs[i] and blocks[i][0]), "blocks of a chunk in a codec")
            if codecs[i]:
                refuse_unless(0 < stored < length <= 2**28, "nothing is gained by a codec")
            else:
                refuse_unless(stored == length, "a chunk with two lengths")
            refuse_unless(pack < len(self.packs), "a pack that is not there")
            key, size = self.packs[pack]
            refuse_unless(length and offset % 4096 == 0, "an empty or unaligned chunk")
            refuse_unless(offset + stored <= size, "a chunk beyond its pack")
            refuse_unless(inside(key, f"{self.run_root}packs/"), "a pack of another run")
            name = digests[32 * i : 32 * i + 32]
            data = self.store.chunk(key, offset, stored, name)
            if codecs[i]:
                data = out_of_planes(data, length)
            if i in base_of:
                data = bytes(a ^ b for a, b in zip(data, out[base_of[i]], strict=True))
            refuse_unless(self.store.digest(data) == name, "a damaged chunk")
            refuse_unless(
                xxhash.xxh3_128(data).digest() == checks[16 * i : 16 * i + 16], "a wrong checksum"
            )
            size, expected = blocks[i]
            for at in range(0, length if size else 0, size or 1):
                found = xxhash.xxh3_128(data[at : at + size]).digest()
                number = at // size
                refuse_unless(found == expected[16 * number : 16 * number + 16], "a damaged block")
            out[i] = data
        return out

    def block_checks(
        self, table: dict[int, list[Any]], lengths: list[int]
    ) -> list[tuple[int, bytes]]:
        """Return the size of each chunk's blocks, 0 for none, and their checksums."""
        sizes, checks = numbers(table.get(9, [])) or [0] * len(lengths), one(table, 10, b"")
        refuse_unless(len(sizes) == len(lengths), "columns of chunks differ")
        found, at = [], 0
        for size, length in zip(sizes, lengths, strict=True):
            is_power = size >= 4096 and bin(size).count("1") == 1
            refuse_unless(size == 0 or is_power, "blocks of another size")
            n = -(-length // size) * 16 if size else 0
            found.append((size, checks[at : at + n]))
            at += n
        refuse_unless(at == len(checks), "as many checksums as blocks")
        # Those of an encrypted store are passed over.
        return [(0, b"")] * len(found) if self.store.is_sealed else found

    def array_rows(self, table: dict[int, list[Any]]) -> Iterator[tuple[str, list[int], int, int]]:
        types = [text(name) for name in table.get(1, [])]
        index, ndims, dims, chunks, offsets = (numbers(table.get(n, [])) for n in range(2, 7))
        n = len(index)
        refuse_unless(len(ndims) == len(chunks) == len(offsets) == n, "columns of arrays differ")
        # Signed numbers are zigzag: 0, -1, 1, -2 and so on.
        bad = [code >> 1 ^ -(code & 1) for code in numbers(table.get(7, []))]
        refuse_unless(len(bad) in (0, n), "columns of arrays differ")
        self.not_finite = bad or [-1] * n
        refuse_unless(sum(ndims) == len(dims), "the shapes do not add up")
        at = 0
        for i in range(n):
            refuse_unless(index[i] < len(types), "a type that is not there")
            refuse_unless(ndims[i] <= 64, "too many dimensions")
            n_elems = prod(dims[at : at + ndims[i]])
            refuse_unless(-1 <= self.not_finite[i] <= n_elems, "more than all are not finite")
            yield types[index[i]], dims[at : at + ndims[i]], chunks[i], offsets[i]
            at += ndims[i]

    def read_array(self, kind: str, shape: list[int], chunk: int, offset: int) -> dict[str, Any]:
        framework, colon, name = kind.partition(":")
        refuse_unless(framework and colon, "no framework")
        dtype, cast_from = element_type(name)
        refuse_unless(all(n < 2**63 for n in shape), "a dimension beyond all bounds")
        nbytes = prod(shape) * itemsize(dtype)
        data = b""
        if nbytes == 0:
            refuse_unless((chunk, offset) == (0, 0), "nothing lies somewhere")
        else:
            refuse_unless(chunk < len(self.chunks), "a chunk that is not there")
            first = self.chunks[chunk]
            refuse_unless(offset < len(first), "an array beyond its chunk")
            refuse_unless(offset == 0 or offset + nbytes <= len(first), "it spans, but not from 0")
            data, chunk = first[offset:], chunk + 1
            while len(data) < nbytes:
                refuse_unless(chunk < len(self.chunks), "an array beyond the chunks")
                data, chunk = data + self.chunks[chunk], chunk + 1
            data = data[:nbytes]
        self.contents.append(data)
        found = {
            "framework": framework,
            "dtype": dtype,
            "shape": shape,
            "blake3": blake3(data).hexdigest(),
        }
        return found | ({"cast_from": cast_from} if cast_from else {})


def element_type(name: str) -> tuple[str, str]:
    """Return as what elements are stored, and what they were where that is said."""
    dtype, mark, cast_from = (name, "", "") if name.startswith("np:") else name.partition("<")
    allowed = {"float32": ["bfloat16", "float16"], "float64": ["float32", "bfloat16", "float16"]}
    refuse_unless(not mark or dtype in allowed.get(cast_from, []), "no such cast")
    return dtype, cast_from


# --- section 7.3.1: several ranks ---


def whole(parts: list[Part]) -> tuple[list[Row], list[int]]:
    """Return the nodes of a checkpoint, and how many elements of its arrays are not finite."""
    first = parts[0]
    if first.format != 3:
        refuse_unless(len(parts) == 1, "whole trees side by side are not read here")
        return first.rows, first.not_finite
    for part in parts:
        refuse_unless(part.format == 3 and part.plan == first.plan, "parts of other states")
        own = [row.path for row in part.rows if row.path and "/" not in row.path]
        refuse_unless(own == [str(i) for i in range(len(own))], "names of a rank's own values")
    refuse_unless(blake3(first.shared).digest() == first.plan, "the digest of what all agree on")
    return Joining(parts).run()


class Joining:
    """What all agree on, with the boxes of all ranks and the own values of rank 0."""

    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts
        self.nodes = iter(TreeReader(parts[0].shared, []).read())
        self.rows: list[Row] = []
        self.not_finite: list[int] = []
        self.arrays: list[str] = []
        self.n_own = 0

    def run(self) -> tuple[list[Row], list[int]]:
        for row in self.nodes:
            kind = row.facts.get("type") if row.kind == "custom" else None
            if kind == "holdfast:part-of":
                self.array(row.path)
            elif kind == "holdfast:same-as":
                number = int(next(self.nodes).facts["value"])
                refuse_unless(0 <= number < len(self.arrays), "the same as what did not come")
                self.rows.append(Row(row.path, "alias", {"of": self.arrays[number]}))
            elif kind == "holdfast:per-rank":
                next(self.nodes)
                self.own(row.path)
            else:
                self.rows.append(row)
        for part in self.parts:
            owned = sum("/" not in row.path for row in part.rows[1:])
            refuse_unless(owned == self.n_own, "another number of own values")
            refuse_unless(all(n < len(self.arrays) for n, _ in part.boxes), "an array too many")
        return self.rows, self.not_finite

    def array(self, path: str) -> None:
        content = next(self.nodes)
        refuse_unless(content.kind == "tuple" and content.facts["children"] in (1, 2), "no header")
        name, nul, packed = bytes.fromhex(next(self.nodes).facts["value"]).partition(b"\0")
        if content.facts["children"] == 2:
            next(self.nodes)
        ndim, *shape = struct.unpack(f"<{len(packed) // 8}q", packed)
        refuse_unless(nul and ndim == len(shape) and min(shape, default=0) >= 0, "a header")
        framework, _, dtype = text(name).partition(":")
        size, counts = itemsize(dtype), []
        data, covered = bytearray(prod(shape) * size), bytearray(prod(shape))
        for part in self.parts:
            for i, (owner, at) in enumerate(part.boxes):
                if owner == len(self.arrays):
                    row, counts = part.arrays[i], [*counts, part.not_finite[i]]
                    refuse_unless((row["framework"], row["dtype"]) == (framework, dtype), "a type")
                    put(data, covered, shape, size, at, row["shape"], part.contents[i])
        refuse_unless(all(n == 1 for n in covered), "elements in no box")
        self.arrays.append(path)
        looked = counts and -1 not in counts
        self.not_finite.append(sum(counts) if looked else -1)
        facts = {"framework": framework, "dtype": dtype, "shape": shape}
        self.rows.append(Row(path, "array", facts | {"blake3": blake3(bytes(data)).hexdigest()}))

    def own(self, path: str) -> None:
        """Add the next own value of rank 0, which has its number for a path."""
        part, name = self.parts[0], str(self.n_own)
        self.n_own += 1
        before = self.own_arrays(int(name))
        for row in part.rows[1:]:
            if row.path == name or row.path.startswith(f"{name}/"):
                facts = dict(row.facts)
                if row.kind == "alias":
                    facts["of"] = path + facts["of"][len(name) :]
                if row.kind == "array":
                    self.not_finite.append(part.not_finite[len(part.boxes) + before])
                    before += 1
                self.rows.append(Row(path + row.path[len(name) :], row.kind, facts))

    def own_arrays(self, number: int) -> int:
        """Return how many arrays come in rank 0's own values before one of them."""
        rows = [row for row in self.parts[0].rows[1:] if row.kind == "array"]
        return sum(int(row.path.partition("/")[0]) < number for row in rows)


def put(
    data: bytearray,
    covered: bytearray,
    shape: list[int],
    size: int,
    at: list[int],
    box: list[int],
    content: bytes,
) -> None:
    """Put a box where it belongs, element by element."""
    refuse_unless(len(at) == len(box) == len(shape), "a box of another number of dims")
    refuse_unless(all(a + n <= m for a, n, m in zip(at, box, shape, strict=True)), "it sticks out")
    for element, index in enumerate(product(*map(range, box))):
        place = 0
        for a, i, m in zip(at, index, shape, strict=True):
            place = place * m + a + i
        refuse_unless(not covered[place], "an element in two boxes")
        covered[place] = 1
        data[place * size : (place + 1) * size] = content[element * size : (element + 1) * size]


def one(found: dict[int, list[Any]], number: int, default: Any) -> Any:
    return found.get(number, [default])[-1]


def number(found: dict[int, list[Any]], field_number: int) -> int:
    value = one(found, field_number, 0)
    refuse_unless(isinstance(value, int), "not a number")
    return int(value)


# --- sections 2, 4, 5 and 6: keys, marker, commits, tags ---


def inside(key: str, prefix: str) -> bool:
    return key.startswith(prefix) and "/" not in key[len(prefix) :] and key[len(prefix) :] != ""


class Plain:
    """A store as it lies in a folder."""

    is_sealed = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> bytes:
        path = self.folder / key
        refuse_unless(path.is_file(), f"{key} is missing")
        return path.read_bytes()

    def listed(self, folder: str) -> list[str]:
        """Return the names right below a folder, without those of scratch files."""
        path = self.folder / folder
        names = sorted(p.name for p in path.iterdir()) if path.is_dir() else []
        return [name for name in names if not name.startswith(".tmp-")]

    def digest(self, chunk: bytes) -> bytes:
        return blake3(chunk).digest()

    def chunk(self, key: str, offset: int, length: int, name: bytes) -> bytes:
        return self.get(key)[offset : offset + length]


def too_new_unless(condition: object, why: str) -> None:
    refuse_unless(condition, f"too new: {why}")


def read_commit(store: Plain, run: str, seq: int, public_keys: Sequence[bytes]) -> dict[str, Any]:
    """Return the description of a checkpoint: its record, and every node of its tree."""
    root = f"runs/{quoted(run)}/"
    data = store.get(f"{root}commits/{seq:012d}")
    opened = open_envelope(data, "application/vnd.in-toto+json")
    statement = opened.payload
    try:
        predicate = statement["predicate"]
        format = predicate["format"]
        too_new_unless(format in (1, 2, 3) and format is not True, "format")
        kind = f"https://holdfast.dev/checkpoint/v{format}"
        too_new_unless(statement["predicateType"] == kind, "predicate")
        refuse_unless(
            statement["_type"] == "https://in-toto.io/Statement/v1", "not an in-toto statement"
        )
        refuse_unless((predicate["run"], predicate["seq"]) == (run, seq), "another's record")
        refuse_unless(re.fullmatch(r"[0-9a-f]{32}", predicate["id"]), "no id")
        for name in ("step", "seq", "created_ns", "state_bytes", "stored_bytes", "n_leaves"):
            value = predicate[name]
            refuse_unless(type(value) is int and 0 <= value < 2**63, f"{name} is no count")
        metrics = {name: metric(value) for name, value in predicate["metrics"].items()}
        previous = predicate["previous"]
        if previous is not None:
            number_before = previous["seq"]
            refuse_unless(type(number_before) is int and 0 <= number_before < seq, "previous")
            refuse_unless(re.fullmatch(r"[0-9a-f]{64}", previous["blake3"]), "no digest")
            previous = {"seq": number_before, "blake3": previous["blake3"]}
        check_lineage(predicate["lineage"])
        refuse_unless(math.isfinite(float.fromhex(metric(predicate.get("epoch", 0)))), "epoch")
        refuse_unless(type(predicate["names"]) is list, "names are no list")
        refuse_unless(all(type(name) is str for name in predicate["names"]), "a name is no text")
        not_finite = predicate.get("not_finite", 0)
        refuse_unless(type(not_finite) is int and not_finite >= 0, "not_finite is no count")
        subjects, parts = statement["subject"], predicate["parts"]
        world = predicate["world_size"]
        refuse_unless(len(subjects) == len(parts) == world > 0, "as many parts as ranks")
        refuse_unless([p["rank"] for p in parts] == list(range(world)), "ranks")
        found_parts: list[Part] = []
        for subject, extra in zip(subjects, parts, strict=True):
            refuse_unless(inside(subject["name"], f"{root}parts/"), "a part of another run")
            data = store.get(subject["name"])
            refuse_unless(len(data) == extra["length"], "a part of another length")
            refuse_unless(blake3(data).hexdigest() == subject["digest"]["blake3"], "a damaged part")
            part = Part(store, data, root)
            found = (part.run, part.step, part.checkpoint_id, part.rank, part.world_size)
            wanted = (run, predicate["step"], predicate["id"], extra["rank"], world)
            refuse_unless(found == wanted, "the part of another checkpoint")
            found_parts.append(part)
        rows, bad = whole(found_parts)
        nodes = [[row.path, row.kind, row.facts] for row in rows]
    except (KeyError, TypeError, AttributeError) as error:
        raise Refused(f"malformed: {error!r}") from error
    names = ("step", "seq", "id", "parent", "reason", "created_ns", "state_bytes")
    more = ("stored_bytes", "n_leaves", "lineage", "names")
    record = {name: predicate[name] for name in names + more}
    proof = {"previous": previous, "signed_by": signed_by(opened, public_keys)}
    proof |= {"not_finite": [predicate.get("not_finite"), bad]}
    return {"run": run, **record, **proof, "metrics": metrics, "nodes": nodes}


def check_lineage(lineage: dict[str, Any]) -> None:
    refuse_unless(type(lineage["config"]) in (dict, type(None)), "the configuration is no object")
    refuse_unless(type(lineage["dataset"]) in (str, type(None)), "the fingerprint is no text")
    for origin in (lineage["resumed_from"], lineage["forked_from"], lineage.get("base")):
        if origin is not None:
            refuse_unless(re.fullmatch(r"[0-9a-f]{32}", origin["id"]), "no id")
            refuse_unless(type(origin["step"]) is int and 0 <= origin["step"] < 2**63, "no step")
            refuse_unless(type(origin["run"]) is str, "no run")
            store = origin["store"]
            refuse_unless(store is None or re.fullmatch(r"[0-9a-f]{32}", store), "no store")


def metric(value: object) -> str:
    if isinstance(value, str):
        refuse_unless(value in ("nan", "inf", "-inf"), "no metric")
        return value
    refuse_unless(isinstance(value, int | float) and not isinstance(value, bool), "no metric")
    try:
        return float(value).hex()  # type: ignore[arg-type]
    except OverflowError as error:
        raise Refused("a metric beyond all bounds") from error


SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~ +=,()[]!")


def quoted(name: str) -> str:
    word = "".join(chr(b) if b in SAFE else f"%{b:02X}" for b in name.encode())
    return f"%2E{word[1:]}" if word.startswith(".") else word


def unquoted(word: str) -> str:
    data = re.sub(rb"%([0-9A-F]{2})", lambda m: bytes([int(m[1], 16)]), word.encode())
    return text(data)


def describe(folder: Path, secret: str = "", public_keys: Sequence[bytes] = ()) -> dict[str, Any]:
    """Return everything that a store holds, as plain JSON, and which keys have signed what.

    Args:
        folder: The store.
        secret: What opens it if it is encrypted: an identity or a passphrase.
        public_keys: Keys whose signatures are looked for.
    """
    store = Plain(folder)
    payload = unwrap(store.get("holdfast.json"), "application/vnd.holdfast.store+json")
    too_new_unless(payload.get("format") == 1 and payload["format"] is not True, "format")
    if "keyring" in payload:
        from sealed_reader import Sealed

        store = Sealed(folder, payload["keyring"], secret)
    checkpoints, tags, names, notes = [], [], [], []
    for word in store.listed("runs"):
        run = unquoted(word)
        refuse_unless(quoted(run) == word, "a folder that is no run's")
        for name in store.listed(f"runs/{word}/commits"):
            checkpoints.append(read_commit(store, run, int(name), public_keys))
        for name in store.listed(f"runs/{word}/tags"):
            data = store.get(f"runs/{word}/tags/{name}")
            tag = unwrap(data, "application/vnd.holdfast.tag+json")
            refuse_unless((tag["run"], tag["tag"]) == (run, unquoted(name)), "another tag's record")
            tags.append([run, tag["tag"], tag["id"]])
        for word_of_name in store.listed(f"runs/{word}/names"):
            data = store.get(f"runs/{word}/names/{word_of_name}")
            named = unwrap(data, "application/vnd.holdfast.name+json")
            found = (named["run"], named["name"])
            refuse_unless(found == (run, unquoted(word_of_name)), "another name's record")
            names.append([run, named["name"], named["id"]])
        for number in store.listed(f"runs/{word}/notes"):
            data = store.get(f"runs/{word}/notes/{number}")
            note = unwrap(data, "application/vnd.holdfast.note+json")
            refuse_unless((note["run"], note["seq"]) == (run, int(number)), "another note")
            notes.append([run, note["id"], note["text"], note["values"]])
    return {
        "format": 1,
        "checkpoints": checkpoints,
        "tags": tags,
        "names": names,
        "notes": notes,
    }
