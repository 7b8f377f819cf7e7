"""Files of PyTorch, joblib and NumPy: what holdfast reads is what their own loaders give."""

from __future__ import annotations

import argparse
import collections
import datetime as dt
import decimal
import fractions
import io
import pathlib
import pickle
import struct
import tarfile
import uuid
import zipfile
import zoneinfo
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from foreign_checks import assert_same, bits, read

from holdfast import foreign
from holdfast.errors import ForeignDamaged, ForeignRefused
from holdfast.foreign import ForeignArray
from holdfast.security.pickle_files import scan_file

DTYPES = [
    *("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
]
PLAIN: dict[str, Any] = {
    "numbers": [0, -1, 1 << 90, -(1 << 4000), 2.5, float("nan"), float("inf"), 1j, True, None],
    "texts": ["", "ä", "\ud800", b"\x00\xff", bytearray(b"xyz"), "x" * 70_000, b"y" * 70_000],
    "sets": [{1, 2}, frozenset({"a", (1, 2)}), set()],
    "keys": {1: "a", "b": 2, (1, "c"): 3, None: 4, 2.5: 5},
    "containers": [
        collections.OrderedDict(b=1, a=[2]), collections.Counter("aab"),
        collections.deque([1, 2], 5), collections.defaultdict(list, a=[1]), (), (1,), [],
    ],
    "times": [
        dt.datetime(2026, 1, 2, 3, 4, 5, 678901), dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        dt.datetime(2026, 10, 25, 2, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        dt.date(2026, 2, 3), dt.time(4, 5, 6, 7), dt.timedelta(-1, 2, 3),
        dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5), "X")),
    ],
    "others": [
        pathlib.PurePosixPath("/a/b"), pathlib.PureWindowsPath("c:/d"), uuid.UUID(int=5),
        decimal.Decimal("-1.50"), fractions.Fraction(-2, 3), range(1, 9, 2), slice(None, 3, None),
        argparse.Namespace(lr=0.1, inner=argparse.Namespace(x=[1])),
    ],
    "scalars": [
        np.float32(2), np.int64(-3), np.bool_(True), np.complex64(1j), np.str_("ä"),
        np.bytes_(b"q"), np.datetime64("2026-01-02T03", "h"), np.float16(0.5),
    ],
    "arrays": [
        np.arange(12.0).reshape(3, 4), np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.arange(20)[::3], np.zeros((0, 3), "f4"), np.array(5), np.array(["ab", "c"]),
        np.array([b"x"]), np.arange(5, dtype=">i4"), np.array([1, "a", None, [2.5]], dtype=object),
        np.zeros(3, [("a", "f4"), ("b", "i8", (2,))]), np.arange(3).astype("M8[ns]"),
        np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)), np.arange(30_000.0),
    ],
}  # fmt: skip


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", PLAIN)
def test_plain_pickles(name: str, protocol: int) -> None:
    Path("x.pkl").write_bytes(pickle.dumps(PLAIN[name], protocol=protocol))
    assert_same(read("x.pkl").numpy(), PLAIN[name])
    # What is read is never more than what 'scan' calls safe.
    assert scan_file(Path("x.pkl")).level == "safe"


def test_another_process_gives_the_same() -> None:
    torch.save({**PLAIN, "w": torch.ones(2).bfloat16()}, "x.pt")
    here, there = read("x.pt"), foreign.read("x.pt")
    assert_same(there.numpy(), {**PLAIN, "w": torch.ones(2).bfloat16()})
    assert there.replaced == here.replaced and there.kind == here.kind == "PyTorch"
    Path("x.pkl").write_bytes(pickle.dumps(PLAIN["times"], protocol=5))
    times = foreign.read("x.pkl").root
    assert [repr(t) for t in times] == [repr(t) for t in PLAIN["times"]]
    assert type(there.root["containers"][0]) is collections.OrderedDict


def training_state() -> dict[str, Any]:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    base = torch.arange(24.0)
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "dtypes": {name: torch.ones(3).to(getattr(torch, name)) for name in DTYPES},
        "views": [
            base, base[3:9].view(2, 3), base.view(4, 6).T, base[::5], torch.ones(1).expand(3),
        ],
        "small": [torch.tensor(1.5), torch.zeros(0, 4), model.weight, torch.nn.Buffer(base[:2])],
        "values": [torch.float32, torch.device("cuda", 1), torch.Size([2, 3])],
        "rng": torch.get_rng_state(),
        "mixed": PLAIN,
    }  # fmt: skip


