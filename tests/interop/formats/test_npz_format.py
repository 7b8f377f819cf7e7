"""NumPy's files, as NumPy writes and reads them."""

from __future__ import annotations

import io
import os
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import ml_dtypes
import numpy as np
import pytest
import round_trips
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from nested_states import assert_same

import holdfast
from holdfast.convert import export, import_checkpoint
from holdfast.convert.npz import npy_header
from holdfast.convert.npz_dtypes import BITS_FIELD
from holdfast.convert.registry import format_of
from holdfast.convert.zip_plan import Member, extra_field, plan_zip
from holdfast.errors import CannotConvert, DataError, ForeignDamaged, UsageError

kinds = st.one_of(
    stn.scalar_dtypes(),
    stn.complex_number_dtypes(),
    stn.unicode_string_dtypes(max_len=5),
    stn.byte_string_dtypes(max_len=5),
    stn.datetime64_dtypes(),
    stn.array_dtypes(stn.integer_dtypes(endianness="?"), min_size=1, max_size=3),
).filter(lambda kind: kind.itemsize and kind.kind != "O" and kind != np.longdouble)
names = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: not name.startswith("@") and "\0" not in name and not name.endswith(".npy")
)


@st.composite
def arrays(draw: Any) -> Any:
    kind = draw(kinds)
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    nbytes = int(np.prod(shape)) * kind.itemsize
    raw = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, nbytes, dtype="u1")
    if kind.kind == "U":
        raw.view("u4")[:] %= 0xD800
        return raw.view("<u4").view(kind.newbyteorder("<")).reshape(shape).astype(kind)
    if kind.kind == "b":
        raw &= 1
    return raw.view(kind).reshape(shape)


trees = st.dictionaries(names, arrays(), min_size=1, max_size=6)


exported = partial(round_trips.exported, name="x.npz", format="npz")


def same_as(found: Any, tree: dict[str, Any]) -> None:
    assert set(found) == set(tree)
    for name, array in tree.items():
        assert_same(found[name], array, name)


@settings(max_examples=60, deadline=None)
@given(trees)
def test_what_is_written_is_loaded_as_it_was(tmp_path_factory: Any, tree: Any) -> None:
    path = exported(tmp_path_factory.mktemp("there"), {"m": tree}, root="m")
    with np.load(path, allow_pickle=False) as found:
        same_as(found, tree)
    assert zipfile.ZipFile(path).testzip() is None


# Each reading is a process of its own: what fails is not made smaller for minutes.
@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(trees)
def test_everything_goes_there_and_back(tmp_path_factory: Any, tree: Any) -> None:
    folder = tmp_path_factory.mktemp("back")
    import_checkpoint(folder / "s", exported(folder, {"m": tree}, root="m"), run="back")
    same_as(holdfast.load(folder / "s", "back@0"), tree)


LOW = [
    ml_dtypes.bfloat16,
    ml_dtypes.float8_e4m3fn,
    ml_dtypes.float8_e4m3fnuz,
    ml_dtypes.float8_e5m2,
    ml_dtypes.float8_e5m2fnuz,
    ml_dtypes.float8_e8m0fnu,
]


