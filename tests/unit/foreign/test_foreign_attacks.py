"""Files that attack their reader: nothing executes, and each is refused with its reason."""

from __future__ import annotations

import collections
import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from attacks import (
    ATTACKS,
    CANARY,
    WRAPPINGS,
    Attack,
    beyond_any_file,
    object_array,
    op,
    touch,
    zipped,
)
from foreign_checks import read

from holdfast import foreign
from holdfast.errors import ForeignDamaged, ForeignRefused
from holdfast.foreign import Limits
from holdfast.security.pickle_files import scan_file
from holdfast.security.pickle_machine import Global
from holdfast.security.pickle_verdicts import is_safe


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("secret").write_bytes(b"s" * 4096)


def refused(data: bytes, name: str = "x.pkl", **more: Any) -> str:
    """Return why a file is refused; nothing of it was run."""
    Path(name).write_bytes(data)
    with pytest.raises((ForeignRefused, ForeignDamaged)) as caught:
        read(name, **more)
    assert not Path(CANARY).exists()
    return caught.value.message


KEPT = ("items into a stranger", "an import alone", "mkdir, protocol 4", "mkdir, protocol 5")


@pytest.mark.parametrize("unknown", ["refuse", "keep"])
@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "hidden behind a good one"])
def test_attacks_are_refused_and_not_done(name: str, unknown: str) -> None:
    is_kept = name.startswith(
        ("items into a stranger", "an import alone", "mkdir, protocol 4", "mkdir, protocol 5")
    )
    if unknown == "keep" and is_kept:
        # What only its package knows is not called either; what it would be given is kept.
        Path("x.pkl").write_bytes(ATTACKS[name])
        read("x.pkl", unknown=unknown)
    else:
        refused(ATTACKS[name], unknown=unknown)
    assert not Path(CANARY).exists()


def test_what_is_behind_a_pickle_is_never_reached() -> None:
    Path("x.pkl").write_bytes(ATTACKS["hidden behind a good one"])
    assert read("x.pkl").root == [1, 2]
    assert not Path(CANARY).exists()


# Of these, each loader reads one of the two only, the good one.
TWO_FILES_IN_ONE = ("behind a good pickle", "before a good zip")


@pytest.mark.parametrize("name", [name for name in WRAPPINGS if name not in TWO_FILES_IN_ONE])
def test_attacks_are_refused_wherever_they_hide(name: str) -> None:
    refused(WRAPPINGS[name](ATTACKS["system, protocol 2"]))


@pytest.mark.parametrize("confined", [False, True])
def test_the_reason_is_the_one_that_a_scan_tells(confined: bool) -> None:
    torch.save({"w": torch.ones(1), "x": Attack(os.system, touch())}, "x.pt")
    with pytest.raises(ForeignRefused) as caught:
        foreign.read("x.pt", confined=confined)
    (finding,) = scan_file(Path("x.pt")).pickles[0].findings
    assert caught.value.what == finding.what == f"runs a shell command: posix.system('{touch()}')"
    assert (caught.value.position, caught.value.level) == (finding.position, "dangerous")
    assert caught.value.exit_code == 1 and not Path(CANARY).exists()


def test_attacks_in_every_kind_of_file() -> None:
    attack = Attack(os.system, touch())
    joblib.dump({"a": np.array([1, attack], dtype=object)}, "a.joblib", compress=3)
    joblib.dump({"a": np.ones(3), "b": attack}, "b.joblib")
    np.savez("c.npz", a=np.array([attack], dtype=object))
    torch.save([torch.ones(1), attack], "d.pt", _use_new_zipfile_serialization=False)
    Path("e.npy").write_bytes(object_array(pickle.dumps(attack)))
    torch.save(np.array([attack], dtype=object), "f.pt")
    for name in ("a.joblib", "b.joblib", "c.npz", "d.pt", "e.npy", "f.pt"):
        with pytest.raises(ForeignRefused, match="runs a shell command"):
            read(name)
    assert not Path(CANARY).exists()


def test_everything_that_has_a_rule_is_called_safe() -> None:
    from holdfast.foreign.session import RULES

    assert [name for name in RULES if not is_safe(Global(*_split(name)))] == []


