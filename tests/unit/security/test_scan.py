"""Other people's pickles: what attacks do is told and not done; what is harmless is called so."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import fractions
import gzip
import io
import os
import pathlib
import pickle
import struct
import uuid
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attacks import (
    ATTACKS,
    CANARY,
    WRAPPINGS,
    Attack,
    beyond_any_file,
    object_array,
    tarred,
    tarred_as,
    touch,
    zipped,
)

from absent import required
from holdfast.security.pickle_files import scan_file


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def level_of(data: bytes, name: str = "x.pkl") -> str:
    Path(name).write_bytes(data)
    found = scan_file(Path(name)).level
    assert not Path(CANARY).exists()
    return found


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_told_and_not_done(name: str) -> None:
    assert level_of(ATTACKS[name]) != "safe"


@pytest.mark.parametrize("name", WRAPPINGS)
def test_attacks_are_found_wherever_they_hide(name: str) -> None:
    wrap = WRAPPINGS[name]
    assert level_of(wrap(ATTACKS["system, protocol 2"])) == "dangerous"
    assert level_of(wrap(pickle.dumps({"a": [1, 2.5, "x"]}))) == "safe"


GOOD: dict[str, Any] = {
    "plain values": {"a": [1, 2.5, "x", b"y", None, True, 1 << 80, 1j], "b": ({1, 2}, (3,))},
    "arrays": {"w": np.ones((3, 4)), "s": np.float32(2), "b": np.array([True]), "u": np.array("x")},
    "structured": np.zeros(3, [("a", "f4"), ("b", "i8", (2,))]),
    "dates": [datetime.datetime(2026, 1, 2), datetime.timedelta(1)],
    "paths": pathlib.PurePosixPath("/a/b"),
    "containers": [
        collections.OrderedDict(a=1), collections.Counter("aab"), collections.deque([1], 3),
        collections.defaultdict(list, a=[1]),
    ],
    "arguments": argparse.Namespace(lr=0.1, name="x"),
    "ids": uuid.UUID(int=5),
    "numbers": [fractions.Fraction(1, 3), decimal.Decimal("1e9"), range(10**12), bytearray(b"x")],
}  # fmt: skip


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", GOOD)
def test_what_is_harmless_is_called_safe(name: str, protocol: int) -> None:
    assert level_of(pickle.dumps(GOOD[name], protocol=protocol)) == "safe"


@pytest.mark.parametrize("legacy", [False, True])
def test_checkpoints_of_pytorch(legacy: bool) -> None:
    torch = required("torch")
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "more": [
            torch.ones(2, dtype=torch.bfloat16),
            model.weight,
            torch.device("cpu"),
            torch.int8,
        ],
    }
    torch.save(state, "good.pth", _use_new_zipfile_serialization=not legacy)
    assert scan_file(Path("good.pth")).level == "safe"
    state["x"] = Attack(os.system, touch())
    torch.save(state, "bad.pth", _use_new_zipfile_serialization=not legacy)
    found = scan_file(Path("bad.pth"))
    assert found.level == "dangerous"
    assert touch() in str(found)
    # A whole module runs code of its own; who trusts it may load it.
    torch.save(model, "module.pth", _use_new_zipfile_serialization=not legacy)
    found = scan_file(Path("module.pth"))
    assert found.level == "unknown" and "torch.nn.modules.linear.Linear" in str(found)


def test_checkpoints_of_dcp(tmp_path: Path) -> None:
    torch = required("torch")
    import torch.distributed.checkpoint as dcp

    state = {"w": torch.ones(4), "n": 3, "t": {"a": torch.zeros(2)}}
    dcp.save(state, checkpoint_id=tmp_path / "dcp", no_dist=True)
    for path in (tmp_path / "dcp").iterdir():
        found = scan_file(path)
        assert found.level == "safe" and found.pickles, path


def test_files_of_joblib(tmp_path: Path) -> None:
    joblib = required("joblib")
    good = {"a": np.random.default_rng(0).random((100, 7)), "b": [np.arange(5)], "c": "x"}
    bad = {
        "behind an array": {"a": np.ones((100, 7)), "x": Attack(os.system, touch())},
        "in an array": {"a": np.array([1, Attack(os.system, touch())], dtype=object)},
    }
    for compress in (0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3)):
        joblib.dump(good, "good.joblib", compress=compress)
        assert scan_file(Path("good.joblib")).level == "safe", compress
        for name, state in bad.items():
            joblib.dump(state, "bad.joblib", compress=compress)
            assert scan_file(Path("bad.joblib")).level == "dangerous", (compress, name)


# --- hostile, but no attack on the reader ---


def test_what_is_cut_short_is_not_called_safe() -> None:
    whole = pickle.dumps({"a": list(range(100)), "b": "x" * 500})
    for length in range(3, len(whole)):
        assert level_of(whole[:length]) == "unknown"


def test_a_flood_of_references_ends() -> None:
    # Lists of lists of lists, each twice in the next: 2**60 leaves if anybody counted them.
    data = b"\x80\x02]q\x00" + b"".join(
        b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60)
    )
    assert level_of(data + b".") == "safe"
    assert level_of(data + b"cos\nsystem\n(h\x3ctR.") == "dangerous"


def test_depth_does_not_matter() -> None:
    assert level_of(b"]" * 100_000 + b"a" * 99_999 + b".") == "safe"


def test_lengths_are_not_believed() -> None:
    assert level_of(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.") == "unknown"
    assert level_of(b"\x80\x02r" + struct.pack("<I", 0xFFFFFFFF) + b".") == "unknown"


def test_bombs_are_not_unpacked() -> None:
    bomb = pickle.dumps(bytes(400 << 20))
    assert level_of(zlib.compress(bomb, 9)) == "unknown"
    assert level_of(zipped(bomb, compression=zipfile.ZIP_DEFLATED)) == "unknown"


def test_what_is_nothing_is_not_called_safe() -> None:
    for data in (b"", b"hello world", os.urandom(1000), b"PK\x03\x04 no archive"):
        assert level_of(data) == "unknown"


@pytest.mark.parametrize("name", ["archive/data.pkl", "weights"])
def test_members_at_places_that_no_file_has(name: str) -> None:
    assert level_of(beyond_any_file(zipped(pickle.dumps([1]), name))) == "unknown"


def test_random_changes_never_break_the_reader() -> None:
    dice = np.random.default_rng(0)
    samples = [*ATTACKS.values(), *(pickle.dumps(v, protocol=4) for v in GOOD.values())]
    for sample in samples:
        for _ in range(10):
            data = bytearray(sample)
            for _ in range(dice.integers(1, 4)):
                data[dice.integers(len(data))] = dice.integers(256)
            level_of(bytes(data))


def test_files_in_archives_are_looked_into() -> None:
    bad, good = ATTACKS["system, protocol 2"], pickle.dumps([1])
    assert level_of(zipped(zipped(bad), "model/pytorch_model.bin")) == "dangerous"
    assert level_of(zipped(gzip.compress(bad), "weights.GZ")) == "dangerous"
    assert level_of(zipped(zipped(good), "model/pytorch_model.bin")) == "safe"
    for _ in range(10):
        good = zipped(good, "again.zip")
    assert level_of(good) == "unknown"


def test_only_real_safetensors_are_called_so() -> None:
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    whole = struct.pack("<Q", len(header)) + header + bytes(4)
    assert level_of(whole) == "safe"
    for other in (b"12345678{", b"12345678{}", struct.pack("<Q", 1 << 40) + header, whole[:20]):
        assert level_of(other) == "unknown"


def test_an_archive_that_counts_from_the_begin_of_the_file_is_found() -> None:
    out = io.BytesIO()
    out.write(zipped(pickle.dumps(1)))
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", ATTACKS["system, protocol 2"])
    assert level_of(out.getvalue()) == "dangerous"


# Python's unpickler takes the number, our reader does not; what comes behind it is run.
ODD = b"I0x1\n0cos\nsystem\n(S'true'\ntR."


@pytest.mark.parametrize(
    "wrap", [zipped, gzip.compress, object_array, tarred], ids=lambda wrap: wrap.__name__
)
def test_what_cannot_be_followed_is_not_called_safe_wherever_it_is(wrap: Any) -> None:
    assert level_of(wrap(ODD)) == "unknown"


def test_all_pickles_of_an_old_file_of_pytorch_count() -> None:
    head = [pickle.dumps(v) for v in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    assert level_of(b"".join(head) + ODD) == "unknown"
    assert level_of(pickle.dumps(1) * 10_001 + ATTACKS["system, protocol 2"]) == "unknown"


def test_opcodes_in_the_place_of_an_array_of_joblib_are_found() -> None:
    """Joblib passes over the bytes of an array; whoever else loads the file runs them."""
    hidden = b"0cos\nsystem\n(S'" + touch().encode() + b"'\ntR"
    data = b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(S'shape'\n(I%d\nt" % len(hidden)
    data += b"S'order'\nS'C'\nS'dtype'\ncnumpy\ndtype\n(S'u1'\nI0\nI1\ntR"
    data += b"(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbub" + hidden + b"."
    assert level_of(data) == "dangerous"


def test_a_tar_archive_whose_first_name_is_a_pickle_is_found() -> None:
    name = f"cos\nsystem\n(S'{touch()}'\ntR."
    assert level_of(tarred_as(name, b"x")) == "dangerous"
    assert level_of(tarred_as("checkpoint.txt", b"first line\nimport os.path\n")) == "safe"


def test_an_archive_of_a_version_to_come_is_not_called_safe() -> None:
    data = bytearray(zipped(pickle.dumps(1)))
    data[data.rfind(b"PK\1\2") + 6] = 99
    assert level_of(bytes(data)) == "unknown"


def test_an_opcode_across_the_end_of_a_frame_is_not_believed() -> None:
    """Python would go on with what is behind the frame, and see another name."""
    body = b"cnumpy\nsystemDType\n)R."
    assert level_of(b"\x80\x04\x95" + struct.pack("<Q", 9) + body) == "unknown"


@pytest.mark.parametrize("name", ["lib.npyio.os.system", "os.system", "ctypeslib.os.system"])
def test_a_way_through_modules_that_others_have_imported(tmp_path: Path, name: str) -> None:
    """Since protocol 4 a name may have dots, and all of NumPy would be on the way to a shell."""
    path = tmp_path / "x.pkl"
    words = b"".join(b"\x8c" + bytes([len(word)]) + word for word in (b"numpy", name.encode()))
    path.write_bytes(b"\x80\x04" + words + b"\x93\x8c\x02id\x85R.")
    scan = scan_file(path)
    assert scan.level == "dangerous"
    [finding] = scan.pickles[0].findings
    assert finding.what == f"runs a shell command: numpy.{name}('id')"
