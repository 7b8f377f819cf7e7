"""Golden bytes: made the same each time, read to what they mean, refused where they must be."""

from __future__ import annotations

import base64
import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import generate
import making
import numpy as np
import pytest
import spec_reader
import torch
import vector_types
from blake3 import blake3

import holdfast
from holdfast.chunks.batch import reads_of
from holdfast.chunks.read import read_chunks
from holdfast.demo.compare import compare
from holdfast.errors import DataError
from holdfast.format import commit as commit_format
from holdfast.format import lineage as lineage_format
from holdfast.format import part as part_format
from holdfast.format.commit import CommitRecord
from holdfast.format.tree import KEYED, TYPED, NodeKind
from holdfast.plan.reads import plan_reads
from holdfast.records import commits, notes, tags
from holdfast.records.opening import open_store
from holdfast.records.whole import Whole, read_whole
from holdfast.security.authenticity import Authenticity
from holdfast.security.ed25519 import LocalKey
from holdfast.security.trust_policy import TrustedKey, TrustPolicy
from holdfast.state.flatten import flatten
from holdfast.state.nodes import Node
from holdfast.state.values import encode_key

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf")

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
RUN = "gpt/α"
EXPECTED = json.loads((HERE / "golden.json").read_text())
MALFORMED = json.loads((HERE / "malformed.json").read_text())
SEALED = HERE / "sealed"
SEALED_EXPECTED = json.loads((HERE / "sealed.json").read_text())
SEALED_MALFORMED = json.loads((HERE / "sealed-malformed.json").read_text())
ENCODED = HERE / "encoded"
ENCODED_EXPECTED = json.loads((HERE / "encoded.json").read_text())
RANKS = HERE / "ranks"
RANKS_EXPECTED = json.loads((HERE / "ranks.json").read_text())
# One digest is enough for a load; 'verify' compares all.
SOME_DIGESTS = {"K-digest-wrong": ["full"], "K-check-wrong": ["fast"], "K-block-check-wrong": []}


def files(folder: Path) -> dict[str, bytes]:
    made = [folder / name for name in generate.MADE]
    paths = [p for top in made for p in ([top] if top.is_file() else top.rglob("*"))]
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.is_file()}


# --- the vectors themselves ---


def test_the_generator_makes_the_same_bytes(tmp_path: Path) -> None:
    generate.write(tmp_path)
    made, kept = files(tmp_path), files(HERE)
    assert made.keys() == kept.keys()
    assert [name for name in kept if made[name] != kept[name]] == []
    # Two thirds are malformed.json, and of that half the packs of cases of codecs: a chunk takes a
    # multiple of 4,096 bytes however short it is, which is 5 kB as text.
    assert sum(map(len, kept.values())) < 850_000


# --- reading ---


def _not_finite(part: Whole) -> list[int]:
    return [-1 if row.not_finite is None else row.not_finite for row in part.arrays]


def described(
    location: Path, trusted: Sequence[TrustedKey] = (), *, keys: Any = None
) -> dict[str, Any]:
    """Return what holdfast finds in a store, in the words of ``spec_reader.describe``."""
    store = open_store(location, create=False, keys=keys)
    checkpoints, tags_found, names_found, notes_found = [], [], [], []
    for run in commits.runs(store):
        for seq in commits.sequence_numbers(store, run):
            record = commits.read_commit(store, run, seq)
            part = read_whole(store, record)
            root = part.root
            names = ("run", "step", "seq", "id", "parent", "reason", "created_ns")
            sizes = ("state_bytes", "stored_bytes", "n_leaves")
            checkpoints.append(
                {name: getattr(record, name) for name in names + sizes}
                | _proof(record, trusted)
                | {"lineage": lineage_format.encode(record.lineage), "names": list(record.names)}
                | {"not_finite": [record.not_finite, _not_finite(part)]}
                | {"metrics": {name: _metric(v) for name, v in record.metrics.items()}}
                | {"nodes": [list(row) for row in _rows(root, _arrays(store, part), {})]}
            )
        for tag in tags.all_tags(store, run):
            found = names_found if tag.is_fixed else tags_found
            found.append([run, tag.name, tag.checkpoint_id])
        for note in notes.all_notes(store, run):
            assert isinstance(note, notes.Note)
            notes_found.append([run, note.checkpoint_id, note.text, dict(note.values)])
    return {
        "format": 1,
        "checkpoints": checkpoints,
        "tags": tags_found,
        "names": names_found,
        "notes": notes_found,
    }