@pytest.mark.parametrize("is_zip", [True, False])
def test_what_pytorch_saves(is_zip: bool) -> None:
    state = training_state()
    torch.save(state, "x.pt", _use_new_zipfile_serialization=is_zip)
    tree = read("x.pt")
    assert tree.kind == ("PyTorch" if is_zip else "PyTorch, legacy")
    assert_same(tree.numpy(), state)
    if is_zip:
        # Its own loader cannot read all of the types in a legacy file that it writes.
        assert_same(tree.numpy(), torch.load("x.pt", weights_only=False))
    views = tree.root["views"]
    assert len({view.storages for view in views[:4]}) == 1 != views[4].storages
    assert tree.root["model"]["weight"].storages == tree.root["small"][2].storages
    whats = {(item.path, item.what, item.became) for item in tree.replaced}
    assert ("mixed/others/7", "argparse.Namespace", "dict") in whats
    assert ("values/1", "torch.device", "its name") in whats


def test_arrays_are_read_when_they_are_asked_for() -> None:
    torch.save({"w": torch.arange(1 << 20), "t": torch.arange(6.0).view(2, 3).T}, "x.pt")
    arrays = dict(read("x.pt").arrays())
    assert {path: (a.dtype, a.shape, a.nbytes) for path, a in arrays.items()} == {
        "w": ("int64", (1 << 20,), 8 << 20),
        "t": ("float32", (3, 2), 24),
    }
    pieces = list(arrays["w"].pieces(1 << 20))
    assert [len(piece) for piece in pieces] == [1 << 20] * 8
    assert b"".join(pieces) == bits(torch.arange(1 << 20))[2]
    for array in arrays.values():
        part = bytearray(8)
        array.read(8, memoryview(part))
        assert part == array.numpy().tobytes()[8:16] and array.framework == "torch"
    assert b"".join(arrays["t"].pieces(8)) == bits(torch.arange(6.0).view(2, 3).T)[2]
    Path("x.pt").write_bytes(Path("x.pt").read_bytes()[:3000])
    with pytest.raises(ForeignDamaged, match="ends before"):
        arrays["w"].numpy()


@pytest.mark.parametrize("name", ["int16", "bfloat16", "float32", "complex64", "complex128"])
def test_big_endian_files(name: str) -> None:
    torch.save({"w": torch.arange(5).to(getattr(torch, name))}, "x.pt")
    width = torch.ones(1).to(getattr(torch, name)).itemsize // (2 if "complex" in name else 1)
    with zipfile.ZipFile("x.pt") as archive, zipfile.ZipFile("big.pt", "w") as big:
        for member in archive.namelist():
            data = archive.read(member)
            if member.endswith("data/0"):
                data = np.frombuffer(data, "u1").reshape(-1, width)[:, ::-1].tobytes()
            big.writestr(member, b"big" if member.endswith("byteorder") else data)
    assert_same(read("big.pt").numpy(), torch.load("big.pt"))


def legacy_tar(values: np.ndarray[Any, Any]) -> bytes:
    """A file as PyTorch wrote them before 0.1.10, which nothing writes any more."""
    storages, tensors = io.BytesIO(), io.BytesIO()
    for item in (1, ("7", "cpu", torch.FloatStorage)):
        pickle.dump(item, storages, 2)
    storages.write(struct.pack("<q", values.size) + values.tobytes())
    pickle.dump([("8", "7", 2, 3)], storages, 2)
    pickle.dump(2, tensors, 2)
    for key, storage, size, stride, offset in (
        ("1", "7", (2, 2), (1, 2), 1),
        ("2", "8", (3,), (1,), 0),
    ):
        pickle.dump((key, storage, torch.FloatTensor), tensors, 2)
        tensors.write(struct.pack("<ii", len(size), 0))
        tensors.write(struct.pack(f"<{2 * len(size) + 1}q", *size, *stride, offset))
    members = {
        "sys_info": pickle.dumps({"protocol_version": 1000, "little_endian": True}, 2),
        "pickle": b"\x80\x02}(U\x01wU\x011QU\x01vU\x012QU\x01nK\x03u.",
        "tensors": tensors.getvalue(),
        "storages": storages.getvalue(),
    }  # fmt: skip
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def test_the_oldest_files_of_pytorch() -> None:
    values = np.arange(6, dtype="f4")
    Path("x.pt").write_bytes(legacy_tar(values))
    tree = read("x.pt")
    found: Any = tree.numpy()
    assert tree.kind == "PyTorch, tar" and found["n"] == 3
    assert found["w"].tolist() == [[1, 3], [2, 4]] and found["v"].tolist() == [2, 3, 4]
    assert tree.root["w"].storages == tree.root["v"].storages


