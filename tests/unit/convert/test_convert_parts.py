"""The parts that all formats stand on: names, checksums, output, selections."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import crc32c
import numpy as np
import pytest

import holdfast
from holdfast.convert import export, format_names, import_checkpoint
from holdfast.convert.naming import parse_renames, renamed
from holdfast.convert.output import appearing
from holdfast.errors import (
    AlreadyExists,
    CannotConvert,
    ChunkDamaged,
    InvalidName,
    NotFound,
    UsageError,
)
from holdfast.foreign.checksums import checksum, combine
from holdfast.format.names import RunKeys

# --- checksums ---


@pytest.mark.parametrize("kind", ["crc32", "crc32c"])
@pytest.mark.parametrize("nbytes", [0, 1, 2, 3, 255, 4096, 100_003])
def test_checksums_of_pieces_make_that_of_the_whole(kind: str, nbytes: int) -> None:
    reference = zlib.crc32 if kind == "crc32" else crc32c.crc32c
    first, second = os.urandom(1000), os.urandom(nbytes)
    sums = [checksum(kind)(memoryview(data)) for data in (first, second)]
    assert sums == [reference(first), reference(second)]
    assert combine(kind, *sums, nbytes) == reference(first + second)


# --- names ---


def test_rules_for_names_are_applied_in_their_order() -> None:
    rules = parse_renames([r"^model\.=", r"(\d+)\.w$=\1.weight"])
    assert renamed("model.layers.3.w", rules) == "layers.3.weight"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("module.fc.weight", "fc.weight"),
        ("model/module.fc.weight", "model/fc.weight"),
        ("_orig_mod.module.fc.weight", "fc.weight"),
        ("layers.0._fsdp_wrapped_module._checkpoint_wrapped_module.w", "layers.0.w"),
        ("layers.module.w", "layers.module.w"),
        ("my_module.w", "my_module.w"),
        ("x_orig_mod.w", "x_orig_mod.w"),
    ],
)
def test_what_wrappers_put_into_names_is_taken_away(name: str, expected: str) -> None:
    assert renamed(name, parse_renames(["@unwrap"])) == expected


@pytest.mark.parametrize("text", ["no equals", "@nothing", "=x", "(=x", r"a=\3"])
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no rule for names"):
        parse_renames([text])


# --- output ---


def test_what_is_made_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    with appearing(path, is_folder=False, overwrite=False) as place:
        place.write_bytes(b"x")
        assert not path.exists()
    assert path.read_bytes() == b"x"
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("is_folder", [False, True])
def test_nothing_is_left_of_what_failed(tmp_path: Path, is_folder: bool) -> None:
    path = tmp_path / "out"
    with pytest.raises(ValueError), appearing(path, is_folder=is_folder, overwrite=False) as place:
        (place / "x" if is_folder else place).write_bytes(b"x")
        raise ValueError
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_is_there_is_only_replaced_if_asked_for(tmp_path: Path, is_folder: bool) -> None:
    path = tmp_path / "out"
    for text in ("old", "new"):
        again = text == "new"
        with appearing(path, is_folder=is_folder, overwrite=again, members=["x*"]) as place:
            (place / "x" if is_folder else place).write_text(text)
        with (
            pytest.raises(AlreadyExists),
            appearing(path, is_folder=is_folder, overwrite=False),
        ):
            raise AssertionError("not reached")
    assert (path / "x" if is_folder else path).read_text() == "new"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_folder_with_other_things_is_not_replaced(tmp_path: Path, is_folder: bool) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "x").write_text("of an export")
    (path / "y").write_text("precious")
    members = ["x"] if is_folder else []
    with (
        pytest.raises(AlreadyExists, match="other things"),
        appearing(path, is_folder=is_folder, overwrite=True, members=members),
    ):
        raise AssertionError("not reached")
    assert sorted(os.listdir(path)) == ["x", "y"] and os.listdir(tmp_path) == ["out"]


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    with appearing(path, is_folder=False, overwrite=False) as place:
        place.write_bytes(b"x")
    assert path.read_bytes() == b"x"


# --- selections ---


@pytest.fixture
def store(tmp_path: Path) -> Path:
    state = {
        "model": {"a/b": np.arange(4.0), "c": {"d": np.ones(3, np.float32)}, "n": 3},
        "list": [np.zeros(2), {"x": np.ones(1)}],
        "alone": np.full(5, 7),
    }
    holdfast.save(tmp_path / "s", state, run="r", step=1, rng=True)
    return tmp_path / "s"


def names(path: Path) -> set[str]:
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        return set(file.keys())


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, {"model/a/b", "model/c/d", "list/0", "list/1/x", "alone"}),
        ({"root": "model"}, {"a/b", "c/d"}),
        ({"root": "model/c"}, {"d"}),
        ({"root": "list"}, {"0", "1/x"}),
        ({"root": "alone"}, {"alone"}),
        ({"only": "list/**"}, {"list/0", "list/1/x"}),
        ({"root": "model", "skip": "model/c/**"}, {"a/b"}),
        ({"root": "list", "rename": ["/=."]}, {"0", "1.x"}),
    ],
)
def test_names_begin_below_the_root(
    store: Path, tmp_path: Path, chosen: dict[str, object], expected: set[str]
) -> None:
    path = tmp_path / "out.safetensors"
    report = export(store, "r@1", path, format="safetensors", **chosen)  # type: ignore[arg-type]
    assert names(path) == expected
    assert report.n_arrays == len(expected)


def test_plain_values_that_have_no_place_are_told(store: Path, tmp_path: Path) -> None:
    report = export(store, "r@latest", tmp_path / "o", format="safetensors", root="model")
    assert report.left_out == ("n",)
    assert report.ref == "r@1"


def test_two_leaves_of_one_name_are_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotConvert, match="both be called"):
        export(store, "r@1", tmp_path / "o", format="safetensors", rename=[".*=x"])
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"root": "nowhere"}, UsageError),
        ({"only": "nothing/**"}, UsageError),
        ({"format": "word"}, UsageError),
        ({"ref": "r@7"}, NotFound),
        ({"ref": "r@"}, InvalidName),
        ({"rename": ["("]}, UsageError),
    ],
)
def test_what_cannot_be_exported_is_refused(
    store: Path, tmp_path: Path, wrong: dict[str, object], error: type[Exception]
) -> None:
    call = {"ref": "r@1", "format": "safetensors", **wrong}
    with pytest.raises(error):
        export(store, path=tmp_path / "o", **call)  # type: ignore[arg-type]
    assert not (tmp_path / "o").exists()


def test_a_damaged_checkpoint_is_not_exported(store: Path, tmp_path: Path) -> None:
    [pack] = (store / RunKeys("r").packs).iterdir()
    data = bytearray(pack.read_bytes())
    data[8] ^= 1
    pack.write_bytes(data)
    with pytest.raises(ChunkDamaged):
        export(store, "r@1", tmp_path / "o", format="safetensors")
    assert not (tmp_path / "o").exists()
    assert sorted(os.listdir(tmp_path)) == ["s"]


def test_the_formats_are_known_by_name() -> None:
    assert "safetensors" in format_names()


@pytest.mark.parametrize("format", ["safetensors", "torch", "dcp", "npz", "orbax"])
def test_progress_ends_with_everything_done(store: Path, tmp_path: Path, format: str) -> None:
    told: list[tuple[int, int]] = []
    export(
        store,
        "r@1",
        tmp_path / "o",
        format=format,
        progress=lambda done, total: told.append((done, total)),
    )
    done, total = told[-1]
    assert 0 < done == total
    assert told == sorted(told)


@pytest.mark.parametrize("format", [f for f in format_names() if f != "pickle"])
def test_an_option_that_a_format_does_not_have_is_no_option(
    store: Path, tmp_path: Path, format: str
) -> None:
    with pytest.raises(UsageError, match="no option 'shard_byte'"):
        export(store, "r@1", tmp_path / "o", format=format, options={"shard_byte": 1})
    assert not (tmp_path / "o").exists()


def test_an_export_replaces_neither_the_store_nor_a_folder_of_other_things(store: Path) -> None:
    (store.parent / "mine").mkdir()
    (store.parent / "mine/precious").write_text("x")
    for path in (store, store.parent, store.parent / "mine"):
        for format in ("torch", "dcp", "safetensors"):
            with pytest.raises(AlreadyExists):
                export(store, "r@1", path, format=format, root="model", overwrite=True)
    assert holdfast.load(store, "r@1") and (store.parent / "mine/precious").exists()


def test_long_texts_stay_texts_or_are_told(tmp_path: Path) -> None:
    texts = {"log": "ü" * 5000, "blob": bytes(range(256)) * 20}
    holdfast.save(tmp_path / "s", {"w": np.ones(2), **texts}, run="r", step=0, rng=False)
    for format in ("torch", "dcp"):
        export(tmp_path / "s", "r@0", tmp_path / format, format=format)
        import_checkpoint(tmp_path / "s", tmp_path / format, run=format)
        found = holdfast.load(tmp_path / "s", f"{format}@0")
        assert {name: found[name] for name in texts} == texts
    for format in ("safetensors", "npz", "orbax"):
        report = export(tmp_path / "s", "r@0", tmp_path / format, format=format)
        assert report.n_arrays == 1 and set(report.left_out) == set(texts)
        import_checkpoint(tmp_path / "s", tmp_path / format, run=format)
        assert list(holdfast.load(tmp_path / "s", f"{format}@0")) == ["w"]
    for format in ("safetensors", "npz"):
        with pytest.raises(CannotConvert, match="no place for anything"):
            export(tmp_path / "s", "r@0", tmp_path / "no", format=format, skip="w")


def test_a_long_text_that_is_stored_as_a_difference_is_exported(tmp_path: Path) -> None:
    before = np.random.default_rng(0).bytes(400_003)
    tree = {"blob": bytes(100) + before[100:]}
    for step, state in enumerate([{"blob": before}, tree]):
        holdfast.save(tmp_path / "s", state, run="r", step=step, rng=False, compress="delta")
    export(tmp_path / "s", "r@1", tmp_path / "o", format="torch")
    import_checkpoint(tmp_path / "s", tmp_path / "o", run="back")
    assert holdfast.load(tmp_path / "s", "back@0") == tree


NO_NAMES = [
    ("safetensors", {"__metadata__": 1}, "__metadata__"),
    ("safetensors", {"a\udcff": 1}, "UTF-8"),
    ("tensorflow", {"a\udcff": 1}, "UTF-8"),
    ("orbax", {"a\udcff": 1}, "UTF-8"),
    ("orbax", {"a": 1, "a/b": 1}, "goes on behind it"),
    ("orbax", {"n" * 70_000: 1}, "60,000 bytes"),
    ("orbax", {"w": 33}, "33 dimensions"),
    ("hdf5", {"w": 33}, "33 dimensions"),
]


@pytest.mark.parametrize(("format", "arrays", "told"), NO_NAMES, ids=range(len(NO_NAMES)))
def test_what_a_reader_would_not_find_is_not_written(
    tmp_path: Path, format: str, arrays: dict[str, int], told: str
) -> None:
    tree = {name: np.ones((1,) * ndim) for name, ndim in arrays.items()}
    holdfast.save(tmp_path / "s", tree, run="r", step=0, rng=False)
    with pytest.raises(CannotConvert, match=told):
        export(tmp_path / "s", "r@0", tmp_path / "o", format=format)
    assert os.listdir(tmp_path) == ["s"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [({"assets": {"a\udcff": b"x"}}, "name of a member"), ({"config.json": "\ud800"}, "UTF-8")],
)
def test_texts_that_a_saved_model_cannot_have_are_refused(
    tmp_path: Path, changed: dict[str, object], told: str
) -> None:
    weights = {"layers": {"dense": {"vars": {"0": np.ones(2)}}}}
    tree = {"config.json": "{}", "metadata.json": "{}", "weights": weights} | changed
    holdfast.save(tmp_path / "s", tree, run="r", step=0, rng=False)
    with pytest.raises(CannotConvert, match=told):
        export(tmp_path / "s", "r@0", tmp_path / "o.keras", format="keras")
    assert os.listdir(tmp_path) == ["s"]


def test_names_that_are_our_own_need_a_root(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"@x": np.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(CannotConvert, match="--root"):
        import_checkpoint(tmp_path / "s", tmp_path / "x.safetensors", run="r")
    assert not (tmp_path / "s").exists()
    import_checkpoint(tmp_path / "s", tmp_path / "x.safetensors", run="r", root="theirs")
    assert list(holdfast.load(tmp_path / "s", "r@0")["theirs"]) == ["@x"]


# --- byte order ---

BIG = {
    "f8": np.linspace(0, 1, 7).astype(">f8"),
    "i2": np.arange(-3, 3).astype(">i2").reshape(2, 3),
    "c8": (np.arange(4) * (1 + 2j)).astype(">c8"),
    "large": np.arange(10_000_000).astype(">u4"),
}


@pytest.mark.parametrize("format", ["safetensors", "torch", "dcp", "tensorflow", "orbax"])
def test_big_endian_arrays_are_turned_and_told(tmp_path: Path, format: str) -> None:
    holdfast.save(tmp_path / "s", BIG, run="r", step=0, rng=False)
    report = export(tmp_path / "s", "r@0", tmp_path / "o", format=format)
    assert [note for note in report.notes if note.startswith("large: big-endian")]
    import_checkpoint(tmp_path / "s", tmp_path / "o", run="b")
    found = holdfast.load(tmp_path / "s", "b@0")
    for name, array in BIG.items():
        back = np.asarray(found[name])
        assert back.dtype == array.dtype.newbyteorder("=") and np.array_equal(back, array)


def test_formats_that_know_byte_orders_keep_them(tmp_path: Path) -> None:
    holdfast.save(tmp_path / "s", BIG, run="r", step=0, rng=False)
    export(tmp_path / "s", "r@0", tmp_path / "o.npz", format="npz")
    with np.load(tmp_path / "o.npz") as file:
        assert file["f8"].dtype == np.dtype(">f8") and np.array_equal(file["f8"], BIG["f8"])