def _split(name: str) -> tuple[str, str]:
    if name.startswith("zoneinfo."):
        return "zoneinfo", name.removeprefix("zoneinfo.")
    module, _, attribute = name.rpartition(".")
    return module, attribute


# --- arguments that would be dangerous, if what is called were called ---

ARGUMENTS: dict[str, tuple[bytes, str]] = {
    "a billion bytes": (op(b"cbuiltins\nbytes\n(J\x00\x00\x00\x40tR."), "memory without bound"),
    "some bytes": (op(b"cbuiltins\nbytes\n(J\x40\x00\x00\x00tR."), "no bytes"),
    "a bytearray": (op(b"cbuiltins\nbytearray\n(J\x40\x00\x00\x00tR."), "no bytes"),
    "a fraction": (op(b"cfractions\nFraction\n(X\x06\x00\x00\x001e9999tR."), "no fraction"),
    "a long one": (op(b"cfractions\nFraction\n(X\x09\x00\x00\x001e9999999tR."), "without bound"),
    "a codec": (op(b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00hextR."), "encoding"),
    "a time zone": (
        op(b"czoneinfo\nZoneInfo._unpickle\n(X\x09\x00\x00\x00../secretI1\ntR."),
        "no name of a time",
    ),
    "a set of lists": (op(b"cbuiltins\nset\n(](]etR."), "member of a set"),
    "a list as a key": (op(b"}]I1\ns."), "a key"),
    "itself": (op(b"]q\x00h\x00a."), "contains itself"),
    "itself, as a dict": (op(b"}q\x00I1\nh\x00s."), "contains itself"),
    "depth": (b"]" * 5000 + b"a" * 4999 + b".", "containers deep"),
    "an extension": (op(b"\x80\x02\x82\x01."), "registry of extensions"),
    "a persistent id": (op(b"\x80\x02X\x01\x00\x00\x00xQ."), "asks its loader"),
    "a buffer from elsewhere": (op(b"\x80\x05\x97."), "asks its loader"),
    "a factory that is a function": (
        op(b"ccollections\ndefaultdict\n(cos\ngetcwd\ntR."),
        "operating",
    ),
    "a subclass of dict": (
        op(b"ccopy_reg\n_reconstructor\n(cbuiltins\nobject\ncbuiltins\ndict\n}tR."), "derives from",
    ),
    "cut short": (pickle.dumps({"a": "x" * 100})[:-20], "malformed"),
    "lengths": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.", "not there"),
    "the memo": (b"\x80\x02r" + struct.pack("<I", 0xFFFFFFFF) + b".", "malformed"),
}  # fmt: skip


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_are_checked(name: str) -> None:
    data, why = ARGUMENTS[name]
    assert why in refused(data)


def test_a_flood_of_references_ends() -> None:
    data = b"\x80\x02]q\x00" + b"".join(
        b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60)
    )
    assert "values" in refused(data + b".")


def test_numbers_of_steps_and_values_are_bounded() -> None:
    data = pickle.dumps(list(range(1000)))
    assert "more than 500 steps" in refused(data, limits=Limits(steps=500))
    assert "more than 500 values" in refused(data, limits=Limits(values=500))


# --- arrays ---


def numpy_array(shape: tuple[int, ...], kind: str, data: bytes) -> bytes:
    build = np.zeros(1, kind).__reduce__()

    class Built:
        def __reduce__(self) -> Any:
            return (*build[:2], (1, shape, np.dtype(kind), False, data))

    return pickle.dumps(Built(), protocol=2)


def test_arrays_have_the_bytes_that_they_announce() -> None:
    for shape in ((1 << 40,), (3,), (-1,), (1 << 70,)):
        assert "x.pkl" in refused(numpy_array(shape, "f8", b"12345678"))
    refused(numpy_array((1,), "U99999999", b"1234"))
    header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)}
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, header)
    assert "cut short" in refused(out.getvalue() + b"12345678", "x.npy")