def _proof(record: CommitRecord, keys: Sequence[TrustedKey]) -> dict[str, Any]:
    previous, by_name = record.previous, {key.name: key.key_id for key in keys}
    signers = TrustPolicy(tuple(keys)).judge(record).signers
    return {
        "previous": previous and {"seq": previous.seq, "blake3": previous.digest.hex()},
        "signed_by": sorted(by_name[name] for name in signers),
    }


def _metric(value: float) -> str:
    return value.hex() if value - value == 0 else str(value)


def _arrays(store: Any, part: Whole) -> list[dict[str, Any]]:
    buffers = [memoryview(bytearray(row.nbytes)) for row in part.arrays]
    lengths = [chunk.length for chunk in part.chunks]
    spans = plan_reads(part.arrays, lengths, range(len(part.arrays)))
    pieces = {
        chunk: [(s.begin, buffers[s.want][s.at : s.at + s.nbytes], False, "x") for s in found]
        for chunk, found in spans.items()
    }
    read_chunks(store, reads_of(part, pieces), ref="golden", full=True)
    return [
        {
            "framework": row.framework,
            "dtype": row.dtype,
            "shape": list(row.shape),
            "blake3": blake3(data).hexdigest(),
        }
        | ({"cast_from": row.cast_from} if row.cast_from else {})
        for row, data in zip(part.arrays, buffers, strict=True)
    ]