def test_distributed_checkpoints() -> None:
    import torch.distributed.checkpoint as dcp

    state = {
        "w": torch.ones(4),
        "n": 3,
        "t": {"a": torch.arange(4.0).bfloat16(), "l": [torch.ones(1), 5]},
    }
    dcp.save(state, checkpoint_id="dcp", no_dist=True)
    for path in ("dcp", "dcp/.metadata"):
        tree = read(path)
        assert tree.kind == "PyTorch, distributed"
        assert_same(tree.numpy(), state)
    assert_same(foreign.read("dcp").numpy(), state)
    assert len({array.storages for _, array in tree.arrays()}) == 3


def test_tensors_in_shards_are_put_together() -> None:
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.filesystem import _StorageInfo
    from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex

    whole = torch.arange(24.0).view(4, 6)
    boxes = {(0, 0): whole[:2], (2, 0): whole[2:, :5], (2, 5): whole[2:, 5:]}
    dcp.save({"w": whole}, checkpoint_id="dcp", no_dist=True)
    metadata = pickle.loads(Path("dcp/.metadata").read_bytes())
    metadata.storage_data = {}
    metadata.state_dict_metadata["w"].chunks = []
    for i, (at, piece) in enumerate(boxes.items()):
        torch.save(piece.clone(), f"dcp/__{i}_0.distcp")
        length = Path(f"dcp/__{i}_0.distcp").stat().st_size
        index = MetadataIndex("w", torch.Size(at))
        metadata.storage_data[index] = _StorageInfo(f"__{i}_0.distcp", 0, length)
        chunk = ChunkStorageMetadata(torch.Size(at), piece.shape)
        metadata.state_dict_metadata["w"].chunks.append(chunk)
    Path("dcp/.metadata").write_bytes(pickle.dumps(metadata))
    tree = read("dcp")
    assert_same(tree.numpy(), {"w": whole})
    loaded = {"w": torch.zeros(4, 6)}
    dcp.load(loaded, checkpoint_id="dcp", no_dist=True)
    assert_same(tree.numpy(), loaded)
    array: ForeignArray = tree.root["w"]  # type: ignore[index]
    assert b"".join(array.pieces(10)) == bits(whole)[2]

    del metadata.state_dict_metadata["w"].chunks[1]
    Path("dcp/.metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(ForeignDamaged, match="pieces of a tensor are missing"):
        read("dcp")


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_what_joblib_saves(compress: Any) -> None:
    joblib.dump(PLAIN, "x.joblib", compress=compress)
    tree = read("x.joblib")
    assert_same(tree.numpy(), joblib.load("x.joblib"))
    # In the order of the file, against it, and again.
    arrays = [array for _, array in tree.arrays()]
    for array in (*reversed(arrays), *arrays):
        assert b"".join(array.pieces(100_000)) == array.numpy().tobytes()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_saves(save: Any) -> None:
    arrays = {f"a{i}": array for i, array in enumerate(PLAIN["arrays"])}
    save("x.npz", **arrays)
    assert_same(read("x.npz").numpy(), arrays)
    for array in arrays.values():
        np.save("x.npy", array)
        assert_same(read("x.npy").numpy(), np.load("x.npy", allow_pickle=True))


def test_what_only_its_own_code_could_make_is_refused_with_a_reason() -> None:
    import enum

    sparse = torch.eye(2).to_sparse()
    quantised = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    cases = {
        "sparse": sparse,
        "quantised": quantised,
        "without data": torch.ones(2, device="meta"),
        "conjugated": torch.ones(2, dtype=torch.complex64).conj(),
        "'x/0'": {"x": [enum.Enum("Color", "RED", module=__name__)]},
    }
    globals()["Color"] = cases["'x/0'"]["x"][0]
    for why, value in cases.items():
        torch.save(value, "x.pt")
        with pytest.raises(ForeignRefused, match=why):
            read("x.pt")
    torch.save(torch.nn.Linear(1, 1), "x.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ForeignRefused, match="a whole module is there"):
        read("x.pt")