def test_what_numpy_has_no_type_for_is_refused_or_kept_as_bits(tmp_path: Path) -> None:
    raw = np.random.default_rng(0).integers(0, 256, 24, dtype="u1")
    tree = {np.dtype(kind).name: raw.view(kind).reshape(2, -1) for kind in LOW}
    holdfast.save(tmp_path / "s", tree, run="r", step=0, rng=False)
    path = tmp_path / "x.npz"
    with pytest.raises(CannotConvert, match=r"bfloat16, which NumPy's .* low_precision=bits"):
        export(tmp_path / "s", "r@0", path, format="npz")
    assert not path.exists()
    with pytest.raises(UsageError, match="there is 'bits'"):
        export(tmp_path / "s", "r@0", path, format="npz", options={"low_precision": "float32"})
    report = export(tmp_path / "s", "r@0", path, format="npz", options={"low_precision": "bits"})
    assert "bfloat16: bfloat16 became the bits of it, uint16" in report.notes
    with np.load(path) as found:
        for name, array in tree.items():
            assert found[name].dtype.kind == "u" and found[name].tobytes() == array.tobytes()
    import_checkpoint(tmp_path / "s", path, run="back")
    same_as(holdfast.load(tmp_path / "s", "back@0"), tree)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_their_files_are_read(tmp_path: Path, save: Any) -> None:
    tree = {
        "f": np.asfortranarray(np.random.default_rng(0).standard_normal((700, 900))),
        "big": np.arange(5, dtype=">i4"),
        "s": np.array(["a", "bcd"]),
        "t": np.zeros(2, [("a", "<f4"), ("b", "<M8[ns]", (2,))]),
        "scalar": np.float32(3),
        "empty": np.zeros((0, 3)),
    }
    save(tmp_path / "x.npz", **tree)
    assert format_of(tmp_path / "x.npz").name == "npz"
    import_checkpoint(tmp_path / "s", tmp_path / "x.npz", run="r")
    found = holdfast.load(tmp_path / "s", "r@0")
    with np.load(tmp_path / "x.npz") as theirs:
        same_as({k: np.asarray(v) for k, v in found.items()}, {k: theirs[k] for k in theirs.files})


def test_a_large_compressed_array_is_read_piece_by_piece(tmp_path: Path) -> None:
    large = np.tile(np.random.default_rng(0).integers(0, 9, 1 << 16, dtype="i4"), 170)
    np.savez_compressed(tmp_path / "x.npz", large=large, small=np.arange(3))
    import_checkpoint(tmp_path / "s", tmp_path / "x.npz", run="r")
    same_as(holdfast.load(tmp_path / "s", "r@0"), {"large": large, "small": np.arange(3)})


def test_one_array_of_its_own_and_what_joblib_saves(tmp_path: Path) -> None:
    array = np.arange(6.0).reshape(2, 3).T
    np.save(tmp_path / "x.npy", array)
    joblib.dump({"coef": array, "classes": ["a", "b"]}, tmp_path / "plain.joblib")
    joblib.dump({"coef": array, "classes": ["a", "b"]}, tmp_path / "zip.joblib", compress=3)
    np.savez(tmp_path / "o.npz", a=np.array([1, None, "x"], dtype=object))
    for i, (name, kind) in enumerate(
        {"x.npy": "npz", "plain.joblib": "pickle", "zip.joblib": "pickle", "o.npz": "npz"}.items()
    ):
        assert format_of(tmp_path / name).name == kind
        import_checkpoint(tmp_path / "s", tmp_path / name, run="r", step=i)
    assert_same(holdfast.load(tmp_path / "s", "r@0")["value"], np.ascontiguousarray(array))
    for i in (1, 2):
        found = holdfast.load(tmp_path / "s", f"r@{i}")
        assert_same(found["coef"], np.ascontiguousarray(array))
        assert found["classes"] == ["a", "b"]
    assert holdfast.load(tmp_path / "s", "r@3") == {"a": [1, None, "x"]}


def test_pickles_are_not_written(tmp_path: Path) -> None:
    holdfast.save(tmp_path / "s", {"n": 1}, run="r", step=0, rng=False)
    with pytest.raises(CannotConvert, match="--format torch"):
        export(tmp_path / "s", "r@0", tmp_path / "x", format="pickle")


def test_arrays_are_aligned(tmp_path: Path) -> None:
    path = exported(tmp_path, {"a": np.arange(3.0), "bb": np.arange(600_000.0)})
    data = path.read_bytes()
    assert data.index(np.arange(3.0).tobytes()) % 64 == 0
    assert data.index(np.arange(600_000.0).tobytes()) % 64 == 0


