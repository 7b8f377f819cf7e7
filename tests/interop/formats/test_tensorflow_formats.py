"""TensorFlow's checkpoints and Keras' files, as TensorFlow and Keras write and read them.

Both in one file: TensorFlow takes seconds to start.
"""

from __future__ import annotations

import json
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import numpy as np
import pytest
from bits import COMMON, FLOAT8, array, arrays, same
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
    NotFound,
    UsageError,
)

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
PARTS = st.text(st.characters(codec="utf-8", exclude_characters="\0/~"), min_size=1, max_size=6)
NAMES = (
    st.lists(PARTS, min_size=1, max_size=3)
    .map("/".join)
    .filter(lambda name: not name.startswith("@"))
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "s"


def bits(value: Any) -> bytes:
    return bytes(np.asarray(value).tobytes())


# --- TensorFlow: bundles ---


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(NAMES, arrays([*COMMON, *FLOAT8]), min_size=1, max_size=5))
def test_every_dtype_goes_there_and_back(tmp_path_factory: Any, tree: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("tf")
    holdfast.save(folder / "s", {"m": tree}, run="r", step=0, rng=False)
    export(folder / "s", "r@0", folder / "o", format="tensorflow", root="m")
    reader = tf.train.load_checkpoint(str(folder / "o"))
    for name, value in tree.items():
        key = "/".join(part.replace(".", "..") for part in name.split("/")) + VALUE
        # What TensorFlow itself reads, its checksum compared.
        found = reader.get_tensor(key)
        assert (found.dtype, found.shape, found.tobytes()) == (
            value.dtype,
            value.shape,
            value.tobytes(),
        )
    import_checkpoint(folder / "s", folder / "o", run="back", skip=["_CHECK*/**", "save_counter"])
    assert same(holdfast.load(folder / "s", "back@0"), tree)


class Model(tf.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.w = tf.Variable(array("float32", (4, 3), 1))
        self.b = tf.Variable(tf.zeros(3, tf.bfloat16))
        self.parts = [tf.Variable(1.5), tf.Variable([True, False])]
        self.texts = [tf.Variable("hello"), tf.Variable([["a", "bc"], ["", "\0"]])]


def trained() -> tuple[Any, Any]:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    filled(model)
    module = Model()
    return tf.train.Checkpoint(m=module, net=model, opt=model.optimizer), [
        module.w,
        module.b,
        *module.parts,
        *module.texts,
        *model.variables,
        *model.optimizer.variables,
    ]


def test_a_checkpoint_of_objects_goes_through(store: Path, tmp_path: Path) -> None:
    checkpoint, variables = trained()
    prefix = checkpoint.save(str(tmp_path / "theirs/ckpt"))
    for path in (tmp_path / "theirs", Path(f"{prefix}.index"), Path(prefix)):
        assert format_of(path).name == "tensorflow"
        import_checkpoint(store, path, run="r", step=len(str(path)), root="state")
    tree = holdfast.load(store, "r@latest")["state"]
    assert same(tree["m/w"], variables[0].numpy())
    assert tree["m/texts/0"] == b"hello" and tree["m/texts/1"] == [[b"a", b"bc"], [b"", b"\0"]]
    export(store, "r@latest", tmp_path / "ours", format="tensorflow", root="state")
    before = [bits(v) for v in variables if v.dtype != tf.string]
    for variable in variables:
        is_text = variable.dtype == tf.string
        variable.assign(tf.fill(variable.shape, "x") if is_text else tf.zeros_like(variable))
    checkpoint.restore(tf.train.latest_checkpoint(str(tmp_path / "ours"))).assert_consumed()
    assert [bits(v) for v in variables if v.dtype != tf.string] == before
    assert checkpoint.m.texts[1].numpy().tolist() == [[b"a", b"bc"], [b"", b"\0"]]


def test_keys_with_slashes_go_back_to_their_objects(store: Path, tmp_path: Path) -> None:
    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = {"p/q": tf.Variable(3.0), "x.y": tf.Variable(2.0)}

    checkpoint = tf.train.Checkpoint(model=Model())
    import_checkpoint(store, checkpoint.save(str(tmp_path / "theirs/x")), run="slashes")
    export(store, "slashes@0", tmp_path / "ours", format="tensorflow")
    for part in checkpoint.model.parts.values():
        part.assign(0.0)
    checkpoint.restore(tf.train.latest_checkpoint(str(tmp_path / "ours"))).assert_consumed()
    assert [float(part) for part in checkpoint.model.parts.values()] == [3.0, 2.0]


def test_a_tree_of_ours_restores_objects(store: Path, tmp_path: Path) -> None:
    tree = {
        "m": {
            "w": array("float32", (4, 3), 2),
            "b": array("bfloat16", (3,), 3),
            "parts": [np.float32(2.5), np.array([False, True])],
            "texts": [b"long" * 3000, [[b"x", b""], [b"y", b"z"]]],
        },
        "epoch": 3,
    }
    holdfast.save(store, tree, run="r", step=0, rng=False)
    report = export(store, "r@0", tmp_path / "o", format="tensorflow")
    assert report.left_out == ("epoch",)
    module = Model()
    checkpoint = tf.train.Checkpoint(m=module)
    checkpoint.restore(str(tmp_path / "o/ckpt")).assert_consumed()
    assert same(module.w.numpy(), tree["m"]["w"]) and bits(module.b) == tree["m"]["b"].tobytes()
    assert module.parts[0].numpy() == 2.5
    assert module.texts[0].numpy() == b"long" * 3000
    assert module.texts[1].numpy().tolist() == [[b"x", b""], [b"y", b"z"]]


def test_slots_of_an_optimizer_are_restored(store: Path, tmp_path: Path) -> None:
    names = ["v", "v/.OPTIMIZER_SLOT/opt/momentum"]
    tree = {name: array("float32", (3,), i) for i, name in enumerate(names)}
    holdfast.save(store, tree, run="r", step=0, rng=False)
    export(store, "r@0", tmp_path / "o", format="tensorflow")
    variable = tf.Variable(tf.zeros(3))
    optimizer = tf.compat.v1.train.MomentumOptimizer(0.1, 0.9)
    checkpoint = tf.train.Checkpoint(v=variable, opt=optimizer)
    optimizer.apply_gradients([(tf.ones(3), variable)])
    checkpoint.restore(str(tmp_path / "o/ckpt")).assert_consumed()
    assert same(variable.numpy(), tree["v"])
    assert same(optimizer.get_slot(variable, "momentum").numpy(), tree[names[1]])


def test_variables_in_parts_are_put_together(store: Path, tmp_path: Path) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        rows = v1.fixed_size_partitioner(3)
        columns = v1.fixed_size_partitioner(4, axis=1)
        made = {
            "emb/rows": v1.get_variable("emb/rows", (10, 7), partitioner=rows),
            "emb/columns": v1.get_variable("emb/columns", (300, 9), partitioner=columns),
            "plain": v1.get_variable("plain", initializer=np.arange(5.0)),
        }
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(tmp_path / "theirs/m.ckpt"), global_step=7)
        values = {name: session.run(tf.convert_to_tensor(v)) for name, v in made.items()}
    import_checkpoint(store, tmp_path / "theirs", run="r")
    assert same(holdfast.load(store, "r@0"), values)
    options = {"names": "plain", "prefix": "model"}
    export(store, "r@0", tmp_path / "o", format="tensorflow", options=options)
    reader = tf.train.load_checkpoint(str(tmp_path / "o/model"))
    assert set(reader.get_variable_to_dtype_map()) == set(values)
    assert all(same(reader.get_tensor(name), value) for name, value in values.items())


def test_many_variables_fill_many_blocks(store: Path, tmp_path: Path) -> None:
    tree = {f"block{i:03d}/part{j}": np.full(3, i * 10 + j) for i in range(100) for j in range(8)}
    holdfast.save(store, tree, run="r", step=0, rng=False)
    export(store, "r@0", tmp_path / "o", format="tensorflow")
    reader = tf.train.load_checkpoint(str(tmp_path / "o"))
    assert all(same(reader.get_tensor(name + VALUE), value) for name, value in tree.items())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("bundle")
    module = Model()
    tf.train.Checkpoint(m=module).write(str(folder / "x"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def put(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder / "x.index"


def test_every_bit_of_it_is_checked(store: Path, tmp_path: Path, bundle: dict[str, bytes]) -> None:
    dice = random.Random(0)
    for name, data in bundle.items():
        for place in dice.sample(range(len(data)), 25):
            changed = bytearray(data)
            changed[place] ^= 1 << dice.randrange(8)
            path = put(tmp_path / "f", bundle | {name: bytes(changed)})
            try:
                import_checkpoint(store, path, run="r", format="tensorflow")
            except DataError:
                continue
            # What is not checked is what nobody reads: padding between things.
            assert name.endswith(".index"), f"byte {place} of {name}"


def test_every_truncation_is_told(store: Path, tmp_path: Path, bundle: dict[str, bytes]) -> None:
    for name, data in bundle.items():
        for length in [0, 1, 7, 48, len(data) // 2, len(data) - 1]:
            path = put(tmp_path / "f", bundle | {name: data[:length]})
            with pytest.raises(ForeignDamaged):
                import_checkpoint(store, path, run="r", format="tensorflow")
    os.remove(tmp_path / "f" / sorted(bundle)[0])
    with pytest.raises(ForeignDamaged, match="is not there"):
        import_checkpoint(store, path, run="r", format="tensorflow")


def test_other_files_are_told_as_what_they_are_not(store: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "folder").mkdir()
    for format in ("tensorflow", "keras", "hdf5", "orbax"):
        for name in ("text", "folder"):
            with pytest.raises((DataError, NotFound)):
                import_checkpoint(store, tmp_path / name, run="r", format=format)
    assert not store.exists()


def test_several_checkpoints_in_a_folder(
    store: Path, tmp_path: Path, bundle: dict[str, bytes]
) -> None:
    more = {name.replace("x", "y", 1): data for name, data in bundle.items()}
    put(tmp_path / "f", bundle | more)
    with pytest.raises(CannotConvert, match="several checkpoints"):
        import_checkpoint(store, tmp_path / "f", run="r", format="tensorflow")
    (tmp_path / "f/checkpoint").write_text('model_checkpoint_path: "/somewhere/else/y"\n')
    import_checkpoint(store, tmp_path / "f", run="r")


@pytest.mark.parametrize("dtype", [tf.qint8, tf.dtypes.experimental.int4])
def test_a_type_that_we_do_not_have_is_refused(store: Path, tmp_path: Path, dtype: Any) -> None:
    value = tf.cast(tf.constant([1, 2]), tf.int8)
    value = tf.bitcast(value, dtype) if dtype.is_quantized else tf.cast(value, dtype)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "x"), tensor_names=["w"], shape_and_slices=[""], tensors=[value]
    )
    with pytest.raises(CannotConvert, match=dtype.name):
        import_checkpoint(store, tmp_path / "x.index", run="r")


@pytest.mark.parametrize(
    ("tree", "options", "error"),
    [
        ({"w": np.array(["x"])}, {}, CannotConvert),
        ({"w": np.ones(1)}, {"prefix": "../x"}, UsageError),
        ({"w": np.ones(1)}, {"names": "odd"}, UsageError),
        ({"w": np.ones(1)}, {"save_counter": "maybe"}, UsageError),
        ({"\0w": np.ones(1)}, {}, CannotConvert),
    ],
)
def test_what_tensorflow_cannot_hold_is_refused(
    store: Path, tmp_path: Path, tree: Any, options: Any, error: type[Exception]
) -> None:
    holdfast.save(store, tree, run="r", step=0, rng=False)
    with pytest.raises(error):
        export(store, "r@0", tmp_path / "o", format="tensorflow", options=options)
    assert not (tmp_path / "o").exists()


# --- Keras ---


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


def filled(model: Any) -> Any:
    """Give all variables of a model and of its optimizer values that differ."""
    model.optimizer.build(model.trainable_variables)
    for seed, variable in enumerate((*model.weights, *model.optimizer.variables)):
        values = np.random.default_rng(seed).integers(1, 99, variable.shape)
        variable.assign(keras.ops.cast(values, variable.dtype))
    return model


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
            with pytest.warns(UserWarning) if text == "[]" else nothing():
                archive.writestr("config.json", text)
    with pytest.raises(ForeignRefused):
        import_checkpoint(store, tmp_path / "m.keras", run="r")


def nothing() -> Any:
    import contextlib

    return contextlib.nullcontext()


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
