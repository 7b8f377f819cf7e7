"""Stores that a reader must refuse: a sound one, and for each rule the files that break it.

A case is laid over the sound store. What is beside the fault is right, digests included, so that
only the rule itself can catch it.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ranks_malformed
from encoding import add_codecs, differing, in_planes, of_format_2, repeated
from making import (
    COMMIT_TYPE,
    SEEDS,
    TAG_TYPE,
    Arrays,
    Files,
    Packs,
    Tree,
    canonical,
    commit,
    digests_of,
    encoded,
    fixed_name,
    head,
    marker,
    sealed,
    signed,
    statement,
    tag,
)

from holdfast.format.tree import NodeKind as K

RUN, STEP, ID = "r", 1, "b" * 32
ROOT = "runs/r/"
COMMIT, TAG = f"{ROOT}commits/000000000001", f"{ROOT}tags/t"
PART, PACK = f"{ROOT}parts/{ID}-00000", f"{ROOT}packs/{ID}-00000"

DAMAGED, TOO_NEW = "manifest-damaged", "store-too-new"
CHUNK_DAMAGED, CHUNK_MISSING = "chunk-damaged", "chunk-missing"


@dataclass(frozen=True, slots=True)
class Case:
    """A fault: the rule of the specification, the kind of error, and the files that have it."""

    name: str
    rule: str
    kind: str
    why: str
    files: Files


def sound() -> Files:
    """Return a small store that is as it should be: an array, a second one, an int."""
    message, pack = _part()
    data = encoded(message)
    return {
        "holdfast.json": marker(),
        COMMIT: commit(_statement(data)),
        TAG: tag(RUN, "t", ID),
        PART: data,
        PACK: pack,
        # Those of the cases of several ranks; nothing here needs them.
        **_packs_of_ranks(),
    }


def _packs_of_ranks() -> Files:
    made = ranks_malformed.files(lambda message: None)
    return {key: data for key, data in made.items() if "/packs/" in key}


def _part() -> tuple[Any, bytes]:
    tree, arrays = Tree(), Arrays()
    tree.container(K.DICT, 3)
    for name, floats in (("w", bytes(range(16))), ("v", bytes(range(100, 108)))):
        tree.key(name)
        tree.leaf(K.ARRAY)
        arrays.add("numpy:float32", (len(floats) // 4,), floats)
    tree.key("n")
    tree.leaf(K.INT, ints=3)
    tree.finish()
    packs = Packs(ROOT, ID)
    packs.add(arrays.chunks, per_pack=4)
    head(tree.message, run=RUN, step=STEP, id=ID)
    arrays.fill(tree.message.arrays)
    packs.fill(tree.message, arrays.chunks)
    return tree.message, packs.objects[PACK]


def _statement(part: bytes, **changes: object) -> dict[str, Any]:
    changes = {"state_bytes": 24, "stored_bytes": 4096, "n_leaves": 3} | changes
    return statement(PART, part, run=RUN, step=STEP, seq=1, id=ID, **changes)


# --- ways to break something ---


def _with_part(edit: Callable[[Any], object]) -> Files:
    message, _ = _part()
    edit(message)
    data = encoded(message)
    return {PART: data, COMMIT: commit(_statement(data))}


def _with_tree(edit: Callable[[Any], object]) -> Files:
    return _with_part(lambda message: edit(message.tree))


def _of_nodes(build: Callable[[Tree], object]) -> Files:
    """A part whose tree has an INT ``n`` and what is built besides, and no arrays."""

    def edit(message: Any) -> None:
        tree = Tree()
        tree.container(K.DICT, 2)
        tree.key("n")
        tree.leaf(K.INT, ints=3)
        tree.key("x")
        build(tree)
        tree.finish()
        message.tree.CopyFrom(tree.message.tree)
        for name in ("arrays", "chunks", "packs"):
            message.ClearField(name)

    return _with_part(edit)


def _with_statement(edit: Callable[[dict[str, Any]], object]) -> Files:
    found = _statement(sound()[PART])
    edit(found)
    return {COMMIT: commit(found)}


def _with_predicate(**changes: object) -> Files:
    return _with_statement(lambda s: s["predicate"].update(changes))


def _set(column: str, index: int, value: Any, table: str = "tree") -> Callable[[Any], object]:
    return lambda message: getattr(getattr(message, table), column).__setitem__(index, value)


def _flipped(data: bytes, at: int, bit: int = 0) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


# --- the cases, in the order of docs/spec/v1.md, section 10 ---


def cases() -> list[Case]:
    tables = [*_arrays(), *_chunks(), *_blocks(), *_codecs()]
    return [*_envelopes(), *_records(), *_parts(), *_trees(), *tables, *_of_ranks()]


def _of_ranks() -> list[Case]:
    made = [(name, why, ranks_malformed.files(edit)) for name, why, edit in ranks_malformed.edits()]
    packs = _packs_of_ranks()
    return [
        Case(f"B-{name}", "B", DAMAGED, why, {k: d for k, d in files.items() if k not in packs})
        for name, why, files in made
    ]


def _envelopes() -> list[Case]:
    good = sound()[COMMIT]
    body = base64.b64decode(json.loads(good)["payload"])
    seal = json.loads(good)["signatures"][0]
    twice = json.loads(good) | {"signatures": [seal, seal]}
    reordered = json.dumps(dict(reversed(json.loads(good).items())), separators=(",", ":")).encode()
    spaced = json.dumps(json.loads(body), sort_keys=True).encode()
    doubled = body.replace(b'"step":1,', b'"step":1,"step":1,')
    signed_commit = commit(json.loads(body), SEEDS)
    forged, dropped = _signature_flipped(signed_commit), json.loads(signed_commit)
    del dropped["signatures"][2]
    first, second = signed(COMMIT_TYPE, body, SEEDS)
    entries = [
        ("signature-empty", "a signature of no bytes", [first | {"sig": ""}]),
        ("signers-unsorted", "signatures in another order", [second, first]),
        ("signer-twice", "a key that signs twice", [first, first]),
        ("signer-unnamed", "a key id of another form", [first | {"keyid": "me"}]),
        ("signer-more", "a member besides", [first | {"more": "1"}]),
        ("signers-many", "more signatures than there may be", _many_signers(first)),
    ]
    made = [
        ("empty", "a file of no bytes", b""),
        ("cut-short", "its end is missing", good[:-7]),
        ("payload-flipped", "a bit of the payload has changed", _flipped(good, 40)),
        ("seal-flipped", "a bit of the digest has changed", _flipped(good, len(good) - 12)),
        ("newline", "a byte behind the end", good + b"\n"),
        ("member-order", "members in another order", reordered),
        ("two-seals", "the digest twice", canonical(twice)),
        ("signature-flipped", "a bit of a signature has changed", forged),
        ("signature-dropped", "a signature is gone", canonical(dropped)),
        ("other-type", "sealed as a tag", sealed(TAG_TYPE, body)),
        ("payload-spaced", "a payload that is not canonical JSON", sealed(COMMIT_TYPE, spaced)),
        ("payload-member-twice", "a member that comes twice", sealed(COMMIT_TYPE, doubled)),
        ("payload-list", "a payload that is no object", sealed(COMMIT_TYPE, b"[]")),
    ]
    made += [(name, why, sealed(COMMIT_TYPE, body, found)) for name, why, found in entries]
    cases = [Case(f"E-{name}", "E", DAMAGED, why, {COMMIT: data}) for name, why, data in made]
    tag_body = canonical({"run": RUN, "tag": "t", "id": ID})
    signed_tag = sealed(TAG_TYPE, tag_body, signed(TAG_TYPE, tag_body, SEEDS))
    return [*cases, Case("E-tag-signed", "E", DAMAGED, "a signed tag", {TAG: signed_tag})]


def _signature_flipped(data: bytes) -> bytes:
    """Another signature of the right form, the digest left as it is."""
    outer = json.loads(data)
    value = base64.b64decode(outer["signatures"][1]["sig"])
    outer["signatures"][1]["sig"] = base64.b64encode(_flipped(value, 7)).decode()
    return canonical(outer)


def _many_signers(entry: dict[str, str]) -> list[dict[str, str]]:
    return [entry | {"keyid": f"ed25519:{number:064x}"} for number in range(65)]


def _records() -> list[Case]:
    part = sound()[PART]
    half = {"rank": 0, "length": len(part)}
    elsewhere = "runs/other/parts/" + PART.rpartition("/")[2]
    made: list[tuple[str, str, str, Files]] = [
        ("marker-too-new", TOO_NEW, "a store of format 2", {"holdfast.json": marker(format=2)}),
        (
            "name-moved",
            "data",
            "a file that another name was renamed to",
            {f"{ROOT}names/t": fixed_name(RUN, "s", ID)},
        ),
        ("no-lineage", DAMAGED, "no lineage", _with_statement(_without_lineage)),
        ("origin-text", DAMAGED, "an origin that is text", _with_lineage(forked_from="r@1")),
        (
            "origin-id",
            DAMAGED,
            "an origin with an id of 31 digits",
            _with_lineage(resumed_from={"store": None, "run": "r", "step": 1, "id": ID[1:]}),
        ),
        (
            "origin-step",
            DAMAGED,
            "an origin with a step below 0",
            _with_lineage(forked_from={"store": None, "run": "r", "step": -1, "id": ID}),
        ),
        ("config-list", DAMAGED, "a configuration that is a list", _with_lineage(config=[])),
        ("dataset-number", DAMAGED, "a fingerprint that is a number", _with_lineage(dataset=1)),
        ("epoch-text", DAMAGED, "an epoch that is text", _with_predicate(epoch="1")),
        ("epoch-endless", DAMAGED, "an epoch that is infinite", _with_predicate(epoch="inf")),
        ("names-text", DAMAGED, "names that are text", _with_predicate(names="v1")),
        ("names-number", DAMAGED, "a name that is a number", _with_predicate(names=[1])),
        ("not-finite-text", DAMAGED, "a count that is text", _with_predicate(not_finite="1")),
        ("not-finite-below", DAMAGED, "a count below 0", _with_predicate(not_finite=-1)),
        ("tag-moved", "data", "a file that another tag was renamed to", {TAG: tag(RUN, "s", ID)}),
        ("too-new", TOO_NEW, "a commit of format 9", _with_predicate(format=9)),
        (
            "predicate-too-new",
            TOO_NEW,
            "another predicate type",
            _with_statement(lambda s: s.update(predicateType=s["predicateType"][:-1] + "2")),
        ),
        (
            "no-statement",
            DAMAGED,
            "no in-toto statement",
            _with_statement(lambda s: s.update(_type="x")),
        ),
        ("other-run", DAMAGED, "the record of another run", _with_predicate(run="s")),
        ("other-number", DAMAGED, "the record of another commit", _with_predicate(seq=2)),
        ("step-missing", DAMAGED, "no step", _with_statement(lambda s: s["predicate"].pop("step"))),
        ("step-negative", DAMAGED, "a step below 0", _with_predicate(step=-1)),
        ("step-float", DAMAGED, "a step that is no integer", _with_predicate(step=1.0)),
        ("step-text", DAMAGED, "a step that is text", _with_predicate(step="1")),
        (
            "metric-text",
            DAMAGED,
            "a metric that is no number",
            _with_predicate(metrics={"m": "many"}),
        ),
        ("metric-bool", DAMAGED, "a metric that is true", _with_predicate(metrics={"m": True})),
        (
            "metric-vast",
            DAMAGED,
            "a metric beyond all floats",
            _with_predicate(metrics={"m": 10**400}),
        ),
        ("time-vast", DAMAGED, "a time that no clock has", _with_predicate(created_ns=2**70)),
        ("id-short", DAMAGED, "an id of 31 digits", _with_predicate(id=ID[1:])),
        (
            "previous-missing",
            DAMAGED,
            "no word of the commit before",
            _with_statement(lambda s: s["predicate"].pop("previous")),
        ),
        (
            "previous-later",
            DAMAGED,
            "made after itself",
            _with_predicate(previous={"seq": 1, "blake3": "0" * 64}),
        ),
        (
            "previous-digest-short",
            DAMAGED,
            "a digest of 31 bytes",
            _with_predicate(previous={"seq": 0, "blake3": "0" * 62}),
        ),
        ("no-parts", DAMAGED, "no part at all", _with_statement(_without_parts)),
        ("part-missing", DAMAGED, "two ranks, one part", _with_predicate(world_size=2)),
        (
            "rank-twice",
            DAMAGED,
            "a rank that comes twice",
            _with_statement(
                lambda s: (
                    s["subject"].append(s["subject"][0]),
                    s["predicate"].update(parts=[half, half], world_size=2),
                )
            ),
        ),
        (
            "uneven",
            DAMAGED,
            "more subjects than parts",
            _with_statement(lambda s: s["subject"].append(s["subject"][0])),
        ),
        (
            "part-outside",
            DAMAGED,
            "a part's key that leaves the store",
            _with_statement(lambda s: s["subject"][0].update(name=f"{ROOT}parts/../../../x")),
        ),
        (
            "part-elsewhere",
            DAMAGED,
            "a part in another run",
            {elsewhere: part} | _with_statement(lambda s: s["subject"][0].update(name=elsewhere)),
        ),
        (
            "digest-short",
            DAMAGED,
            "a part's digest of 31 bytes",
            _with_statement(lambda s: s["subject"][0].update(digest={"blake3": "00" * 31})),
        ),
    ]
    return [Case(f"R-{name}", "R", kind, why, files) for name, kind, why, files in made]


def _without_lineage(found: dict[str, Any]) -> None:
    del found["predicate"]["lineage"]


def _with_lineage(**changes: object) -> Files:
    return _with_statement(lambda s: s["predicate"]["lineage"].update(changes))


def _without_parts(found: dict[str, Any]) -> None:
    found["subject"] = []
    found["predicate"].update(parts=[], world_size=0)


def _parts() -> list[Case]:
    data = sound()[PART]
    cut = data[:-3]
    made: list[tuple[str, str, str, Files]] = [
        ("flipped", DAMAGED, "a bit of the part has changed", {PART: _flipped(data, 20)}),
        ("absent", CHUNK_MISSING, "the part is not there", _with_statement(_renamed_part)),
        ("cut-short", DAMAGED, "no whole message", {PART: cut, COMMIT: commit(_statement(cut))}),
        ("too-new", TOO_NEW, "a part of format 9", _with_part(lambda m: setattr(m, "format", 9))),
        ("other-run", DAMAGED, "another run's", _with_part(lambda m: setattr(m, "run", "s"))),
        ("other-step", DAMAGED, "another step's", _with_part(lambda m: setattr(m, "step", 2))),
        (
            "other-id",
            DAMAGED,
            "another checkpoint's",
            _with_part(lambda m: setattr(m, "checkpoint_id", bytes(16))),
        ),
        ("other-rank", DAMAGED, "another rank's", _with_part(lambda m: setattr(m, "rank", 1))),
        (
            "other-world",
            DAMAGED,
            "of two ranks, where the commit says one",
            _with_part(lambda m: setattr(m, "world_size", 2)),
        ),
    ]
    return [Case(f"P-{name}", "P", kind, why, files) for name, kind, why, files in made]


def _renamed_part(found: dict[str, Any]) -> None:
    found["subject"][0]["name"] = f"{ROOT}parts/{'e' * 32}-00000"


def _nested(tree: Tree, depth: int) -> None:
    for _ in range(depth):
        tree.container(K.LIST, 1)
    tree.leaf(K.NONE)


def _trees() -> list[Case]:
    def keyed(data: bytes, kind: int) -> Callable[[Tree], object]:
        def build(tree: Tree) -> None:
            tree.container(K.DICT, 1)
            tree.key(data, kind)
            tree.leaf(K.NONE)

        return build

    def twice(tree: Tree) -> None:
        tree.container(K.DICT, 2)
        for _ in range(2):
            tree.key("k")
            tree.leaf(K.NONE)

    def two_wrapped(tree: Tree) -> None:
        tree.container(K.STATEFUL, 2, "a:B")
        tree.leaf(K.NONE)
        tree.leaf(K.NONE)

    def alias(tree: Tree) -> None:
        tree.leaf(K.ALIAS, refs=0)

    def blob(kind: int, data: bytes) -> Callable[[Tree], object]:
        return lambda tree: tree.leaf(kind, blobs=data)

    made: list[tuple[str, str, Files]] = [
        ("kinds-short", "fewer nodes than children", _with_tree(lambda t: t.kind.pop())),
        ("kinds-long", "nodes behind the end", _with_tree(lambda t: t.kind.append(K.NONE))),
        ("children-short", "a container without a count", _with_tree(lambda t: t.children.pop())),
        ("keys-short", "a child without a key", _with_tree(lambda t: t.key.pop())),
        ("keys-long", "a key without a child", _with_tree(lambda t: t.key.append(b"k"))),
        ("ints-short", "an INT without a value", _with_tree(lambda t: t.ints.pop())),
        ("ints-long", "a value without an INT", _with_tree(lambda t: t.ints.append(4))),
        (
            "types-long",
            "a type name without a node",
            _with_tree(lambda t: t.type_name.append("a:B")),
        ),
        ("refs-long", "a ref without an ALIAS", _with_tree(lambda t: t.refs.append(0))),
        ("kind-unknown", "a kind of node that is not known", _with_part(_set("kind", 3, 99))),
        ("root-list", "a root that is no mapping", _with_part(_root_list)),
        ("alias-early", "an alias of an array that has not come", _of_nodes(alias)),
        ("too-deep", "a leaf within 201 containers", _of_nodes(lambda t: _nested(t, 200))),
        ("wrapped-two", "a STATEFUL with two children", _of_nodes(two_wrapped)),
        ("omitted-in-dict", "an OMITTED in a mapping", _of_nodes(lambda t: t.leaf(K.OMITTED))),
        ("key-twice", "a key that comes twice", _of_nodes(twice)),
        (
            "key-kinds-short",
            "fewer key kinds than keys",
            _with_tree(lambda t: t.key_kind.append(0)),
        ),
        ("key-kind-unknown", "a kind of key that is not known", _of_nodes(keyed(b"0x1p+0", 9))),
        ("key-int", "an integer key that is no number", _of_nodes(keyed(b"1x", 1))),
        ("key-bool", "a boolean key that is neither", _of_nodes(keyed(b"2", 2))),
        ("key-float", "a float key that is no number", _of_nodes(keyed(b"1 / 3", 4))),
        ("key-utf8", "a text key that is no UTF-8", _of_nodes(keyed(b"\xff", 0))),
        ("str-utf8", "a text that is no UTF-8", _of_nodes(blob(K.STR, b"\xff"))),
        ("datetime", "a date that is none", _of_nodes(blob(K.DATETIME, b"yesterday"))),
        ("scalar-size", "a scalar of too few bytes", _of_nodes(blob(K.SCALAR, b"float32\0\0\0\0"))),
        (
            "scalar-dtype",
            "a scalar of no known type",
            _of_nodes(blob(K.SCALAR, b"quad\0" + bytes(16))),
        ),
    ]
    return [Case(f"T-{name}", "T", DAMAGED, why, files) for name, why, files in made]


def _root_list(message: Any) -> None:
    message.tree.kind[0] = K.LIST
    del message.tree.key[:]


def _arrays() -> list[Case]:
    def shape(*dims: int) -> Callable[[Any], object]:
        def edit(message: Any) -> None:
            message.arrays.ndim[0] = len(dims)
            message.arrays.dim[:] = [*dims, 2]

        return edit

    def typed(name: str) -> Callable[[Any], object]:
        return lambda m: m.arrays.type.__setitem__(0, name)

    def empty_somewhere(message: Any) -> None:
        message.arrays.dim[0], message.arrays.offset[0] = 0, 16

    made: list[tuple[str, str, Callable[[Any], object]]] = [
        ("dtype-unknown", "a type that is not known", typed("numpy:float128")),
        ("dtype-object", "a type that holds objects", typed("numpy:np:|O")),
        ("cast-no-narrower", "a cast that loses nothing", typed("numpy:float32<float32")),
        ("cast-of-unknown", "a cast of what is no float", typed("numpy:float16<int32")),
        (
            "type-unknown",
            "a row of the table of types that is not there",
            _set("type_index", 0, 1, "arrays"),
        ),
        ("too-many-dims", "65 dimensions", shape(*[1] * 64, 4)),
        ("dims-short", "fewer dimensions than said", lambda m: m.arrays.dim.pop()),
        ("dims-long", "more dimensions than said", lambda m: m.arrays.dim.append(1)),
        ("dim-vast", "no elements, in a dimension beyond all bounds", shape(2**63, 0)),
        ("too-large", "more bytes than the chunks have", shape(8)),
        ("chunk-unknown", "a chunk that is not there", _set("chunk", 0, 1, "arrays")),
        ("offset-beyond", "an offset beyond the chunk", _set("offset", 1, 4096, "arrays")),
        ("spans-from-within", "over two chunks, but not from the first byte", _spanning),
        ("empty-somewhere", "no elements, but a place", empty_somewhere),
        ("row-without-node", "an array that no node names", _extra_row),
        ("node-without-row", "an ARRAY node without a row", _missing_row),
        ("columns-differ", "columns of different lengths", lambda m: m.arrays.chunk.append(0)),
        (
            "not-finite-short",
            "counts of what is not finite, but not for all",
            lambda m: m.arrays.not_finite.append(0),
        ),
        (
            "not-finite-more",
            "more elements that are not finite than there are",
            lambda m: m.arrays.not_finite.extend([10**6] * len(m.arrays.chunk)),
        ),
        (
            "not-finite-less",
            "a count below -1",
            lambda m: m.arrays.not_finite.extend([-2] * len(m.arrays.chunk)),
        ),
    ]
    return [Case(f"A-{name}", "A", DAMAGED, why, _with_part(edit)) for name, why, edit in made]


def _spanning(message: Any) -> None:
    """The second array runs on into a second chunk, which is the first once more."""
    chunks = message.chunks
    chunks.digest, chunks.check = chunks.digest * 2, chunks.check * 2
    for column in (chunks.length, chunks.pack, chunks.offset):
        column.append(column[0])
    message.arrays.dim[1] = 4


def _extra_row(message: Any) -> None:
    arrays = message.arrays
    for column in (arrays.type_index, arrays.ndim, arrays.dim, arrays.chunk, arrays.offset):
        column.append(column[0])


def _missing_row(message: Any) -> None:
    arrays = message.arrays
    for column in (arrays.type_index, arrays.ndim, arrays.dim, arrays.chunk, arrays.offset):
        column.pop()


def _chunks() -> list[Case]:
    pack = sound()[PACK]
    elsewhere = "runs/other/packs/" + PACK.rpartition("/")[2]

    def key(name: str) -> Callable[[Any], object]:
        return lambda m: setattr(m.packs[0], "key", name)

    edits: list[tuple[str, str, str, Callable[[Any], object]]] = [
        ("pack-unknown", DAMAGED, "a pack that is not there", _set("pack", 0, 1, "chunks")),
        (
            "unaligned",
            DAMAGED,
            "an offset that is no multiple of 4,096",
            _set("offset", 0, 16, "chunks"),
        ),
        ("beyond-pack", DAMAGED, "beyond the end of its pack", _set("offset", 0, 4096, "chunks")),
        ("empty", DAMAGED, "a chunk of no bytes", _empty_chunk),
        (
            "digests-short",
            DAMAGED,
            "a digest cut short",
            lambda m: setattr(m.chunks, "digest", m.chunks.digest[:-1]),
        ),
        (
            "checks-short",
            DAMAGED,
            "a checksum cut short",
            lambda m: setattr(m.chunks, "check", m.chunks.check[:-1]),
        ),
        (
            "columns-differ",
            DAMAGED,
            "columns of different lengths",
            lambda m: m.chunks.pack.append(0),
        ),
        (
            "key-outside",
            DAMAGED,
            "a pack's key that leaves the store",
            key(f"{ROOT}packs/../../../x"),
        ),
        ("key-elsewhere", DAMAGED, "a pack of another run", key(elsewhere)),
        (
            "absent",
            CHUNK_MISSING,
            "a pack that is not in the store",
            key(f"{ROOT}packs/{'e' * 32}-00000"),
        ),
        (
            "digest-wrong",
            CHUNK_DAMAGED,
            "only the BLAKE3 digest tells",
            lambda m: setattr(m.chunks, "digest", _flipped(m.chunks.digest, 3)),
        ),
        (
            "check-wrong",
            CHUNK_DAMAGED,
            "only the XXH3 checksum tells",
            lambda m: setattr(m.chunks, "check", _flipped(m.chunks.check, 3)),
        ),
    ]
    made = [Case(f"K-{name}", "K", kind, why, _with_part(edit)) for name, kind, why, edit in edits]
    files = {
        "flipped": ("a bit of a chunk has changed", _flipped(pack, 21, 7)),
        "cut-short": ("a pack that is cut short", pack[:20]),
    }
    made += [
        Case(f"K-{name}", "K", CHUNK_DAMAGED, why, {PACK: data})
        for name, (why, data) in files.items()
    ]
    for case in made:
        if case.name == "K-key-elsewhere":
            case.files[elsewhere] = pack
    return made


def _empty_chunk(message: Any) -> None:
    """A second chunk, of no bytes and with the digests of none, that no array names."""
    digest, check = digests_of(b"")
    message.chunks.digest += digest
    message.chunks.check += check
    message.chunks.length.append(0)
    message.chunks.pack.append(0)
    message.chunks.offset.append(0)


def _blocks() -> list[Case]:
    """What a table can say wrongly of blocks."""

    def blocks(size: int, more: bytes = b"", without: int = 0) -> Callable[[Any], object]:
        def edit(message: Any) -> None:
            message.chunks.block.append(size)
            found = digests_of(bytes(range(16)) + bytes(range(100, 108)))[1] + more
            message.chunks.block_check = found[: len(found) - without]

        return edit

    def alone(message: Any) -> None:
        message.chunks.block_check = bytes(16)

    def twice(message: Any) -> None:
        message.chunks.block.extend([4096, 4096])
        message.chunks.block_check = bytes(32)

    def wrong(message: Any) -> None:
        blocks(4096)(message)
        message.chunks.block_check = _flipped(message.chunks.block_check, 3)

    edits: list[tuple[str, str, str, Callable[[Any], object]]] = [
        ("columns-differ", DAMAGED, "sizes for more chunks than there are", twice),
        ("size-small", DAMAGED, "blocks of less than a page", blocks(2048)),
        ("size-odd", DAMAGED, "blocks of three pages", blocks(3 * 4096)),
        ("size-vast", DAMAGED, "blocks of almost 2^32 bytes", blocks(2**32 - 4096)),
        ("checks-short", DAMAGED, "a checksum cut short", blocks(4096, without=1)),
        ("checks-more", DAMAGED, "a checksum of no block", blocks(4096, bytes(16))),
        ("checks-alone", DAMAGED, "checksums of blocks, and no blocks", alone),
        ("check-wrong", CHUNK_DAMAGED, "only the checksum of a block tells", wrong),
    ]
    made = [
        Case(f"K-block-{name}", "K", kind, why, _with_part(edit)) for name, kind, why, edit in edits
    ]

    def in_codec(message: Any) -> None:
        message.format = 2
        message.chunks.codec.append(1)
        message.chunks.stored.append(20)
        message.chunks.block.append(4096)
        message.chunks.block_check = bytes(16)

    why = "blocks of a chunk that is in a codec"
    return [*made, Case("K-block-codec", "K", DAMAGED, why, _of_codecs(in_codec))]


def _codecs() -> list[Case]:
    """What a table can say wrongly of codecs, and bytes that are no chunk in planes."""

    def tables(codec: int, stored: int, length: int | None = None) -> Callable[[Any], object]:
        def edit(message: Any) -> None:
            message.format = 2
            message.chunks.codec.append(codec)
            message.chunks.stored.append(stored)
            if length is not None:
                message.chunks.length[0] = length

        return edit

    def old(message: Any) -> None:
        message.chunks.codec.append(0)
        message.chunks.stored.append(24)

    of_table: list[tuple[str, str, str, Callable[[Any], object]]] = [
        ("unknown", TOO_NEW, "a codec that is not here", tables(99, 20)),
        ("column-short", DAMAGED, "no codec for a chunk", lambda m: setattr(m, "format", 2)),
        ("old-format", DAMAGED, "a codec in a part of format 1", old),
        ("two-lengths", DAMAGED, "as it is, in fewer bytes", tables(0, 20)),
        ("no-gain", DAMAGED, "in as many bytes as it has", tables(1, 24)),
        ("nothing", DAMAGED, "in no bytes", tables(1, 0)),
        ("beyond-pack", DAMAGED, "beyond the end of its pack", tables(1, 4097, 5000)),
        ("too-large", DAMAGED, "a chunk of more than 2^28 bytes", tables(1, 20, 2**28 + 1)),
    ]
    made = [
        Case(f"K-codec-{name}", "K", kind, why, _of_codecs(edit))
        for name, kind, why, edit in of_table
    ]
    floats = struct.pack("<f", 1.5) * 300
    sound_planes = in_planes(floats, 4, 1)
    width, table, body = sound_planes[:4], sound_planes[4:20], sound_planes[20:]
    first = len(repeated(0, 300))
    assert table == struct.pack("<4I", *[first] * 4)
    longer = repeated(0x80, 299)
    bodies = {
        "width": ("elements of 3 bytes", b"\3" + sound_planes[1:]),
        "turned": ("turned by 2", b"\4\2" + sound_planes[2:]),
        "table-short": ("a table that is cut short", sound_planes[:19]),
        "head-short": ("no whole head", sound_planes[:3]),
        "plane-beyond": ("planes longer than what is stored", sound_planes[:-1]),
        "plane-long": (
            "a plane longer than its block",
            width + struct.pack("<4I", 301, *[first] * 3) + bytes(301) + body[first:],
        ),
        "no-frame": ("a plane that is no frame", width + table + b"?" + body[1:]),
        "frame-length": ("a frame of another length", width + table + longer + body[first:]),
        "frame-cut": (
            "a frame that is cut short",
            width + struct.pack("<4I", first - 1, *[first] * 3) + body[: first - 1] + body[first:],
        ),
        "frame-more": (
            "bytes behind a frame",
            width
            + struct.pack("<4I", first + 1, *[first] * 3)
            + body[:first]
            + b"\0"
            + body[first:],
        ),
        "other": ("another chunk", in_planes(struct.pack("<f", 1.25) * 300, 4, 1)),
    }
    made += [
        Case(f"K-codec-{name}", "K", CHUNK_DAMAGED, why, _in_codec(floats, stored))
        for name, (why, stored) in bodies.items()
    ]
    return made + _deltas(floats)


def _deltas(floats: bytes) -> list[Case]:
    """What a table can say wrongly of differences, and what they are differences from."""
    moved = differing(floats, b"\1\0\0\0" * 300)
    good = in_planes(differing(moved, floats), 4, 1)

    def bases(*rows: int) -> Callable[[Any], object]:
        def edit(message: Any) -> None:
            del message.chunks.base[:]
            message.chunks.base.extend(rows)

        return edit

    def both(message: Any) -> None:
        message.chunks.codec[1] = 2
        message.chunks.stored[1] = 1100
        bases(1, 0)(message)

    def old(message: Any) -> None:
        message.format = 1
        del message.chunks.codec[:], message.chunks.stored[:]

    def other_length(message: Any) -> None:
        message.chunks.length[1] = message.chunks.stored[1] = 1196

    of_table: list[tuple[str, str, Callable[[Any], object]]] = [
        ("no-base", "a difference from nothing", bases()),
        ("bases-more", "more bases than differences", bases(1, 1)),
        ("base-elsewhere", "a base that is not there", bases(2)),
        ("base-itself", "a difference from itself", bases(0)),
        ("base-delta", "a difference from a difference", both),
        ("base-longer", "a base of another length", other_length),
        ("base-old", "a base in a part of format 1", old),
    ]
    made = [
        Case(f"K-delta-{name}", "K", DAMAGED, why, _as_delta(moved, floats, good, edit))
        for name, why, edit in of_table
    ]
    body = {
        "other-base": (
            "a difference from another chunk",
            _as_delta(moved, differing(floats, b"\2" * 1200), good),
        ),
        "cut-short": ("a difference that is cut short", _as_delta(moved, floats, good[:-1])),
        "base-damaged": ("a base that is damaged", _as_delta(moved, floats, good, spoilt=True)),
    }
    return made + [
        Case(f"K-delta-{name}", "K", CHUNK_DAMAGED, why, files)
        for name, (why, files) in body.items()
    ]


def _as_delta(
    chunk: bytes,
    base: bytes,
    stored: bytes,
    edit: Callable[[Any], object] = lambda message: None,
    *,
    spoilt: bool = False,
) -> Files:
    """Return the sound store with an array of floats ``w`` only, stored as a difference."""
    tree, arrays = Tree(), Arrays()
    tree.container(K.DICT, 1)
    tree.key("w")
    tree.leaf(K.ARRAY)
    arrays.add("numpy:float32", (len(chunk) // 4,), chunk)
    tree.finish()
    packs = Packs(ROOT, ID, stored=lambda c: stored if c == chunk else c)
    packs.add([chunk, base], per_pack=4)
    head(tree.message, run=RUN, step=STEP, id=ID)
    arrays.fill(tree.message.arrays)
    packs.fill(tree.message, [chunk, base])
    add_codecs(tree.message, [chunk, base], {chunk: stored}, {chunk: base})
    edit(tree.message)
    data = encoded(tree.message)
    record = _statement(data)
    objects = dict(packs.objects)
    if spoilt:
        objects[PACK] = _flipped(objects[PACK], 4096 + 21, 7)
    if tree.message.format == 2:
        record = of_format_2(record)
    return {PART: data, COMMIT: commit(record), **objects}


def _of_codecs(edit: Callable[[Any], object]) -> Files:
    found = _with_part(edit)
    return found | {COMMIT: commit(of_format_2(_statement(found[PART])))}


def _in_codec(chunk: bytes, stored: bytes) -> Files:
    """Return the sound store with an array of floats ``w`` only, stored in some bytes."""
    tree, arrays = Tree(), Arrays()
    tree.container(K.DICT, 1)
    tree.key("w")
    tree.leaf(K.ARRAY)
    arrays.add("numpy:float32", (len(chunk) // 4,), chunk)
    tree.finish()
    packs = Packs(ROOT, ID, stored=lambda _: stored)
    packs.add(arrays.chunks, per_pack=4)
    head(tree.message, run=RUN, step=STEP, id=ID)
    arrays.fill(tree.message.arrays)
    packs.fill(tree.message, arrays.chunks)
    add_codecs(tree.message, [chunk], {chunk: stored})
    data = encoded(tree.message)
    record = of_format_2(_statement(data))
    return {PART: data, COMMIT: commit(record), **packs.objects}