TENSORS: dict[str, tuple[Any, ...]] = {
    "a size": (0, (1 << 40,), (1,)),
    "an offset": (1 << 40, (1,), (1,)),
    "an offset before": (-1, (1,), (1,)),
    "a stride": (0, (2,), (1 << 40,)),
    "a stride backwards": (3, (2,), (-1,)),
    "dimensions": (0, (1,) * 65, (1,) * 65),
    "fewer strides": (0, (1, 1), (1,)),
    "a size below nothing": (0, (-1,), (1,)),
    "far too many elements": (0, (1 << 20, 1 << 20), (0, 0)),
}


class Tensor:
    def __init__(self, key: Any, offset: int, size: Any, stride: Any) -> None:
        self.key, self.rest = key, (offset, size, stride, False, collections.OrderedDict())

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_tensor_v2, (Asked(self.key), *self.rest)


class Asked:
    def __init__(self, key: Any) -> None:
        self.key = key


def torch_pickle(value: Any) -> bytes:
    out = io.BytesIO()
    pickler = pickle.Pickler(out, protocol=2)
    pickler.persistent_id = lambda obj: obj.key if isinstance(obj, Asked) else None  # type: ignore[method-assign, assignment]
    pickler.dump(value)
    return out.getvalue()


def torch_zip(value: Any, storages: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("x/data.pkl", torch_pickle(value))
        for key, data in storages.items():
            archive.writestr(f"x/data/{key}", data)
    return out.getvalue()


def storage(key: object = "0", count: object = 4, kind: object = torch.FloatStorage) -> Any:
    return "storage", kind, key, "cpu", count


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_stay_within_their_storage(name: str) -> None:
    Path("good.pt").write_bytes(torch_zip(Tensor(storage(), 0, (4,), (1,)), {"0": bytes(16)}))
    assert read("good.pt").numpy().tolist() == [0, 0, 0, 0]  # type: ignore[attr-defined]
    refused(torch_zip(Tensor(storage(), *TENSORS[name]), {"0": bytes(16)}), "x.pt")


def test_storages_are_members_and_nothing_else() -> None:
    for key in ("../../secret", "/etc/passwd", str(Path("secret").absolute()), "1", 0, None):
        why = refused(torch_zip(Tensor(storage(key), 0, (1,), (1,)), {"0": bytes(16)}), "x.pt")
        assert "has no storage" in why or "in place of a text" in why
    for count in (5, 1 << 60, -1, "4", True):
        refused(torch_zip(Tensor(storage(count=count), 0, (1,), (1,)), {"0": bytes(16)}), "x.pt")
    for kind in (torch.QInt8Storage, os.system, dict, "FloatStorage"):
        refused(torch_zip(Tensor(storage(kind=kind), 0, (1,), (1,)), {"0": bytes(16)}), "x.pt")
    for asked in (("module", dict, "x.py", "code"), "0", ("storage",), 5):
        refused(torch_zip(Asked(asked), {"0": bytes(16)}), "x.pt")


def test_names_that_lead_out_of_an_archive_write_and_read_nothing() -> None:
    key = "../../../secret"
    data = torch_zip(Tensor(storage(key), 0, (1,), (1,)), {key: bytes(16)})
    Path("x.pt").write_bytes(data)
    assert read("x.pt").numpy().tolist() == [0]  # type: ignore[attr-defined]
    assert Path("secret").read_bytes() == b"s" * 4096


# --- archives ---


def with_members(*members: tuple[str, bytes], **more: Any) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **more) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_two_readers_would_read_differently() -> None:
    good, bad = pickle.dumps(1), ATTACKS["system, protocol 2"]
    assert "two members" in refused(with_members(("a/data.pkl", good), ("a/data.pkl", bad)))
    assert "exactly one" in refused(with_members(("a/data.pkl", good), ("b/data.pkl", bad)))
    two = with_members(("a/data.pkl", good))
    at = two.index(b"a/data.pkl")
    assert "two names" in refused(two[:at] + b"b" + two[at + 1 :])
    assert "overlap" in refused(two[:4] + zipped(good) + two)
    assert "archive" in refused(two[:-10])
    assert "TorchScript" in refused(with_members(("a/data.pkl", good), ("a/code/x.py", b"1")))


def test_members_at_places_that_no_file_has() -> None:
    whole = with_members(("a/data.pkl", pickle.dumps(1)), ("b.npy", b"x"))
    assert "not where it should be" in refused(beyond_any_file(whole))