def _rows(
    node: Node, arrays: list[dict[str, Any]], paths: dict[int, str]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    kind = node.kind.name.lower().replace("_", " ")
    facts: dict[str, Any] = {"type": node.type_name} if node.kind in TYPED else {}
    if node.kind == NodeKind.ARRAY:
        paths[node.row] = node.path
        facts = arrays[node.row]
    elif node.kind == NodeKind.ALIAS:
        facts = {"of": paths[node.row]}
    elif node.children or kind in spec_reader.CONTAINERS.values():
        facts["children"] = len(node.children)
        if node.kind in KEYED:
            keys = [encode_key(child.key, "") for child in node.children]
            facts["keys"] = [[int(k), d.decode("utf-8", "surrogatepass")] for k, d in keys]
    else:
        facts |= _value(node)
    yield node.path, kind, facts
    for child in node.children:
        yield from _rows(child, arrays, paths)


def _value(node: Node) -> dict[str, Any]:
    value: Any = node.value
    match node.kind:
        case NodeKind.INT:
            return {"value": str(value)}
        case NodeKind.BIG_INT:
            return {"value": str(int.from_bytes(value, "little", signed=True))}
        case NodeKind.FLOAT:
            return {"value": value.hex()}
        case NodeKind.COMPLEX:
            return {"value": [value.real.hex(), value.imag.hex()]}
        case NodeKind.BYTES:
            return {"value": value.hex()}
        case NodeKind.SCALAR:
            dtype, _, data = value.partition(b"\0")
            return {"dtype": dtype.decode(), "value": data.hex()}
        case _ if isinstance(value, bytes):
            return {"value": value.decode("utf-8", "surrogatepass")}
        case _:
            return {}


def as_json(value: object) -> Any:
    return json.loads(json.dumps(value))


def test_holdfast_reads_the_golden_store_to_what_it_means() -> None:
    keys = [TrustedKey(key, bytes.fromhex(key)) for key in EXPECTED["keys"]]
    found = as_json(described(GOLDEN, keys)) | {"keys": EXPECTED["keys"]}
    assert found == EXPECTED
    assert [len(c["signed_by"]) for c in EXPECTED["checkpoints"]] == [0, 2]
    assert holdfast.Store(GOLDEN).verify().ok


def test_a_reader_made_from_the_specification_alone_agrees() -> None:
    keys = EXPECTED["keys"]
    found = spec_reader.describe(GOLDEN, public_keys=[bytes.fromhex(key) for key in keys])
    assert as_json(found) | {"keys": keys} == EXPECTED


def test_python_values_come_back_as_they_were() -> None:
    expected = vector_types.state()
    expected["model"] = expected["model"].state_dict()
    expected["containers"][4] = None
    found = holdfast.load(GOLDEN, f"{RUN}@best model")
    assert compare(found, expected).differences == []
    assert found["model"]["tied.weight"] is found["model"]["layer.weight"]


def test_refs_metrics_and_lineage_of_the_golden_store(tmp_path: Path) -> None:
    store = holdfast.Store(GOLDEN)
    first, second = store.log(RUN)
    assert [first.step, second.step] == [7, 8] and second.parent == first.id
    assert store.info(f"{RUN}@best:val_loss").id == store.info(f"{RUN}@best model").id == first.id
    assert store.info(f"{RUN}@latest").id == second.id
    assert str(first.metrics["broken"]) == "nan" and first.metrics["best"] == float("inf")
    assert second.parent == second.resumed_from.id == first.id
    assert second.forked_from.ref == "base@7" and second.config["layers"] == [1, 2]
    assert store.info(f"{RUN}@model_v1").id == second.id and second.tags == ("model_v1",)
    assert (first.notes, first.values) == (("ölig",), {"lr": 0.5, "n": 3})
    assert store.history(RUN).written.texts == ("a run",)
    # In a copy, since it makes the catalog anew.
    copied = shutil.copytree(GOLDEN, tmp_path / "copy")
    assert holdfast.Store(copied).doctor().facts["unfinished"] == 1


# --- writing ---


def test_holdfast_writes_the_same_bytes(tmp_path: Path) -> None:
    golden = open_store(GOLDEN, create=False)
    for seq in (1, 2):
        record = commits.read_commit(golden, RUN, seq)
        part = commits.read_part(golden, record, record.parts[0])
        assert part_format.encode(part) == golden.get(record.parts[0].key)
    # The first commit has a member that this version does not know.
    key = "runs/gpt%2F%CE%B1/commits/000000000002"
    signers = Authenticity(tuple(LocalKey.from_seed(seed) for seed in making.SEEDS))
    assert commit_format.encode(record, signers.sign) == golden.get(key)

    copy = open_store(tmp_path / "copy", create=True)
    tags.put_tag(copy, RUN, "best model", EXPECTED["tags"][0][2])
    tags.put_name(copy, RUN, "model_v1", EXPECTED["names"][0][2])
    for key in ("tags/best model", "names/model_v1"):
        key = f"runs/gpt%2F%CE%B1/{key}"
        assert copy.get(key) == golden.get(key)
    for name, text, values, created_ns in (
        (EXPECTED["tags"][0][2], "ölig", {"lr": 0.5, "ok": True}, 1),
        (EXPECTED["tags"][0][2], None, {"ok": None, "n": 3}, 2),
    ):
        notes.add(copy, RUN, notes.Note(name, text, values, created_ns))
    for seq in (1, 2):
        key = f"runs/gpt%2F%CE%B1/notes/{seq:012d}"
        assert copy.get(key) == golden.get(key)


def test_holdfast_makes_the_same_tree_of_the_same_state() -> None:
    golden = open_store(GOLDEN, create=False)
    record = commits.read_commit(golden, RUN, 1)
    part = commits.read_part(golden, record, record.parts[0])
    flat = flatten(vector_types.state(), skip=vector_types.SKIP)
    for column in dataclasses.fields(flat.tree):
        made, kept = getattr(flat.tree, column.name), getattr(part.tree, column.name)
        # NaN is not equal to itself; its text is.
        assert [f"{item!s}" for item in made] == [f"{item!s}" for item in kept], column.name
    specs = [(leaf.spec.framework, leaf.spec.dtype, leaf.spec.shape) for leaf in flat.leaves]
    assert specs == [(row.framework, row.dtype, row.shape) for row in part.arrays]
    assert (flat.nbytes, flat.n_leaves) == (record.state_bytes, record.n_leaves)


def test_what_holdfast_saves_the_specification_reads(tmp_path: Path) -> None:
    state = vector_types.state()
    holdfast.save(tmp_path / "s", state, run="a/b. c", step=0, metrics={"x": float("nan")})
    state["model"].bias.add_(1)
    holdfast.save(tmp_path / "s", state, run="a/b. c", step=2**63 - 1, tag="ä", skip="plain/**")
    holdfast.save(tmp_path / "s", {"n": 1}, run=".hidden", step=1, rng=False)
    found = spec_reader.describe(tmp_path / "s")
    assert as_json(found) == as_json(described(tmp_path / "s"))
    assert [c["run"] for c in found["checkpoints"]] == [".hidden", "a/b. c", "a/b. c"]


# --- chunks in codecs ---


def test_holdfast_and_the_specification_read_the_encoded_store() -> None:
    assert as_json(spec_reader.describe(ENCODED)) == ENCODED_EXPECTED
    assert as_json(described(ENCODED)) == ENCODED_EXPECTED
    assert holdfast.Store(ENCODED).verify().ok
    found = holdfast.load(ENCODED, "packed@3")
    assert found["int64"].tolist() == list(range(300))
    record = commits.read_commit(store := open_store(ENCODED, create=False), "packed", 1)
    part = commits.read_part(store, record, record.parts[0])
    assert [row.codec for row in part.chunks] == [1, 1, 1, 1, 1, 1, 0]
    assert part_format.encode(part) == store.get(record.parts[0].key)


def test_holdfast_reads_the_differences_of_the_encoded_store() -> None:
    store = open_store(ENCODED, create=False)
    record = commits.read_commit(store, "packed", 2)
    part = commits.read_part(store, record, record.parts[0])
    assert [(row.codec, row.base) for row in part.chunks] == [
        (2, 5),
        (0, None),
        (2, 1),
        (1, None),
        (0, None),
        (1, None),
    ]
    assert part_format.encode(part) == store.get(record.parts[0].key)
    before, after = (holdfast.load(ENCODED, f"packed@{step}") for step in (3, 4))
    assert after["cast"].dtype == torch.float32
    assert str(after["cast"].tolist()) == "[1.0, -2.0, nan]"
    moved = before["float32"].view(torch.int32) ^ after["float32"].view(torch.int32)
    assert 0 < int(moved.max()) < 128
    assert np.count_nonzero(after["noise"] != after["like it"]) > 5900


def test_what_holdfast_saves_in_planes_the_specification_reads(tmp_path: Path) -> None:
    state: dict[str, Any] = {**vector_types.state(), "more": encodable()}
    holdfast.save(tmp_path / "s", state, run="r", step=0, compress="planes")
    state["more"]["int64"][0] += 1
    holdfast.save(tmp_path / "s", state, run="r", step=1, compress="none")
    found = spec_reader.describe(tmp_path / "s")
    assert as_json(found) == as_json(described(tmp_path / "s"))
    store = open_store(tmp_path / "s", create=False)
    for seq in (1, 2):
        record = commits.read_commit(store, "r", seq)
        part = commits.read_part(store, record, record.parts[0])
        # Chunks that are not written again stay in their codec.
        assert record.format == 2 and sum(row.codec for row in part.chunks) >= 4


def test_what_holdfast_saves_as_differences_the_specification_reads(tmp_path: Path) -> None:
    state: dict[str, Any] = {**vector_types.state(), "more": encodable()}
    codecs = []
    for step in range(3):
        holdfast.save(tmp_path / "s", state, run="r", step=step, compress="delta")
        store = open_store(tmp_path / "s", create=False)
        record = commits.read_commit(store, "r", step + 1)
        part = commits.read_part(store, record, record.parts[0])
        codecs.append([row.codec for row in part.chunks])
        state["more"]["float64"][::7] *= 1 + 1e-15
        state["more"]["uint8"][::99] += 1
    assert 2 not in codecs[0] and codecs[1].count(2) == codecs[2].count(2) == 2
    found = spec_reader.describe(tmp_path / "s")
    assert as_json(found) == as_json(described(tmp_path / "s"))


def encodable() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    floats = rng.standard_normal(150_001)
    return {
        "float64": floats,
        "float32": floats.astype(np.float32),
        "bfloat16": torch.from_numpy(floats).to(torch.bfloat16),
        "int64": np.arange(100_000),
        "uint8": rng.integers(0, 4, 300_000, dtype=np.uint8),
    }


# --- several ranks ---


def test_holdfast_and_the_specification_read_the_parts_of_several_ranks_as_one() -> None:
    assert as_json(spec_reader.describe(RANKS)) == RANKS_EXPECTED
    assert as_json(described(RANKS)) == RANKS_EXPECTED
    assert holdfast.Store(RANKS).verify().ok
    found = holdfast.load(RANKS, "ranks@2")
    rows = [[10.0 * row + column + 2 for column in range(6)] for row in range(4)]
    assert found["model"]["sharded"].tolist() == rows
    assert found["model"]["tied"] is found["model"]["sharded"]
    assert found["model"]["replicated"][3:].tolist() == [4.0, 5.0]
    assert found["model"]["no dims"] == -7 and found["model"]["no elements"].shape == (0, 3)
    assert found["own"][0] == 100 and found["own"][1]["seen"].tolist() == [0, 2, 9, 9]
    store = open_store(RANKS, create=False)
    for seq, rank in ((1, 0), (1, 1), (2, 2)):
        record = commits.read_commit(store, "ranks", seq)
        part = commits.read_part(store, record, record.parts[rank])
        assert part_format.encode(part) == store.get(record.parts[rank].key)


# --- refusing ---


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    lay_over(tmp_path / "store", MALFORMED["sound"])
    return tmp_path / "store"


def lay_over(store: Path, texts: dict[str, str | dict[str, str]]) -> None:
    for key, text in texts.items():
        (store / key).parent.mkdir(parents=True, exist_ok=True)
        data = text.encode() if isinstance(text, str) else base64.b64decode(text["base64"])
        (store / key).write_bytes(data)


def test_the_store_that_the_faults_are_laid_over_is_sound(sound: Path) -> None:
    assert holdfast.load(sound, "r@t")["n"] == 3
    assert holdfast.Store(sound).verify().ok
    assert spec_reader.describe(sound)["checkpoints"][0]["step"] == 1


@pytest.mark.parametrize("name", MALFORMED["cases"])
def test_malformed_stores_are_refused(name: str, sound: Path) -> None:
    case = MALFORMED["cases"][name]
    lay_over(sound, case["files"])
    ref = "r@t" if name in ("R-tag-moved", "R-name-moved", "E-tag-signed") else "r@1"
    for check in SOME_DIGESTS.get(name, ["fast", "full"]):
        with pytest.raises(DataError) as caught:
            holdfast.load(sound, ref, verify=check)
        assert caught.value.kind == case["kind"]
    try:
        assert not holdfast.Store(sound).verify().ok
    except DataError as error:
        assert error.kind == case["kind"]


@pytest.mark.parametrize("name", MALFORMED["cases"])
def test_the_reader_of_the_specification_refuses_them_too(name: str, sound: Path) -> None:
    lay_over(sound, MALFORMED["cases"][name]["files"])
    with pytest.raises(spec_reader.Refused) as caught:
        spec_reader.describe(sound)
    is_too_new = MALFORMED["cases"][name]["kind"] == "store-too-new"
    assert str(caught.value).startswith("too new") == is_too_new


# --- encrypted stores ---


@pytest.fixture
def identity(tmp_path: Path) -> Any:
    path = tmp_path / "vectors.key"
    path.write_text(SEALED_EXPECTED["keys"]["identity"])
    path.chmod(0o600)
    return holdfast.keys.identity(path)


def test_holdfast_reads_the_sealed_store_with_either_key(identity: Any) -> None:
    phrase = holdfast.keys.passphrase(SEALED_EXPECTED["keys"]["passphrase"])
    for key in (identity, phrase):
        assert as_json(described(SEALED, keys=key)) == SEALED_EXPECTED["store"]
        assert holdfast.Store(SEALED, keys=key).verify().ok


def test_the_reader_of_the_specification_agrees_with_either_key() -> None:
    for secret in SEALED_EXPECTED["keys"].values():
        assert as_json(spec_reader.describe(SEALED, secret)) == SEALED_EXPECTED["store"]
    with pytest.raises(spec_reader.Refused):
        spec_reader.describe(SEALED, "another passphrase")


def test_what_holdfast_seals_the_specification_opens(tmp_path: Path, identity: Any) -> None:
    phrase = "drei Tropfen Öl"
    store = holdfast.Store(tmp_path / "s", keys=[identity, holdfast.keys.passphrase(phrase)])
    state = vector_types.state()
    holdfast.save(store, state, run="a/b. c", step=0, metrics={"x": float("nan")}, tag="ä")
    store.keys.rotate()
    state["model"].bias.add_(1)
    holdfast.save(store, state, run="a/b. c", step=1)
    holdfast.save(store, {"n": 1}, run=".hidden", step=1, rng=False)
    for secret in (identity.secrets[0], phrase):
        found = spec_reader.describe(tmp_path / "s", secret)
        assert as_json(found) == as_json(described(tmp_path / "s", keys=identity))
    assert [c["run"] for c in found["checkpoints"]] == [".hidden", "a/b. c", "a/b. c"]


@pytest.fixture
def sealed_copy(tmp_path: Path) -> Path:
    return shutil.copytree(SEALED, tmp_path / "store")


@pytest.mark.parametrize("name", SEALED_MALFORMED["cases"])
def test_malformed_encrypted_stores_are_refused(
    name: str, sealed_copy: Path, identity: Any
) -> None:
    case, store = SEALED_MALFORMED["cases"][name], holdfast.Store(sealed_copy, keys=identity)
    assert holdfast.load(store, f"{RUN}@1")["n"] == 1
    lay_over(sealed_copy, case["files"])
    # What is damaged would be stepped over otherwise.
    (first,) = sealed_copy.glob("runs/*/commits/000000000001")
    first.unlink()
    for check in ("fast", "full"):
        with pytest.raises(DataError) as caught:
            holdfast.load(store, f"{RUN}@1", verify=check)
        assert caught.value.kind == case["kind"]
    with pytest.raises(spec_reader.Refused) as refused:
        spec_reader.describe(sealed_copy, SEALED_EXPECTED["keys"]["identity"])
    assert str(refused.value).startswith("too new") == (case["kind"] == "store-too-new")
