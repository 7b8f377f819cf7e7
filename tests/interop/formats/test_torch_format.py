"""PyTorch's own files: what it writes is read, what is written it loads with ``weights_only``."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import round_trips
import torch
from hypothesis import Phase, given, settings
from nested_states import DTYPES, assert_same, states, tensor

import holdfast
from holdfast.convert import export, import_checkpoint
from holdfast.convert.registry import format_of
from holdfast.convert.zip_plan import Array, Member, plan_zip
from holdfast.errors import CannotConvert, ForeignDamaged, ForeignRefused
from holdfast.foreign.checksums import combine

CORPUS = Path(__file__).parents[2] / "fuzz/corpus/foreign"


exported = partial(round_trips.exported, name="x.pt", format="torch")


@settings(max_examples=60, deadline=None)
@given(states)
def test_what_is_written_is_loaded_as_it_was(tmp_path_factory: Any, state: dict[str, Any]) -> None:
    path = exported(tmp_path_factory.mktemp("there"), state)
    assert_same(torch.load(path, weights_only=True), state)
    assert zipfile.ZipFile(path).testzip() is None


# Each reading is a process of its own: what fails is not made smaller for minutes.
@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(states)
def test_everything_goes_there_and_back(tmp_path_factory: Any, state: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("back")
    import_checkpoint(folder / "s", exported(folder, state), run="back")
    assert_same(holdfast.load(folder / "s", "back@0"), state)


@pytest.mark.parametrize("is_zip", [True, False])
def test_their_files_are_read(tmp_path: Path, is_zip: bool) -> None:
    state = {
        "t": {str(dtype): tensor(dtype, (3, 5), i) for i, dtype in enumerate(DTYPES)},
        "turned": torch.arange(12.0).view(3, 4).T,
        "opt": {"state": {0: {"step": torch.tensor(1.0)}, 1: {}}, "groups": [{"betas": (0.9, 1)}]},
        "od": OrderedDict(a=None, b=[1, 2.5, "x", b"y", True]),
    }
    torch.save(state, tmp_path / "x.pth", _use_new_zipfile_serialization=is_zip)
    assert format_of(tmp_path / "x.pth").name == "torch"
    import_checkpoint(tmp_path / "s", tmp_path / "x.pth", run="r")
    assert_same(holdfast.load(tmp_path / "s", "r@0"), state)


def test_the_oldest_form_is_read(tmp_path: Path) -> None:
    assert format_of(CORPUS / "seed-torch-tar").name == "torch"
    import_checkpoint(tmp_path / "s", CORPUS / "seed-torch-tar", run="r")
    assert any(isinstance(v, torch.Tensor) for v in holdfast.load(tmp_path / "s", "r@0").values())


def test_training_goes_on_from_an_export_as_from_the_checkpoint(tmp_path: Path) -> None:
    def made() -> tuple[Any, Any]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8))
        return model, torch.optim.AdamW(model.parameters(), lr=0.01)

    def steps(model: Any, optimizer: Any, n: int) -> None:
        for i in range(n):
            optimizer.zero_grad()
            batch = torch.full((3, 4), float(i)) + torch.arange(3.0)[:, None]
            model(batch).square().sum().backward()
            optimizer.step()

    model, optimizer = made()
    steps(model, optimizer, 3)
    path = exported(tmp_path, {"model": model, "optimizer": optimizer, "epoch": 3})
    other, other_optimizer = made()
    found = torch.load(path, weights_only=True)
    other.load_state_dict(found["model"])
    other_optimizer.load_state_dict(found["optimizer"])
    steps(model, optimizer, 2)
    steps(other, other_optimizer, 2)
    assert found["epoch"] == 3
    assert_same(other.state_dict(), model.state_dict())


def test_tied_tensors_stay_tied_there_and_back(tmp_path: Path) -> None:
    weight = torch.randn(3, 4)
    state = {"a": weight, "l": [weight, torch.zeros(3, 4), torch.zeros(3, 4)]}
    path = exported(tmp_path, state)
    for is_mapped in (False, True):
        found = torch.load(path, weights_only=True, mmap=is_mapped)
        assert found["a"].data_ptr() == found["l"][0].data_ptr()
        assert found["l"][1].data_ptr() != found["l"][2].data_ptr()
        assert_same(found, state)
    import_checkpoint(tmp_path / "s", path, run="back")
    back = holdfast.load(tmp_path / "s", "back@0")
    assert back["a"].data_ptr() == back["l"][0].data_ptr()
    assert back["l"][1].data_ptr() != back["l"][2].data_ptr()


def test_views_that_are_not_the_same_are_told(tmp_path: Path) -> None:
    whole = torch.arange(10.0)
    torch.save({"w": whole, "part": whole[2:6], "none": whole[:0]}, tmp_path / "x.pt")
    told: list[str] = []
    import_checkpoint(tmp_path / "s", tmp_path / "x.pt", run="r", on_note=told.append)
    assert told == ["w and part are views of one storage; each has its own now"]
    back = holdfast.load(tmp_path / "s", "r@0")
    assert_same(back, {"w": whole, "part": whole[2:6], "none": whole[:0]})


def test_arrays_begin_where_they_can_be_mapped(tmp_path: Path) -> None:
    state = {"large": torch.zeros(600_000), "small": torch.ones(3), "more": torch.ones(5)}
    path = exported(tmp_path, state)
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        for info in archive.infolist():
            file.seek(info.header_offset + 26)
            name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
            begin = info.header_offset + 30 + name + extra
            assert begin % (4096 if info.file_size >= 1 << 20 else 64) == 0


def test_one_node_is_exported_with_its_keys_renamed(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3))
    path = exported(tmp_path, {"model": model, "n": 1}, root="model", rename=[r"^0\.=fc."])
    assert_same(
        torch.load(path), OrderedDict({"fc." + k[2:]: v for k, v in model.state_dict().items()})
    )
    with pytest.raises(CannotConvert, match="both be called 'x'"):
        export(tmp_path / "s", "r@0", tmp_path / "y", format="torch", root="model", rename=[".+=x"])
    assert not (tmp_path / "y").exists()


def test_a_part_of_lists_leaves_the_others_in_their_places(tmp_path: Path) -> None:
    state = {"l": [torch.ones(1), torch.ones(2), {"a": 1, "b": 2}], "gone": {"x": 1}}
    path = exported(tmp_path, state, only=["l/1", "l/2/b"])
    assert_same(torch.load(path), {"l": [None, torch.ones(2), {"b": 2}]})


def test_a_bare_tensor_goes_there_and_back(tmp_path: Path) -> None:
    path = exported(tmp_path, {"w": torch.ones(3)}, root="w")
    assert_same(torch.load(path), torch.ones(3))
    import_checkpoint(tmp_path / "s", path, run="back", root="model")
    assert_same(holdfast.load(tmp_path / "s", "back@0"), {"model": {"value": torch.ones(3)}})


def test_values_without_a_place_become_the_nearest_and_are_told(tmp_path: Path) -> None:
    import datetime as dt
    from typing import NamedTuple

    class Pair(NamedTuple):
        a: int
        b: int

    globals()["Pair"] = Pair
    Pair.__qualname__ = "Pair"
    state = {"at": dt.datetime(2026, 1, 2), "p": Path("x"), "f": np.float32(0.5), "n": Pair(1, 2)}
    holdfast.save(tmp_path / "s", state, run="r", step=0, rng=False)
    report = export(tmp_path / "s", "r@0", tmp_path / "x.pt", format="torch")
    found = torch.load(tmp_path / "x.pt", weights_only=True)
    assert found == {"at": "2026-01-02T00:00:00", "p": "x", "f": 0.5, "n": (1, 2)}
    assert report.notes == (
        "at: datetime became str",
        "p: PosixPath became str",
        "f: float32 became float",
        "n: Pair became tuple",
    )


@pytest.mark.parametrize("state", [{"w": np.zeros(2, "<U4")}, {"n": 1 << 5000}])
def test_what_it_cannot_hold_is_refused(tmp_path: Path, state: dict[str, Any]) -> None:
    with pytest.raises(CannotConvert, match="Nothing was written"):
        exported(tmp_path, state)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s"]


# --- archives past 4 GiB, and of many members ---


def planned(path: Path, members: list[Member]) -> None:
    """Write an archive whose arrays are zeros, as holes of the file."""
    plan = plan_zip(members)
    segments = [segment for member in members for segment in member.segments]
    sums = [zeros_sum(segment.nbytes) for segment in segments if isinstance(segment, Array)]
    with open(path, "wb") as file:
        file.truncate(plan.nbytes)
        for offset, data in plan.pieces(sums):
            file.seek(offset)
            file.write(data)


def zeros_sum(nbytes: int) -> int:
    piece = zlib.crc32(bytes(1 << 20))
    total, done = 0, 0
    while done < nbytes:
        n = min(1 << 20, nbytes - done)
        total = combine("crc32", total, piece if n == 1 << 20 else zlib.crc32(bytes(n)), n)
        done += n
    return total


def test_an_archive_past_four_gibibytes(tmp_path: Path) -> None:
    from holdfast.convert.pickling import Asked, Called, Name, pickled

    sizes = {"0": (1 << 32) + 400, "1": 1 << 20, "2": 12}

    def of(key: str) -> object:
        storage = Asked(("storage", Name("torch", "ByteStorage"), key, "cpu", sizes[key]))
        hooks = Called(Name("collections", "OrderedDict"), ())
        rebuild = Name("torch._utils", "_rebuild_tensor_v2")
        return Called(rebuild, (storage, 0, (sizes[key],), (1,), False, hooks))

    pickle = pickled({key: of(key) for key in sizes})
    members = [Member("archive/data.pkl", [pickle]), Member("archive/version", [b"3\n"])]
    members += [
        Member(f"archive/data/{k}", [Array(i, n)]) for i, (k, n) in enumerate(sizes.items())
    ]
    planned(tmp_path / "x.pt", [*members, Member("archive/byteorder", [b"little"])])
    found = torch.load(tmp_path / "x.pt", weights_only=True, mmap=True)
    assert {key: value.numel() for key, value in found.items()} == sizes
    assert int(found["0"][-1]) == 0 and found["2"].tolist() == [0] * 12
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        assert archive.read("archive/data/2") == bytes(12)
        assert zeros_sum(sizes["0"]) == archive.getinfo("archive/data/0").CRC
        assert archive.getinfo("archive/data/1").header_offset > 1 << 32
    (tmp_path / "x.pt").unlink()


def test_an_archive_of_more_members_than_sixteen_bits_count(tmp_path: Path) -> None:
    count = 70_000
    planned(tmp_path / "x.zip", [Member(f"m{i}", [b"%d" % i]) for i in range(count)])
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert len(archive.namelist()) == count
        assert archive.read(f"m{count - 1}") == b"%d" % (count - 1)


# --- what is no whole file ---


def test_truncations_are_refused(tmp_path: Path) -> None:
    whole = exported(tmp_path, {"a": torch.arange(5.0), "n": 3}).read_bytes()
    for length in (0, 3, 40, 64, 300, len(whole) // 2, len(whole) - 22, len(whole) - 1):
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        # Of one without the name of its first member nobody can say what it was.
        error = ForeignDamaged if length >= 64 else CannotConvert
        with pytest.raises(error):
            import_checkpoint(tmp_path / "new", tmp_path / "cut.pt", run="r")
    assert not (tmp_path / "new").exists()


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch gotcha",)


class Config:
    def __init__(self) -> None:
        self.lr, self.seen = 0.1, {3, 1}


@pytest.mark.parametrize("unknown", ["refuse", "keep"])
def test_a_file_that_attacks_is_refused_and_nothing_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unknown: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"w": torch.ones(2), "x": Evil()}, "x.pt")
    with pytest.raises(ForeignRefused):
        import_checkpoint("s", "x.pt", run="r", unknown=unknown)
    assert os.listdir() == ["x.pt"]


def test_objects_of_other_classes_are_kept_as_values_if_asked_for(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "c": Config()}, tmp_path / "x.pt")
    with pytest.raises(ForeignRefused, match="Config"):
        import_checkpoint(tmp_path / "s", tmp_path / "x.pt", run="r")
    told: list[str] = []
    import_checkpoint(
        tmp_path / "s", tmp_path / "x.pt", run="r", unknown="keep", on_note=told.append
    )
    found = holdfast.load(tmp_path / "s", "r@0")
    assert found["c"] == {"lr": 0.1, "seen": [1, 3]}
    assert told == [f"c: {__name__}.Config became dict", "c/seen: set became list"]
