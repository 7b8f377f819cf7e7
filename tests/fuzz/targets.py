"""What is fuzzed: each parser of bytes from outside, and what must hold whatever it is given.

Only errors that holdfast documents come out; what is accepted means the same when it is written
again, and has the same bytes where the format has one form only. ``run.py`` looks for inputs with
these functions, ``test_fuzz.py`` replays what was found.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.chunks.codecs import planes
from holdfast.chunks.codecs.decode import decode
from holdfast.chunks.codecs.entropy import Squeeze
from holdfast.chunks.codecs.errors import Undecodable
from holdfast.convert.npz import npy_header
from holdfast.convert.npz_dtypes import BITS_FIELD, true_dtypes
from holdfast.convert.orbax import metadata as orbax_metadata
from holdfast.convert.registry import format_of
from holdfast.convert.savable import at_root
from holdfast.convert.table_coding import read_varint, varint
from holdfast.convert.tensorflow import table
from holdfast.convert.tensorflow.messages import BundleEntry
from holdfast.convert.tensorflow.reading import BundleReader
from holdfast.convert.zip_plan import Member, extra_field, plan_zip
from holdfast.errors import (
    ForeignDamaged,
    HoldfastError,
    InvalidName,
    ManifestDamaged,
    StoreTooNew,
    UsageError,
)
from holdfast.foreign.arrays import ForeignArray
from holdfast.foreign.checksums import masked_checksum
from holdfast.foreign.formats import read_here
from holdfast.foreign.limits import Limits
from holdfast.format import commit as commit_format
from holdfast.format import dtypes, envelope
from holdfast.format import part as part_format
from holdfast.format.codecs import DELTA, PLANES
from holdfast.format.names import RunKeys, check_run, check_tag, last_component, run_of_component
from holdfast.history.refs import split_ref
from holdfast.policy.text import format_keep, parse_keep
from holdfast.records import journal, marker, pins, removals, tags
from holdfast.security.pickle_files import scan_file
from holdfast.state.flatten import flatten
from holdfast.state.nodes import decode_tree, plain_value
from holdfast.store.local import LocalStore
from holdfast.testing.memory import MemoryStore

TYPE = "application/x"
RUN = "r"
ID = "a" * 32
VECTORS = Path(__file__).parents[1] / "vectors"
GOLDEN = VECTORS / "golden/runs/gpt%2F%CE%B1"


@dataclass(frozen=True, slots=True)
class Target:
    """A parser: a function that feeds it and checks what must hold, and inputs to begin with."""

    check: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]


# --- records ---


def check_envelope(data: bytes) -> None:
    try:
        payload = envelope.unwrap(data, TYPE, what="x")
    except ManifestDamaged:
        return
    assert envelope.wrap(TYPE, payload) == data


def sealed(data: bytes, kind: str) -> bytes | None:
    """Return an envelope around bytes that are the body of one, so that only the body is fuzzed."""
    try:
        payload = json.loads(data)
        return envelope.wrap(kind, payload) if isinstance(payload, dict) else None
    except (ValueError, RecursionError):
        return None


def check_commit(data: bytes) -> None:
    whole = sealed(data, commit_format.PAYLOAD_TYPE)
    if whole is None:
        return
    try:
        record = commit_format.decode(whole, what="x")
    except (ManifestDamaged, StoreTooNew):
        return
    again = commit_format.decode(commit_format.encode(record), what="x")
    assert repr(again) == repr(record)
    assert len(record.parts) == record.world_size


def check_marker(data: bytes) -> None:
    whole = sealed(data, marker.PAYLOAD_TYPE) or data
    store = MemoryStore()
    store.put("holdfast.json", whole)
    try:
        marker.check(store)
    except (ManifestDamaged, StoreTooNew):
        return


def check_tag_record(data: bytes) -> None:
    whole = sealed(data, tags.PAYLOAD_TYPE) or data
    store = MemoryStore()
    store.put(RunKeys(RUN).tag("t"), whole)
    (tag,) = tags.all_tags(store, RUN)
    assert tag.error is not None or isinstance(tag.checkpoint_id, str)


def check_notes(data: bytes) -> None:
    """Pins, announcements and the journal: none is believed, and none stands in the way."""
    store = MemoryStore()
    keys = RunKeys(RUN)
    store.put(keys.pin(ID), data)
    store.put(keys.removal(ID, ID), data)
    store.put(keys.events, data)
    (pin,) = pins.all_pins(store, RUN)
    assert pin.checkpoint_id == ID and all(isinstance(key, str) for key in pin.base_parts)
    removals.clear_stale(store, RUN)
    assert all(isinstance(event, dict) for event in journal.events(store, RUN))


# --- parts and trees ---


def check_part(data: bytes) -> None:
    try:
        part = part_format.decode(data, what="x")
    except (ManifestDamaged, StoreTooNew):
        return
    again = part_format.encode(part)
    assert part_format.encode(part_format.decode(again, what="x")) == again
    try:
        root = decode_tree(part.tree, len(part.arrays), what="x")
    except ManifestDamaged:
        return
    for leaf in root.leaves():
        try:
            plain_value(leaf)
        except HoldfastError:
            continue


def check_planes(data: bytes) -> None:
    """The first two bytes are the length of the chunk, the rest is what is stored of it."""
    length, stored = int.from_bytes(data[:2], "little"), memoryview(data[2:])
    into = memoryview(bytearray(length))
    try:
        pieces = list(decode(PLANES, stored, length, into))
    except Undecodable:
        return
    assert sum(piece.nbytes for piece in pieces) == length
    assert b"".join(map(bytes, decode(PLANES, stored, length, None))) == bytes(into)
    flipped = b"".join(map(bytes, decode(DELTA, stored, length, None, into)))
    assert flipped == bytes(length)


def _planes() -> Iterator[bytes]:
    data = memoryview(np.linspace(-1, 1, 600, dtype=np.float32).tobytes() + b"?")
    for width in planes.WIDTHS:
        for how in Squeeze:
            into = memoryview(bytearray(planes.head_bytes(data.nbytes, width) + data.nbytes))
            nbytes = planes.encode(data, width, width > 1, [how] * width, into)
            yield data.nbytes.to_bytes(2, "little") + bytes(into[:nbytes])


def check_dtype(data: bytes) -> None:
    name = data.decode("utf-8", "replace")
    try:
        size = dtypes.itemsize(name)
        found = dtypes.to_numpy(name)
    except ValueError:
        return
    assert found.itemsize == size and not found.hasobject
    back = dtypes.from_numpy(found)
    assert back is None or dtypes.to_numpy(back) == found


# --- texts ---


def check_names(data: bytes) -> None:
    text = data.decode("utf-8", "surrogatepass") if _is_text(data) else data.decode("latin-1")
    store = LocalStore("/nowhere")
    try:
        keys = RunKeys(check_run(text))
        assert run_of_component(keys.root.split("/")[1]) == text
        inside = store.path(keys.commit(1))
        assert inside.startswith("/nowhere/runs/") and inside.count("/") == 5
        assert last_component(keys.tag(check_tag(text))) == text
    except InvalidName:
        pass
    try:
        run, what = split_ref(text)
        assert f"{run}@{what}" == text
    except InvalidName:
        pass
    with contextlib.suppress(UsageError):
        assert Path(store.path(text)).resolve().is_relative_to("/nowhere")


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def check_policy(data: bytes) -> None:
    try:
        policy = parse_keep(data.decode("utf-8", "replace"))
    except UsageError:
        return
    (text,) = format_keep(policy)
    assert format_keep(parse_keep(text)) == [text]


# --- other people's files ---

_LIMITS = Limits(steps=100_000, values=100_000, floor_bytes=1 << 20, ratio=20)
_FOLDER = tempfile.TemporaryDirectory()


def check_scan(data: bytes) -> None:
    path = Path(_FOLDER.name, "x")
    path.write_bytes(data)
    found = scan_file(path)
    assert found.level in ("safe", "unknown", "dangerous")


def check_foreign(data: bytes) -> None:
    """What is read was called safe, and every array is within the file."""
    path = Path(_FOLDER.name, "x")
    path.write_bytes(data)
    try:
        tree = read_here(str(path), "refuse", _LIMITS)
        read = [array.numpy() for _, array in tree.arrays()]
        assert sum(array.nbytes for array in read) <= _LIMITS.most_array_bytes(len(data))
    except HoldfastError:
        return


def check_import(data: bytes) -> None:
    """What a file is, and what of it is saved, is found out with documented errors only."""
    path = Path(_FOLDER.name, "x")
    path.write_bytes(data)
    try:
        kind = format_of(path)
        root = at_root(read_here(str(path), "keep", _LIMITS).root, [])
        if kind.name == "npz":
            root = true_dtypes(path, root)
        flat = flatten(root)
        assert flat.n_leaves >= len(flat.leaves)
    except HoldfastError:
        return


def check_table(data: bytes) -> None:
    """A table file, and a block whose checksum is right, give keys in order."""
    for whole in (data, _table_of_block(data)):
        try:
            found = list(table.read_table(whole, "x"))
        except ForeignDamaged:
            continue
        keys = [key for key, _ in found]
        assert keys == sorted(set(keys))
        again = table.write_table(found)
        assert list(table.read_table(again, "x")) == found


def _table_of_block(block: bytes) -> bytes:
    """Return a table file of one block, which may be anything, with checksums that are right."""
    body = block + b"\0"
    check = masked_checksum(body)
    rest = table.write_table([(b"\xff" * 9, varint(0) + varint(len(block)))])
    # The block of that table becomes the index, behind the one that is given.
    first = body + check
    index = rest[: read_varint(rest[-table.FOOTER_BYTES :], 0)[0]]
    handle = varint(len(first)) + varint(len(index) - 5)
    footer = (varint(0) + varint(0) + handle).ljust(table.FOOTER_BYTES - 8, b"\0")
    return first + index + footer + table.MAGIC.to_bytes(8, "little")


def check_bundle(data: bytes) -> None:
    """An entry of an index, whatever it says, is read from its data file or refused."""
    prefix = Path(_FOLDER.name, "bundle")
    entries = [(b"", b"\x08\x01"), (b"\0" + data[:8], data[8:]), (b"w", data)]
    Path(f"{prefix}.index").write_bytes(table.write_table(entries))
    Path(f"{prefix}.data-00000-of-00001").write_bytes(bytes(256))
    try:
        tree = BundleReader(prefix).read()
    except HoldfastError:
        return
    for value in tree.values():
        if isinstance(value, ForeignArray):
            assert value.nbytes <= 1 << 40
            with contextlib.suppress(ForeignDamaged):
                value.read(0, memoryview(bytearray(min(value.nbytes, 1 << 16))))


def check_orbax(data: bytes) -> None:
    """What is said of a tree is a tree of mappings and lists, or refused."""
    try:
        about = orbax_metadata.decode(data, "x")
        tree = orbax_metadata.nested([(leaf, leaf.name) for leaf in about.leaves], "x")
    except HoldfastError:
        return
    assert isinstance(tree, dict)


# --- inputs to begin with ---


def _bits() -> Iterator[bytes]:
    """An archive that says that the integers in it are the bits of something else."""
    head = npy_header(np.dtype("u2"), (2,)) + bytes(4)
    plan = plan_zip([Member("a.npy", [head], field=extra_field(BITS_FIELD, b"bfloat16"))])
    made = bytearray(plan.nbytes)
    for offset, piece in plan.pieces(()):
        made[offset : offset + len(piece)] = piece
    yield bytes(made)


def _imported() -> Iterator[bytes]:
    yield from _bits()
    yield from _files()


def _golden(folder: str) -> Iterator[bytes]:
    for path in sorted((GOLDEN / folder).iterdir()):
        yield path.read_bytes()


def _bodies(folder: str) -> Iterator[bytes]:
    import base64

    for data in _golden(folder):
        with contextlib.suppress(ValueError):
            yield base64.b64decode(json.loads(data)["payload"])


def _malformed(kind: str) -> Iterator[bytes]:
    import base64

    cases = json.loads((VECTORS / "malformed.json").read_text())["cases"]
    for case in cases.values():
        for key, text in case["files"].items():
            if f"/{kind}/" in key:
                yield text.encode() if isinstance(text, str) else base64.b64decode(text["base64"])


def _parts() -> Iterator[bytes]:
    yield from _golden("parts")
    yield from _malformed("parts")


def _notes() -> Iterator[bytes]:
    yield from _golden("pins")
    yield json.dumps({"pid": 1, "host": "h"}).encode()
    yield b'{"event":"saved"}\n\n{"event":\n[1]\n'


def _texts(*texts: str) -> Callable[[], Iterator[bytes]]:
    return lambda: (text.encode("utf-8", "surrogatepass") for text in texts)


def _pickles() -> Iterator[bytes]:
    import collections
    import datetime

    values: list[Any] = [
        {"a": [1, 2.5, "x", b"y", None, True, 1 << 80, 1j], "b": ({1, 2}, (3,))},
        [np.arange(6.0).reshape(2, 3), np.float32(1), np.array([1, "a"], dtype=object)],
        np.zeros(2, [("a", "f4"), ("b", "M8[ns]", (2,))]),
        [datetime.datetime(2026, 1, 2), collections.OrderedDict(a=1), collections.Counter("ab")],
    ]
    for value in values:
        for protocol in (0, 2, 4, 5):
            yield pickle.dumps(value, protocol=protocol)


def _files() -> Iterator[bytes]:
    import gzip
    import io

    yield from _pickles()
    for save in (np.savez, np.savez_compressed):
        out = io.BytesIO()
        save(out, a=np.arange(3), b=np.array([None], dtype=object))
        yield out.getvalue()
    out = io.BytesIO()
    np.save(out, np.arange(4))
    yield out.getvalue()
    yield gzip.compress(pickle.dumps([1, 2]))
    yield from _made_by_others()


def _made_by_others() -> Iterator[bytes]:
    """Files that need a library to be made; they are kept in the corpus."""
    folder = Path(__file__).parent / "corpus/foreign"
    for path in sorted(folder.glob("seed-*")):
        yield path.read_bytes()


def _tables() -> Iterator[bytes]:
    pairs = [(b"", b"\x08\x01"), *((b"layer/%02d" % i, b"x" * i) for i in range(20))]
    whole = table.write_table(pairs)
    yield whole
    yield whole[: read_varint(whole[-table.FOOTER_BYTES :], 0)[0] - 5]


def _bundle_entries() -> Iterator[bytes]:
    for dtype, shape, size in ((1, (4, 2), 32), (7, (), 5), (14, (0, 3), 0), (10, (7,), 7)):
        entry = BundleEntry(dtype=dtype, size=size, crc32c=1)
        for n in shape:
            entry.shape.dim.add(size=n)
        yield entry.SerializeToString()
    part = entry.slices.add().extent
    part.add(start=1, length=3)
    yield entry.SerializeToString()


def _orbax_trees() -> Iterator[bytes]:
    marks = {"l": "list", "l/0": "tuple"}
    names = {"a/b": "np.ndarray", "l/0/0": "scalar", "l/1": "None", "e": "Dict"}
    leaves = [orbax_metadata.leaf_of(name, marks, kind) for name, kind in names.items()]
    yield orbax_metadata.encode(leaves)


TARGETS: dict[str, Target] = {
    "envelope": Target(check_envelope, lambda: iter([envelope.wrap(TYPE, {"a": [1, "x", None]})])),
    "commit": Target(check_commit, lambda: _bodies("commits")),
    "marker": Target(check_marker, lambda: iter([b'{"created_ns":1,"format":1,"id":"x"}'])),
    "tag": Target(check_tag_record, lambda: _bodies("tags")),
    "notes": Target(check_notes, _notes),
    "part": Target(check_part, _parts),
    "planes": Target(check_planes, _planes),
    "dtype": Target(
        check_dtype,
        _texts("float32", "bfloat16", "np:<U8", "np:<M8[ns]", 'np:[["a","<f4"],["b","<i8",[2]]]'),
    ),
    "names": Target(
        check_names,
        _texts("gpt/α", "r@latest", "r@best:loss:max", "..", "a/../b", ".x", "%2E", "@"),
    ),
    "policy": Target(
        check_policy,
        _texts("last:3", "best:val_loss:2:max", "every:10steps", "every:1.5hours", "tagged", "all"),
    ),
    "scan": Target(check_scan, _files),
    "foreign": Target(check_foreign, _files),
    "import": Target(check_import, _imported),
    "table": Target(check_table, _tables),
    "bundle": Target(check_bundle, _bundle_entries),
    "orbax": Target(check_orbax, _orbax_trees),
}