def test_headers_are_those_that_numpy_reads() -> None:
    for kind in (np.dtype("f4"), np.dtype([(f"field{i}", "f8") for i in range(9000)])):
        for shape in ((), (0,), (3,), (2, 5)):
            data = npy_header(kind, shape) + bytes(kind.itemsize * int(np.prod(shape)))
            found = np.load(io.BytesIO(data), max_header_size=1 << 20)
            assert (found.dtype, found.shape) == (kind, shape)
    kind = np.dtype([("ü", "f4"), ("λ", "i2")])
    assert np.load(io.BytesIO(npy_header(kind, (1,)) + bytes(6))).dtype == kind


@pytest.mark.parametrize(
    ("tree", "word"),
    [
        ({"a\0b": np.ones(1)}, "cannot be the name"),
        ({"x" * 70_000: np.ones(1)}, "cannot be the name"),
        ({"\ud800": np.ones(1)}, "cannot be the name"),
        ({"a": np.ones(1), "a.npy": np.ones(2)}, "NumPy would find"),
        ({"a": {"b": np.ones(1)}, "a/b": np.ones(2)}, "both be called"),
    ],
)
def test_names_that_it_cannot_hold_are_refused(tmp_path: Path, tree: Any, word: str) -> None:
    with pytest.raises(CannotConvert, match=word):
        exported(tmp_path, tree)
    assert os.listdir(tmp_path) == ["s"]


# --- what is no whole file ---


def test_truncations_are_refused(tmp_path: Path) -> None:
    whole = exported(tmp_path, {"a": np.arange(5.0), "b": np.ones(3)}).read_bytes()
    for length in (60, 200, len(whole) // 2, len(whole) - 22, len(whole) - 1):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(ForeignDamaged):
            import_checkpoint(tmp_path / "new", tmp_path / "cut.npz", run="r")
    assert not (tmp_path / "new").exists()


def archive(path: Path, members: list[Member]) -> Path:
    plan = plan_zip(members)
    with open(path, "wb") as file:
        file.truncate(plan.nbytes)
        for offset, data in plan.pieces(()):
            file.seek(offset)
            file.write(data)
    return path


HEAD = npy_header(np.dtype("u2"), (2,)) + bytes(4)
BAD: list[list[Member]] = [
    [Member("a.npy", [b"no array"])],
    [Member("a.npy", [HEAD[:-1]])],
    [Member("a.npy", [HEAD]), Member("a.npy", [HEAD])],
    [Member("a.npy", [HEAD], field=extra_field(BITS_FIELD, b"float8_e5m2"))],
    [Member("a.npy", [HEAD], field=extra_field(BITS_FIELD, b"float16"))],
    [Member("a.npy", [HEAD], field=extra_field(BITS_FIELD, b"np:|V2"))],
    [Member("a.npy", [HEAD], field=extra_field(BITS_FIELD, b"\xff\x00"))],
]


@pytest.mark.parametrize("members", BAD, ids=range(len(BAD)))
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, members: Any) -> None:
    with pytest.raises(DataError):
        import_checkpoint(tmp_path / "s", archive(tmp_path / "x.npz", members), run="r")
    assert not (tmp_path / "s").exists()


def test_a_file_that_is_not_what_its_name_says(tmp_path: Path) -> None:
    (tmp_path / "model.npz").write_text("hello")
    with pytest.raises(CannotConvert, match="no format that is known"):
        import_checkpoint(tmp_path / "s", tmp_path / "model.npz", run="r")
    with pytest.raises(ForeignDamaged):
        import_checkpoint(tmp_path / "s", tmp_path / "model.npz", run="r", format="npz")
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as other:
        other.writestr("readme.txt", "x")
    with pytest.raises(CannotConvert, match="no format that is known"):
        import_checkpoint(tmp_path / "s", tmp_path / "other.pt", run="r")
    # What is another of the known formats is read as what it is.
    np.savez(tmp_path / "y.npz", a=np.arange(3))
    os.rename(tmp_path / "y.npz", tmp_path / "y.pth")
    import_checkpoint(tmp_path / "s", tmp_path / "y.pth", run="r")
    assert_same(holdfast.load(tmp_path / "s", "r@0"), {"a": np.arange(3)})