def test_members_that_lie_in_one_another() -> None:
    inner = with_members(("b.npy", object_array(pickle.dumps([1]))))
    whole = bytearray(with_members(("a.npy", inner), ("c.npy", b"x")))
    # The entry of the second member says that it is within the first.
    at = whole.rindex(b"PK\x01\x02")
    whole[at + 42 : at + 46] = struct.pack("<I", 30 + 5)
    whole[30 + 5 + 30 : 30 + 5 + 35] = b"c.npy"
    assert "overlap" in refused(bytes(whole))


def test_bombs() -> None:
    bomb = pickle.dumps(bytes(4 << 20))
    few = Limits(ratio=10, floor_bytes=1 << 20)
    assert "bomb" in refused(zlib.compress(bomb, 9), limits=few)
    assert "bomb" in refused(gzip.compress(bomb), limits=few)
    packed = with_members(("a/data.pkl", bomb), compression=zipfile.ZIP_DEFLATED)
    assert "far more" in refused(packed, limits=few)
    # A member gives no more than its entry says.
    lying = bytearray(packed)
    at = lying.rindex(b"PK\x01\x02")
    lying[at + 24 : at + 28] = struct.pack("<I", 1000)
    assert "bomb" in refused(bytes(lying), limits=few)
    encrypted = bytearray(packed)
    encrypted[at + 8] |= 1
    assert "encrypted" in refused(bytes(encrypted), limits=few)


def test_links_in_tar_archives() -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for name in ("sys_info", "storages", "tensors", "pickle"):
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, str(Path("secret").absolute())
                archive.addfile(member)
        assert "no plain file" in refused(out.getvalue())
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../evil"))
    assert "too many" in refused(out.getvalue())


# --- folders ---


def dcp_with(change: Callable[[Any], object]) -> str:
    import torch.distributed.checkpoint as dcp

    dcp.save({"w": torch.ones(4)}, checkpoint_id="dcp", no_dist=True)
    metadata = pickle.loads(Path("dcp/.metadata").read_bytes())
    change(metadata)
    Path("dcp/.metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises((ForeignRefused, ForeignDamaged)) as caught:
        read("dcp")
    return caught.value.message


def test_folders_of_shards_do_not_lead_elsewhere() -> None:
    def moved(name: str, offset: int = 0) -> Callable[[Any], object]:
        def change(metadata: Any) -> None:
            (info,) = metadata.storage_data.values()
            info.relative_path, info.offset = name, offset

        return change

    assert "outside" in dcp_with(moved("../secret"))
    assert "outside" in dcp_with(moved(str(Path("secret").absolute())))
    assert "missing" in dcp_with(moved("not there"))
    assert "shorter" in dcp_with(moved("__0_0.distcp", 1 << 40))
    assert "shorter" in dcp_with(moved("__0_0.distcp", -5))
    os.symlink("../secret", "dcp/link")
    assert "link" in dcp_with(moved("link"))
    attack = Attack(os.system, touch())
    assert "runs a shell" in dcp_with(lambda m: setattr(m, "planner_data", attack))
    assert not Path(CANARY).exists()


# --- the process of its own ---


def test_a_process_that_asks_for_too_much_is_ended() -> None:
    Path("x.pkl").write_bytes(b"(" + b"]" * 100_000 + b"l.")
    with pytest.raises(ForeignRefused, match="more memory than it may have"):
        foreign.read("x.pkl", limits=Limits(memory_bytes=4 << 20))
    Path("x.pkl").write_bytes(b"(" + b"N" * 5_000_000 + b"l.")
    with pytest.raises(ForeignRefused, match="took too long"):
        foreign.read("x.pkl", limits=Limits(cpu_s=1))


def test_modules_beside_a_file_are_not_imported() -> None:
    for name in ("numpy", "json", "holdfast", "sitecustomize"):
        Path(f"{name}.py").write_text(f"open({CANARY!r}, 'w')")
    Path("x.pkl").write_bytes(pickle.dumps([1]))
    assert foreign.read("x.pkl").root == [1]
    assert not Path(CANARY).exists()
