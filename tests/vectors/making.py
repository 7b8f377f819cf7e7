"""Bytes of the format made by hand, from the words of docs/spec/v1.md; only the schema is shared.

Nothing here calls holdfast's own encoders: that they give the same bytes is what the tests prove.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import xxhash
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast.format.schema import PartMessage

ALIGNMENT = 4096
GROUP_ALIGNMENT = 16
# Far smaller than what holdfast writes; how leaves are cut is the writer's choice.
CHUNK_BYTES = 4096

COMMIT_TYPE = "application/vnd.in-toto+json"
MARKER_TYPE = "application/vnd.holdfast.store+json"
TAG_TYPE = "application/vnd.holdfast.tag+json"
NAME_TYPE = "application/vnd.holdfast.name+json"
NOTE_TYPE = "application/vnd.holdfast.note+json"
PREDICATE_TYPE = "https://holdfast.dev/checkpoint/v1"

Files = dict[str, bytes]

# Keys of everybody: what they sign is always the same.
SEEDS = (b"\1" * 32, b"\2" * 32)
# How DER begins for an Ed25519 public key (RFC 8410); its 32 bytes follow.
SPKI = bytes.fromhex("302a300506032b6570032100")


# --- records ---


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def sealed(payload_type: str, body: bytes, entries: Sequence[Mapping[str, str]] = ()) -> bytes:
    """Return the envelope of a body, whatever it is, with entries as they are given."""
    covered = pae(payload_type, body) + (canonical(list(entries)) if entries else b"")
    whole = {"keyid": "blake3", "sig": base64.b64encode(blake3(covered).digest()).decode()}
    return canonical(
        {
            "payload": base64.b64encode(body).decode(),
            "payloadType": payload_type,
            "signatures": [whole, *entries],
        }
    )


def pae(payload_type: str, body: bytes) -> bytes:
    kind = payload_type.encode()
    return b" ".join([b"DSSEv1", b"%d" % len(kind), kind, b"%d" % len(body), body])


def public_key(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def signed(payload_type: str, body: bytes, seeds: Sequence[bytes]) -> list[dict[str, str]]:
    """Return the entries of an envelope by which some keys sign it, in the order of their ids."""
    entries = []
    for seed in seeds:
        key = Ed25519PrivateKey.from_private_bytes(seed)
        fingerprint = hashlib.sha256(SPKI + public_key(seed)).hexdigest()
        value = base64.b64encode(key.sign(pae(payload_type, body))).decode()
        entries.append({"keyid": f"ed25519:{fingerprint}", "sig": value})
    return sorted(entries, key=lambda entry: entry["keyid"])


def marker(**changes: object) -> bytes:
    payload = {"format": 1, "id": "5" * 32, "created_ns": 1_700_000_000_000_000_000}
    return sealed(MARKER_TYPE, canonical(payload | changes))


def tag(run: str, name: str, checkpoint_id: str) -> bytes:
    return sealed(TAG_TYPE, canonical({"run": run, "tag": name, "id": checkpoint_id}))


def fixed_name(run: str, name: str, checkpoint_id: str) -> bytes:
    return sealed(NAME_TYPE, canonical({"run": run, "name": name, "id": checkpoint_id}))


def note(**payload: object) -> bytes:
    return sealed(NOTE_TYPE, canonical(payload))


def statement(
    part_key: str, part: bytes, *, run: str, step: int, seq: int, id: str, **predicate: object
) -> dict[str, Any]:
    """Return the statement of a commit with one part."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": PREDICATE_TYPE,
        "subject": [{"name": part_key, "digest": {"blake3": blake3(part).hexdigest()}}],
        "predicate": {
            "format": 1,
            "run": run,
            "step": step,
            "id": id,
            "seq": seq,
            "created_ns": 1_700_000_000_123_456_789 + seq,
            "metrics": {},
            "reason": "save()",
            "parent": None,
            "previous": None,
            "incarnation": "c" * 32,
            "world_size": 1,
            "state_bytes": 0,
            "stored_bytes": 0,
            "n_leaves": 0,
            "environment": {},
            "lineage": {
                "resumed_from": None,
                "forked_from": None,
                "config": None,
                "dataset": None,
            },
            "names": [],
            "parts": [{"rank": 0, "length": len(part)}],
        }
        | predicate,
    }


def commit(statement: Mapping[str, Any], seeds: Sequence[bytes] = ()) -> bytes:
    body = canonical(statement)
    return sealed(COMMIT_TYPE, body, signed(COMMIT_TYPE, body, seeds))


def link(data: bytes) -> dict[str, object]:
    """Return how the next commit names one, given its bytes."""
    body = base64.b64decode(json.loads(data)["payload"])
    return {"seq": json.loads(body)["predicate"]["seq"], "blake3": blake3(body).hexdigest()}


# --- the tree of a part ---


class Tree:
    """Columns, filled by one call for each node, in pre-order."""

    def __init__(self) -> None:
        self.message = PartMessage()
        self.leaves = 0

    def container(self, kind: int, children: int, type_name: str | None = None) -> None:
        self.message.tree.kind.append(kind)
        self.message.tree.children.append(children)
        if type_name is not None:
            self.message.tree.type_name.append(type_name)

    def key(self, data: bytes | str, kind: int = 0) -> None:
        """Add the key of the child that comes next; key kinds are given for all or for none."""
        raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        self.message.tree.key.append(raw)
        self.message.tree.key_kind.append(kind)

    def leaf(self, kind: int, **column: Any) -> None:
        """Add a leaf and what it takes of its columns."""
        self.message.tree.kind.append(kind)
        self.leaves += 1
        for name, value in column.items():
            getattr(self.message.tree, name).extend(value if isinstance(value, list) else [value])

    def finish(self) -> None:
        if not any(self.message.tree.key_kind):
            del self.message.tree.key_kind[:]


