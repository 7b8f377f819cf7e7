"""HDF5 as a plain tree, as h5py writes and reads it."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
from bits import COMMON, FLOAT8, array, arrays, same, trees
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast.convert import export, import_checkpoint
from holdfast.convert.registry import format_of
from holdfast.errors import (
    CannotConvert,
    DataError,
    ForeignDamaged,
    ForeignRefused,
    MissingDependency,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)
VALUES = st.one_of(
    st.none(), st.booleans(), INT64, st.floats(), st.complex_numbers(), TEXTS, st.binary(max_size=9)
)
KEYS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0/@~"), min_size=1, max_size=6
).filter(lambda key: key not in (".", "..") and not key.startswith("holdfast."))
LEAVES = arrays([*COMMON, *FLOAT8]) | VALUES
TREES = trees(
    KEYS,
    LEAVES,
    lambda inner: (
        st.dictionaries(INT64, inner, min_size=1, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
    ),
)


@settings(max_examples=25, deadline=None)
@given(TREES)
def test_every_tree_goes_there_and_back(tmp_path_factory: Any, tree: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("h5")
    holdfast.save(folder / "s", tree, run="r", step=0, rng=False)
    report = export(folder / "s", "r@0", folder / "t.h5", format="hdf5")
    assert report.left_out == ()
    import_checkpoint(folder / "s", folder / "t.h5", run="back")
    assert same(holdfast.load(folder / "s", "back@0"), tree)


def test_h5py_finds_what_was_exported(store: Path, tmp_path: Path) -> None:
    structured = np.zeros(3, [("x", "f4"), ("on", "?"), ("z", "c8")])
    structured["x"] = [1, 2, 3]
    tree = {
        "model": {"w": array("float32", (5, 7), 1), "n": np.array(3), "s": structured},
        "texts": np.array([b"ab", b"c"]),
        "big": np.arange(3, dtype=">i4"),
        "half": array("bfloat16", (4,), 2),
        "when": np.array(["2026-01-02"], "M8[D]"),
        "names": np.array(["a", "bcd"]),
        "lr": 0.1,
        "note": "höld",
        "opt": {"betas": (0.9, 0.99)},
    }
    holdfast.save(store, tree, run="r", step=0, rng=False)
    export(store, "r@0", tmp_path / "t.h5", format="hdf5")
    with h5py.File(tmp_path / "t.h5") as file:
        assert same(file["model/w"][()], tree["model"]["w"])
        assert file["model/n"][()] == 3
        assert np.array_equal(file["model/s"][()], structured)
        assert list(file["texts"][()]) == [b"ab", b"c"]
        assert list(file["big"][()]) == [0, 1, 2]
        # What HDF5 has no type for is its bits, with the name beside.
        assert (
            file["half"].dtype == np.uint16 and file["half"].attrs["holdfast.dtype"] == "bfloat16"
        )
        assert same(file["half"][()].view(ml_dtypes.bfloat16), tree["half"])
        assert file.attrs["lr"] == 0.1 and file.attrs["note"] == "höld"
        assert file["opt/betas"].attrs["holdfast.kind"] == "tuple"
        assert list(file["model"]) == ["w", "n", "s"]
    import_checkpoint(store, tmp_path / "t.h5", run="back")
    assert same(holdfast.load(store, "back@0"), tree)


def test_long_texts_and_bytes_come_back(store: Path, tmp_path: Path) -> None:
    tree = {"text": "é" * 5000, "bytes": b"\xff" * 5000}
    holdfast.save(store, tree, run="r", step=0, rng=False)
    export(store, "r@0", tmp_path / "t.h5", format="hdf5")
    import_checkpoint(store, tmp_path / "t.h5", run="back")
    assert holdfast.load(store, "back@0") == tree


def test_values_without_a_place_are_told(store: Path, tmp_path: Path) -> None:
    state = {"w": np.ones(2), "huge": 1 << 70, "odd": "a\0b", "n": 1}
    holdfast.save(store, state, run="r", step=0, rng=False)
    report = export(store, "r@0", tmp_path / "t.h5", format="hdf5")
    assert report.left_out == ("huge", "odd")


def test_names_that_are_changed_make_other_groups(store: Path, tmp_path: Path) -> None:
    tree = {"enc": [np.zeros(1), np.ones(1)], "dec": {"w": np.ones(2)}}
    holdfast.save(store, tree, run="r", step=0, rng=False)
    export(store, "r@0", tmp_path / "t.h5", format="hdf5", rename=[r"^enc/(\d)=encoder/layer\1"])
    import_checkpoint(store, tmp_path / "t.h5", run="back")
    back = holdfast.load(store, "back@0")
    assert list(back["encoder"]) == ["layer0", "layer1"] and "enc" not in back


# --- files that others made ---


def theirs(path: Path) -> dict[str, Any]:
    """Write a file as people have them, and return what is in it."""
    tree: dict[str, Any] = {
        "packed": array("float32", (300, 40), 1),
        "big": np.arange(7, dtype=">f8").reshape(1, 7),
        "odd": array("int16", (33, 5), 2),
        "scalar": np.array(2.5),
        "empty": np.zeros((0, 3), "f4"),
        "flags": np.array([True, False]),
        "z": array("complex128", (3,), 3),
    }
    with h5py.File(path, "w", libver="latest") as file:
        for name, value in tree.items():
            file[name] = value if name not in ("packed", "odd") else np.zeros(0)
        del file["packed"], file["odd"]
        file.create_dataset("packed", data=tree["packed"], chunks=(64, 16), compression="gzip")
        file.create_dataset("odd", data=tree["odd"], chunks=(7, 5), shuffle=True, fletcher32=True)
        file["text"] = "hello"
        file["texts"] = ["a", "bc"]
        file["packed"].attrs["units"] = "m"
        file.attrs["version"] = 3
        file.create_group("g").attrs["pair"] = np.array([1.0, 2.0])
        file["twice"] = file["z"]
        scale = file.create_dataset("axis", data=np.arange(3.0))
        scale.make_scale("axis")
        file["z"].dims[0].attach_scale(scale)
    tree |= {"text": "hello", "texts": ["a", "bc"], "packed@": {"units": "m"}, "version": 3}
    tree |= {"g": {"pair": np.array([1.0, 2.0])}, "twice": tree["z"]}
    return tree


def test_their_files_are_read(store: Path, tmp_path: Path) -> None:
    tree = theirs(tmp_path / "t.h5")
    assert format_of(tmp_path / "t.h5").name == "hdf5"
    import_checkpoint(store, tmp_path / "t.h5", run="r")
    found = holdfast.load(store, "r@0")
    for name, value in tree.items():
        assert same(found[name], value), name
    # And what came from a file with attributes on datasets goes back to them.
    export(store, "r@0", tmp_path / "o.h5", format="hdf5")
    with h5py.File(tmp_path / "o.h5") as file:
        assert file["packed"].attrs["units"] == "m"


def test_attributes_and_members_of_one_name_are_both_there(store: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["x"], file["x@"] = np.ones(2), np.zeros(1)
        file.attrs["x"] = 3
        file["x"].attrs["units"] = "m"
    import_checkpoint(store, tmp_path / "t.h5", run="r")
    found = holdfast.load(store, "r@0")
    values = {"x": np.ones(2), "x@": np.zeros(1), "x@@": {"units": "m"}, "x@@@": 3}
    assert same(found, values)


def test_damage_in_a_chunk_is_found(store: Path, tmp_path: Path) -> None:
    theirs(tmp_path / "t.h5")
    with h5py.File(tmp_path / "t.h5") as file:
        place = file["odd"].id.get_chunk_info(0).byte_offset
    data = bytearray((tmp_path / "t.h5").read_bytes())
    data[place] ^= 1
    (tmp_path / "t.h5").write_bytes(data)
    with pytest.raises(ForeignDamaged):
        import_checkpoint(store, tmp_path / "t.h5", run="r")
    assert holdfast.Store(store).log("r") == []


def test_nothing_outside_the_file_is_followed(store: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["w"] = np.ones(3)
    (tmp_path / "secret.bin").write_bytes(bytes(24))

    def external(file: h5py.File) -> None:
        file["w"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/w")

    def soft(file: h5py.File) -> None:
        file["w"] = h5py.SoftLink("/v")

    def raw(file: h5py.File) -> None:
        place = [(str(tmp_path / "secret.bin"), 0, 24)]
        file.create_dataset("w", (3,), "f8", external=place)

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "w", (3,))
        file.create_virtual_dataset("w", layout)

    def circle(file: h5py.File) -> None:
        file.create_group("a")["b"] = file["/"]

    for number, make in enumerate([external, soft, raw, virtual, circle]):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as file:
            file["v"] = np.zeros(2)
            make(file)
        with pytest.raises(ForeignRefused):
            import_checkpoint(store, path, run="r")


def test_references_are_refused(store: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["v"] = np.zeros(2)
        file.create_dataset("refs", data=[file["v"].ref], dtype=h5py.ref_dtype)
    with pytest.raises(CannotConvert, match="refs"):
        import_checkpoint(store, tmp_path / "t.h5", run="r")


@pytest.mark.parametrize(
    ("stored", "beside"),
    [("u1", "bfloat16"), ("f8", "float8_e5m2"), ("u2", "no such type"), ("f4", "bytes")],
)
def test_a_name_of_a_type_that_does_not_fit_is_refused(
    store: Path, tmp_path: Path, stored: str, beside: str
) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["w"] = np.zeros(3, stored)
        file["w"].attrs["holdfast.dtype"] = beside
    with pytest.raises(ForeignDamaged, match="says that it is"):
        import_checkpoint(store, tmp_path / "t.h5", run="r")


def test_truncated_and_scrambled_files_are_no_crash(store: Path, tmp_path: Path) -> None:
    tree = {"a": {"w": array("float32", (50,), 0)}, "lr": 0.1, "l": [np.ones(3), "x"]}
    holdfast.save(store, tree, run="r", step=0, rng=False)
    export(store, "r@0", tmp_path / "t.h5", format="hdf5")
    whole = (tmp_path / "t.h5").read_bytes()
    dice = random.Random(0)
    for length in dice.sample(range(len(whole)), 20):
        (tmp_path / "cut.h5").write_bytes(whole[:length])
        with pytest.raises(DataError):
            import_checkpoint(tmp_path / "c", tmp_path / "cut.h5", run="c", format="hdf5")
    told = 0
    for _ in range(30):
        data = bytearray(whole)
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        (tmp_path / "flip.h5").write_bytes(data)
        try:
            import_checkpoint(tmp_path / "c", tmp_path / "flip.h5", run="c", format="hdf5")
        except (DataError, CannotConvert):
            told += 1
    assert told


def test_names_that_hdf5_has_no_place_for_are_refused(store: Path, tmp_path: Path) -> None:
    for number, tree in enumerate(
        [
            {"a": np.ones(1), "a/b": np.ones(1)},
            {"a//b": np.ones(1)},
            {"a/.": np.ones(1)},
            {"holdfast.kind": 1, "w": np.ones(1)},
        ]
    ):
        holdfast.save(store, {"m": tree}, run="r", step=number, rng=False)
        with pytest.raises(CannotConvert, match=r"no name for HDF5|both be called"):
            export(store, f"r@{number}", tmp_path / "t.h5", format="hdf5", root="m")
        assert not (tmp_path / "t.h5").exists()


def test_without_h5py_the_way_to_get_it_is_told(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holdfast.save(store, {"w": np.ones(2)}, run="r", step=0, rng=False)
    export(store, "r@0", tmp_path / "t.h5", format="hdf5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    for format in ("hdf5", "keras"):
        with pytest.raises(MissingDependency, match=r"pip install 'holdfast\[hdf5\]'"):
            export(store, "r@0", tmp_path / "o.h5", format=format, rename=["w=a/vars/0"])
        with pytest.raises(MissingDependency, match=r"pip install 'holdfast\[hdf5\]'"):
            import_checkpoint(store, tmp_path / "t.h5", run="b", format=format)
    assert not (tmp_path / "o.h5").exists()


def test_a_dataset_that_no_checkpoint_can_hold_can_be_left_out(store: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_dataset("g/lengths", (2,), dtype=h5py.vlen_dtype("i4"))
        file["g/w"] = np.arange(3.0)
    with pytest.raises(CannotConvert, match=r"/g/lengths.*elements of object.*--skip 'g/lengths'"):
        import_checkpoint(store, tmp_path / "t.h5", run="b")
    import_checkpoint(store, tmp_path / "t.h5", run="b", skip="g/lengths")
    assert holdfast.load(store, "b@0")["g"]["w"].tolist() == [0.0, 1.0, 2.0]
