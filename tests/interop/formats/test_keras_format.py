"""Keras' files, as Keras writes and reads them."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from absent import needs_package, required

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import numpy as np
import pytest
from bits import array, same

import holdfast
from holdfast.convert import export, import_checkpoint
from holdfast.convert.registry import format_of
from holdfast.errors import (
    CannotConvert,
    DataError,
    ForeignDamaged,
    ForeignRefused,
)

# Keras' backend here.
needs_package("tensorflow")
keras = required("keras")

from keras_variables import bits, filled  # noqa: E402 - needs Keras


def network() -> Any:
    inputs = keras.Input((8,))
    x = keras.layers.Dense(6, name="first")(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Reshape((3, 2))(x)
    x = keras.layers.MultiHeadAttention(2, 2)(x, x)
    x = keras.layers.GRU(3)(x)
    x = keras.layers.Dense(4, dtype="bfloat16")(x)
    model = keras.Model(inputs, keras.layers.Dropout(0.1)(x))
    model.compile("adam", "mse")
    return filled(model)


def state(model: Any) -> list[bytes]:
    return [bits(v) for v in (*model.weights, *model.optimizer.variables)]


def cleared(model: Any) -> Any:
    for variable in (*model.weights, *model.optimizer.variables):
        variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    folder, model = tmp_path_factory.mktemp("keras"), network()
    model.save_weights(folder / "m.weights.h5")
    model.save(folder / "m.keras")
    return folder, state(model)


def test_weights_files_go_through(
    store: Path, tmp_path: Path, saved: tuple[Path, list[bytes]]
) -> None:
    folder, expected = saved
    assert format_of(folder / "m.weights.h5").name == "keras"
    import_checkpoint(store, folder / "m.weights.h5", run="r", root="w")
    export(store, "r@0", tmp_path / "o.weights.h5", format="keras", root="w")
    model = cleared(keras.models.load_model(folder / "m.keras"))
    model.load_weights(tmp_path / "o.weights.h5")
    assert state(model) == expected


def test_saved_models_go_through(
    store: Path, tmp_path: Path, saved: tuple[Path, list[bytes]]
) -> None:
    folder, expected = saved
    assert format_of(folder / "m.keras").name == "keras"
    import_checkpoint(store, folder / "m.keras", run="r")
    tree = holdfast.load(store, "r@0")
    assert '"config"' in tree["config.json"] and set(tree) >= {"metadata.json", "weights"}
    export(store, "r@0", tmp_path / "o.keras", format="keras")
    with zipfile.ZipFile(tmp_path / "o.keras") as archive:
        assert archive.testzip() is None
    assert state(keras.models.load_model(tmp_path / "o.keras")) == expected


def test_the_state_of_a_model_becomes_a_weights_file(
    store: Path, tmp_path: Path, saved: tuple[Path, list[bytes]]
) -> None:
    folder, expected = saved
    model = keras.models.load_model(folder / "m.keras")
    tree = model.get_state_tree(value_format="numpy_array")
    holdfast.save(store, {"model": tree}, run="r", step=0, rng=False)
    wanted: dict[str, Any] = {"root": "model", "format": "keras"}
    wanted |= {"skip": ["model/metrics_variables/**", "**/seed_generator*/*"]}
    options = {"like": str(folder / "m.weights.h5")}
    export(store, "r@0", tmp_path / "o.weights.h5", **wanted, options=options)
    cleared(model).load_weights(tmp_path / "o.weights.h5")
    assert state(model) == expected
    with pytest.raises(CannotConvert, match="no name of a Keras weights file"):
        export(store, "r@0", tmp_path / "p.weights.h5", **wanted)
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    other.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(CannotConvert, match="Is it of the same model"):
        options = {"like": str(tmp_path / "other.weights.h5")}
        export(store, "r@0", tmp_path / "p.weights.h5", **wanted, options=options)


def test_a_packed_archive_with_assets_is_read(
    store: Path, tmp_path: Path, saved: tuple[Path, list[bytes]]
) -> None:
    folder, expected = saved
    packed, stored = zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED
    with zipfile.ZipFile(folder / "m.keras") as source:
        members = {name: source.read(name) for name in source.namelist()}
    for kind in (packed, stored):
        path = tmp_path / f"{kind}.keras"
        with zipfile.ZipFile(path, "w", kind) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
            archive.writestr("assets/layers/vocabulary.txt", "a\nb")
        import_checkpoint(store, path, run="r", step=kind)
        tree = holdfast.load(store, f"r@{kind}")
        assert tree["assets"] == {"layers/vocabulary.txt": b"a\nb"}
        export(store, f"r@{kind}", tmp_path / f"{kind}-o.keras", format="keras")
        with zipfile.ZipFile(tmp_path / f"{kind}-o.keras") as archive:
            assert archive.read("assets/layers/vocabulary.txt") == b"a\nb"
        assert state(keras.models.load_model(tmp_path / f"{kind}-o.keras")) == expected


def test_weights_in_several_files_are_read(
    store: Path, tmp_path: Path, saved: tuple[Path, list[bytes]]
) -> None:
    folder, expected = saved
    model = keras.models.load_model(folder / "m.keras")
    index = tmp_path / "m.weights.json"
    model.save_weights(index, max_shard_size=600 / 2**30)
    assert len(list(tmp_path.glob("m_*.weights.h5"))) > 3
    assert format_of(index).name == "keras"
    import_checkpoint(store, index, run="r")
    export(store, "r@0", tmp_path / "o.weights.h5", format="keras")
    cleared(model).load_weights(tmp_path / "o.weights.h5")
    assert state(model) == expected
    content = json.loads(index.read_text())
    places = content["weight_map"]
    first = sorted(places)[0]
    for wrong in (
        {"weight_map": {key: value for key, value in places.items() if key != first}},
        {"weight_map": places | {"/layers/none/vars": sorted(tmp_path.glob("m_*"))[0].name}},
        {"weight_map": places | {first: "../m_00000.weights.h5"}},
        {"weight_map": places | {first: "m_99999.weights.h5"}},
        [],
    ):
        index.write_text(json.dumps(wrong))
        with pytest.raises(ForeignDamaged):
            import_checkpoint(store, index, run="w")


def damaged_archives(whole: bytes) -> dict[str, Callable[[], bytes]]:
    at = whole.index(b"\x89HDF\r\n") + 9000
    flipped = bytearray(whole)
    flipped[at] ^= 1
    return {"cut": lambda: whole[:-100], "half": lambda: whole[: len(whole) // 2]} | {
        "flipped": lambda: bytes(flipped)
    }


@pytest.mark.parametrize("how", ["cut", "half", "flipped"])
def test_a_damaged_archive_is_told(
    store: Path, tmp_path: Path, saved: tuple[Path, list[bytes]], how: str
) -> None:
    path = tmp_path / "m.keras"
    path.write_bytes(damaged_archives((saved[0] / "m.keras").read_bytes())[how]())
    with pytest.raises(DataError):
        import_checkpoint(store, path, run="r", format="keras")
    assert not store.exists()


def test_an_archive_that_reads_in_two_ways_is_refused(store: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("metadata.json", "{}")
        for text in ("{}", "[]"):
            with pytest.warns(UserWarning) if text == "[]" else nullcontext():
                archive.writestr("config.json", text)
    with pytest.raises(ForeignRefused):
        import_checkpoint(store, tmp_path / "m.keras", run="r")


def test_nothing_of_a_configuration_is_run(
    store: Path, tmp_path: Path, saved: tuple[Path, list[bytes]]
) -> None:
    with zipfile.ZipFile(saved[0] / "m.keras") as source:
        weights = source.read("model.weights.h5")
    evil = '{"module": "os", "class_name": "system", "config": {"command": "touch gotcha"}}'
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", evil)
        archive.writestr("model.weights.h5", weights)
    import_checkpoint(store, tmp_path / "m.keras", run="r")
    assert holdfast.load(store, "r@0")["config.json"] == evil


def test_a_dtype_that_keras_cannot_read_is_refused(store: Path, tmp_path: Path) -> None:
    tree = {"layers": {"dense": {"vars": {"0": array("float8_e5m2", (2,), 0)}}}}
    holdfast.save(store, tree, run="r", step=0, rng=False)
    with pytest.raises(CannotConvert, match="float8_e5m2"):
        export(store, "r@0", tmp_path / "o.weights.h5", format="keras")


def test_old_weights_files_are_read_as_plain_trees(store: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        group = file.create_group("dense")
        group.attrs["weight_names"] = [b"dense/kernel:0"]
        group["dense/kernel:0"] = np.ones((2, 3), "f4")
    assert format_of(tmp_path / "old.h5").name == "hdf5"
    import_checkpoint(store, tmp_path / "old.h5", run="r")
    tree = holdfast.load(store, "r@0")
    assert tree["layer_names"] == ["dense"]
    assert same(tree["dense"]["dense"]["kernel:0"], np.ones((2, 3), "f4"))
