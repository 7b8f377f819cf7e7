"""TensorFlow's checkpoints, as TensorFlow writes and reads them."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from absent import required

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

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
    NotFound,
    UsageError,
)

tf = required("tensorflow")
keras = required("keras")

from keras_variables import bits, filled  # noqa: E402 - needs Keras

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
PARTS = st.text(st.characters(codec="utf-8", exclude_characters="\0/~"), min_size=1, max_size=6)
NAMES = (
    st.lists(PARTS, min_size=1, max_size=3)
    .map("/".join)
    .filter(lambda name: not name.startswith("@"))
)


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
    import_checkpoint(store, put(tmp_path / "f", bundle), run="good", format="tensorflow")
    good = holdfast.load(store, "good@latest")
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
            assert same(holdfast.load(store, "r@latest"), good), f"byte {place} of {name}"


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


def test_what_no_checkpoint_can_hold_can_be_left_out(store: Path, tmp_path: Path) -> None:
    weights, batches = tf.Variable([1.0, 2.0]), iter(tf.data.Dataset.range(9).shuffle(3))
    prefix = tf.train.Checkpoint(weights=weights, batches=batches).save(str(tmp_path / "ck"))
    with pytest.raises(CannotConvert, match=r"variant.*--skip '(?P<path>[^']+)'") as refused:
        import_checkpoint(store, prefix, run="r")
    import_checkpoint(
        store, prefix, run="r", skip=str(refused.value).rpartition("--skip ")[2][1:-2]
    )
    export(store, "r@0", tmp_path / "back", format="tensorflow")
    weights.assign([0.0, 0.0])
    latest = tf.train.latest_checkpoint(str(tmp_path / "back"))
    tf.train.Checkpoint(weights=weights).restore(latest).assert_existing_objects_matched()
    assert weights.numpy().tolist() == [1.0, 2.0]