# --- arrays, chunks, packs ---


class Arrays:
    """Rows of arrays, and chunks that hold their bytes: small ones together, large ones cut."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, tuple[int, ...], int, int]] = []
        self.chunks: list[bytes] = []
        self.nbytes = 0
        self.not_finite: list[int] = []
        self._group: int | None = None

    def add(self, kind: str, shape: Sequence[int], data: bytes) -> None:
        self.nbytes += len(data)
        if not data:
            self.rows.append((kind, tuple(shape), 0, 0))
        elif len(data) > CHUNK_BYTES // 2:
            self.rows.append((kind, tuple(shape), len(self.chunks), 0))
            cuts = range(0, len(data), CHUNK_BYTES)
            self.chunks += [data[at : at + CHUNK_BYTES] for at in cuts]
        else:
            chunk, offset = self._room(len(data))
            self.rows.append((kind, tuple(shape), chunk, offset))
            self.chunks[chunk] = self.chunks[chunk].ljust(offset, b"\0") + data

    def _room(self, nbytes: int) -> tuple[int, int]:
        if self._group is not None:
            fill = -(-len(self.chunks[self._group]) // GROUP_ALIGNMENT) * GROUP_ALIGNMENT
            if fill + nbytes <= CHUNK_BYTES:
                return self._group, fill
        self._group = len(self.chunks)
        self.chunks.append(b"")
        return self._group, 0

    def fill(self, table: Any) -> None:
        """Write the rows into a part's table of arrays."""
        types = list(dict.fromkeys(kind for kind, *_ in self.rows))
        table.type.extend(types)
        table.type_index.extend(types.index(kind) for kind, *_ in self.rows)
        table.ndim.extend(len(shape) for _, shape, *_ in self.rows)
        table.dim.extend(n for _, shape, *_ in self.rows for n in shape)
        table.chunk.extend(chunk for *_, chunk, _ in self.rows)
        table.offset.extend(offset for *_, offset in self.rows)
        table.not_finite.extend(self.not_finite)


def digest_of(chunk: bytes) -> bytes:
    return blake3(chunk).digest()


def _padded(stored: bytes) -> bytes:
    return stored.ljust(-(-len(stored) // ALIGNMENT) * ALIGNMENT, b"\0")


class Packs:
    """Where chunks lie: packs being filled, and chunks that lie in older ones."""

    def __init__(
        self,
        root: str,
        checkpoint_id: str,
        older: Packs | None = None,
        *,
        named: Callable[[bytes], bytes] = digest_of,
        stored: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self._named, self._stored = named, stored
        self._prefix = f"{root}packs/{checkpoint_id}"
        self.objects: dict[str, bytes] = {}
        self.places: dict[bytes, tuple[str, int, int]] = dict(older.places) if older else {}
        self.new_bytes = 0

    def add(self, chunks: Sequence[bytes], per_pack: int) -> None:
        new = [c for c in dict.fromkeys(chunks) if self._named(c) not in self.places]
        for number, first in enumerate(range(0, len(new), per_pack)):
            members = new[first : first + per_pack]
            padded = [_padded(self._stored(c)) for c in members]
            key, data = f"{self._prefix}-{number:05d}", b"".join(padded)
            at = 0
            for chunk, whole in zip(members, padded, strict=True):
                self.places[self._named(chunk)] = key, len(data), at
                at += len(whole)
            self.objects[key] = data
            self.new_bytes += len(data)

    def fill(self, message: Any, chunks: Sequence[bytes]) -> None:
        """Write the tables of chunks and packs of a part."""
        rows: dict[str, int] = {}
        for chunk in chunks:
            digest, check = self._named(chunk), xxhash.xxh3_128_digest(chunk)
            key, length, offset = self.places[digest]
            if key not in rows:
                rows[key] = len(rows)
                message.packs.add(key=key, length=length)
            message.chunks.digest += digest
            message.chunks.check += check
            message.chunks.length.append(len(chunk))
            message.chunks.pack.append(rows[key])
            message.chunks.offset.append(offset)


def add_blocks(message: Any, chunks: Sequence[bytes], block: int, without: Sequence[bytes]) -> None:
    """Write the checksums of the blocks of chunks, but for some, into the table of a part."""
    for chunk in chunks:
        message.chunks.block.append(0 if chunk in without else block)
        for at in () if chunk in without else range(0, len(chunk), block):
            message.chunks.block_check += xxhash.xxh3_128_digest(chunk[at : at + block])


def digests_of(chunk: bytes) -> tuple[bytes, bytes]:
    """Return the BLAKE3 digest and the XXH3 checksum of a chunk."""
    return blake3(chunk).digest(), xxhash.xxh3_128_digest(chunk)


def head(message: Any, *, run: str, step: int, id: str) -> None:
    """Write the fields of a part that say whose it is."""
    message.format, message.run, message.step = 1, run, step
    message.checkpoint_id, message.rank, message.world_size = bytes.fromhex(id), 0, 1


def encoded(message: Any) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))
