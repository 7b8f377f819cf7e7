"""Orbax checkpoints, as Orbax writes and reads them."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import COMMON, FLOAT8, array, arrays, same, trees
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from absent import required
from holdfast.convert import export, import_checkpoint
from holdfast.convert.registry import format_of
from holdfast.errors import CannotConvert, DataError, ForeignDamaged, MissingDependency

jax = required("jax")
tensorstore = required("tensorstore")
ocp = required("orbax.checkpoint")

KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0/.~@"), min_size=1, max_size=6)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.sampled_from([np.float32(2.5), np.int8(-3)]),
)
TREES = trees(KEYS, arrays([*COMMON, *FLOAT8]) | VALUES)


def write(path: Path, tree: Any) -> Path:
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, tree)
    return path


def read(path: Path, like: Any = None) -> Any:
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(path, like)


@settings(max_examples=25, deadline=None)
@given(TREES)
def test_every_tree_goes_there_and_back(tmp_path_factory: Any, tree: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("orbax")
    holdfast.save(folder / "s", {"tree": tree}, run="r", step=0, rng=False)
    report = export(folder / "s", "r@0", folder / "o", format="orbax", root="tree")
    assert report.left_out == ()
    import_checkpoint(folder / "s", folder / "o", run="back")
    assert same(holdfast.load(folder / "s", "back@0"), tree)


def test_orbax_restores_what_was_exported(store: Path, tmp_path: Path) -> None:
    tree = {
        "params": {"w": array("bfloat16", (5, 3), 1), "a.b": array("float32", (2,), 2)},
        "f8": array("float8_e4m3fn", (3,), 3),
        "layers": [np.arange(3), {"x": np.ones((0, 2))}],
        "scalar": np.array(7),
        "pair": (np.ones(1), np.zeros(1)),
        "step": 3,
        "lr": 0.5,
        "none": None,
        "empty": {},
        "note": "left out",
    }
    holdfast.save(store, tree, run="r", step=0, rng=False)
    report = export(store, "r@0", tmp_path / "o", format="orbax")
    assert report.left_out == ("note",)
    found = read(tmp_path / "o")
    del tree["note"]
    # A tuple is a sequence to Orbax, and comes as a list.
    assert same(found, tree | {"pair": [np.ones(1), np.zeros(1)]})


def test_orbax_restores_into_arrays_of_jax(store: Path, tmp_path: Path) -> None:
    tree = {"w": array("float32", (4, 6), 1), "b": [array("int32", (3,), 2)]}
    holdfast.save(store, tree, run="r", step=0, rng=False)
    export(store, "r@0", tmp_path / "o", format="orbax")
    like = jax.tree_util.tree_map(
        lambda a: jax.ShapeDtypeStruct(
            a.shape, a.dtype, sharding=jax.sharding.SingleDeviceSharding(jax.devices()[0])
        ),
        tree,
    )
    found = read(tmp_path / "o", like)
    assert isinstance(found["w"], jax.Array)
    assert same(jax.tree_util.tree_map(np.asarray, found), tree)


def test_many_arrays_make_a_tree_of_nodes(store: Path, tmp_path: Path) -> None:
    tree = {f"layer{i}": np.full(2, i) for i in range(2100)}
    holdfast.save(store, tree, run="r", step=0, rng=False)
    export(store, "r@0", tmp_path / "o", format="orbax")
    base = {"driver": "file", "path": f"{tmp_path}/o/"}
    database = tensorstore.KvStore.open({"driver": "ocdbt", "base": base}).result()
    assert len(database.list().result()) == 4200
    assert all(
        database.read(f"{name}/0").result().value == value.tobytes() for name, value in tree.items()
    )


def test_large_arrays_are_cut_into_rows(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.convert.orbax.writing._CHUNK_BYTES", 100)
    tree = {
        "w": array("float32", (17, 5), 1),
        "line": array("int16", (101,), 2),
        "wide": array("uint8", (3, 2, 90), 3),
        "none": np.zeros((0, 7)),
    }
    holdfast.save(store, tree, run="r", step=0, rng=False)
    export(store, "r@0", tmp_path / "o", format="orbax")
    assert same(read(tmp_path / "o"), tree)
    import_checkpoint(store, tmp_path / "o", run="back")
    assert same(holdfast.load(store, "back@0"), tree)


def theirs() -> dict[str, Any]:
    return {
        "params": {"w": jax.numpy.ones((6, 4)) * 3, "h": jax.numpy.ones(5, "bfloat16")},
        "np": array("float64", (30, 20), 1),
        "list": [np.arange(3), np.arange(2.0)],
        "step": 7,
        "lr": 0.1,
        "none": None,
        "empty": {},
    }


def test_their_checkpoints_are_read(store: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "o", theirs())
    assert format_of(path).name == "orbax"
    import_checkpoint(store, path, run="r")
    expected = jax.tree_util.tree_map(
        lambda x: np.asarray(x) if hasattr(x, "shape") else x, theirs()
    )
    assert same(holdfast.load(store, "r@0"), expected)


def test_steps_of_a_manager_are_read(store: Path, tmp_path: Path) -> None:
    with ocp.CheckpointManager(tmp_path / "o", item_names=("params", "extra")) as manager:
        args = ocp.args.Composite(
            params=ocp.args.StandardSave({"w": np.arange(3.0)}), extra=ocp.args.JsonSave({"a": 1})
        )
        manager.save(5, args=args)
        manager.wait_until_finished()
    with ocp.CheckpointManager(tmp_path / "one") as manager:
        manager.save(2, args=ocp.args.StandardSave({"w": np.arange(4.0)}))
        manager.wait_until_finished()
    import_checkpoint(store, tmp_path / "o/5", run="r", step=5)
    assert same(holdfast.load(store, "r@5"), {"params": {"w": np.arange(3.0)}})
    import_checkpoint(store, tmp_path / "one/2", run="r", step=6)
    assert same(holdfast.load(store, "r@6"), {"w": np.arange(4.0)})


@pytest.mark.parametrize(("ocdbt", "zarr3"), [(False, False), (True, True), (False, True)])
def test_their_other_layouts_are_read(
    store: Path, tmp_path: Path, ocdbt: bool, zarr3: bool
) -> None:
    tree = {"a": {"w": array("float32", (64, 8), 1)}, "b": [array("int8", (5,), 2)]}
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=ocdbt, use_zarr3=zarr3)
    with ocp.Checkpointer(handler) as checkpointer:
        checkpointer.save(tmp_path / "o", tree)
    import_checkpoint(store, tmp_path / "o", run="r", format="orbax")
    assert same(holdfast.load(store, "r@0"), tree)


def test_arrays_in_many_chunks_are_read(store: Path, tmp_path: Path) -> None:
    tree = {"w": array("float32", (100, 64), 1), "v": array("int16", (7, 9, 6), 2)}
    handler = ocp.PyTreeCheckpointHandler()
    save_args = jax.tree_util.tree_map(lambda _: ocp.SaveArgs(chunk_byte_size=600), tree)
    with ocp.Checkpointer(handler) as checkpointer:
        checkpointer.save(tmp_path / "o", args=ocp.args.PyTreeSave(tree, save_args))
    import_checkpoint(store, tmp_path / "o", run="r")
    assert same(holdfast.load(store, "r@0"), tree)


# --- what is no whole checkpoint ---


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("whole") / "o", theirs())


def test_files_that_are_missing_are_told(store: Path, tmp_path: Path, whole: Path) -> None:
    wanted = [p for p in whole.rglob("*") if p.is_file() and ("/d/" in str(p) or "manif" in p.name)]
    assert len(wanted) > 2
    told = 0
    for number, path in enumerate(wanted):
        copy = tmp_path / str(number)
        shutil.copytree(whole, copy)
        (copy / path.relative_to(whole)).unlink()
        try:
            import_checkpoint(store, copy, run="r", step=number, format="orbax")
        except DataError:
            told += 1
            continue
        # Of a database that was merged some files are not needed any more.
        assert same(holdfast.load(store, f"r@{number}")["np"], array("float64", (30, 20), 1)), path
    assert told


def test_cut_files_are_told(store: Path, tmp_path: Path, whole: Path) -> None:
    for number, name in enumerate(["manifest.ocdbt", "_METADATA"]):
        copy = tmp_path / str(number)
        shutil.copytree(whole, copy)
        data = (copy / name).read_bytes()
        (copy / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(ForeignDamaged):
            import_checkpoint(store, copy, run="r", format="orbax")


def test_a_chunk_that_is_missing_is_no_array_of_zeros(
    store: Path, tmp_path: Path, whole: Path
) -> None:
    shutil.copytree(whole, tmp_path / "o")
    base = {"driver": "file", "path": f"{tmp_path}/o/"}
    database = tensorstore.KvStore.open({"driver": "ocdbt", "base": base}).result()
    database.delete_range(tensorstore.KvStore.KeyRange("np/0", "np/1")).result()
    with pytest.raises(ForeignDamaged, match="'np' has 0 of 1 chunks"):
        import_checkpoint(store, tmp_path / "o", run="r")


@pytest.mark.parametrize(
    "about",
    [
        "[]",
        '{"tree_metadata": 3}',
        '{"tree_metadata": {"x": {}}}',
        json.dumps(
            {
                "tree_metadata": {
                    str(n): {
                        "key_metadata": [{"key": k, "key_type": 2} for k in way],
                        "value_metadata": {"value_type": "None"},
                    }
                    for n, way in enumerate([["a"], ["a", "b"]])
                }
            }
        ),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(
    store: Path, tmp_path: Path, whole: Path, about: str
) -> None:
    shutil.copytree(whole, tmp_path / "o")
    (tmp_path / "o/_METADATA").write_text(about)
    with pytest.raises(ForeignDamaged):
        import_checkpoint(store, tmp_path / "o", run="r")


def test_a_type_that_we_do_not_have_is_refused(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "o"
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{folder}/w/"}}
    made = tensorstore.open(spec, dtype=tensorstore.int4, shape=[3], create=True).result()
    made.write(np.ones(3, "i1").astype(made.dtype.numpy_dtype)).result()
    keys = [{"key": "w", "key_type": 2}]
    leaf = {"key_metadata": keys, "value_metadata": {"value_type": "np.ndarray"}}
    about = {"tree_metadata": {"('w',)": leaf}, "use_ocdbt": False, "use_zarr3": False}
    (folder / "_METADATA").write_text(json.dumps(about))
    with pytest.raises(CannotConvert, match="elements of int4"):
        import_checkpoint(store, folder, run="r")


def test_unfinished_and_empty_folders_are_told(store: Path, tmp_path: Path, whole: Path) -> None:
    unfinished = tmp_path / "5.orbax-checkpoint-tmp-3"
    shutil.copytree(whole, unfinished)
    with pytest.raises(ForeignDamaged, match="did not finish"):
        import_checkpoint(store, unfinished, run="r", format="orbax")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ForeignDamaged, match="no tree of arrays"):
        import_checkpoint(store, tmp_path / "empty", run="r", format="orbax")
    with pytest.raises(CannotConvert, match="no format that is known"):
        import_checkpoint(store, tmp_path / "empty", run="r")


@pytest.mark.parametrize(
    "tree",
    [
        {"a.b": np.ones(1), "a": {"b": np.zeros(1)}},
        {"w": np.array(["text"])},
        {"w": b"x" * 5000},
        {"a//b": np.ones(1)},
    ],
)
def test_what_orbax_cannot_hold_is_refused(store: Path, tmp_path: Path, tree: Any) -> None:
    holdfast.save(store, tree, run="r", step=0, rng=False)
    with pytest.raises(CannotConvert):
        export(store, "r@0", tmp_path / "o", format="orbax")
    assert not (tmp_path / "o").exists()


def test_without_tensorstore_the_way_to_get_it_is_told(
    store: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    with pytest.raises(MissingDependency, match=r"pip install 'holdfast\[orbax\]'"):
        import_checkpoint(store, whole, run="r")


def test_typed_keys_are_keys_again(store: Path, tmp_path: Path) -> None:
    key, keys = jax.random.key(3), jax.random.split(jax.random.key(1, impl="rbg"), 4)
    path = write(tmp_path / "theirs", {"a": {"key": key}, "many": [keys], "raw": np.ones(2, "u4")})
    import_checkpoint(store, path, run="b")
    found = holdfast.load(store, "b@0")
    assert found["a"]["key"] == key and jax.random.key_impl(found["many"][0]) == "rbg"
    assert (jax.random.key_data(found["many"][0]) == jax.random.key_data(keys)).all()
    assert type(found["raw"]) is np.ndarray
    state = {"a": {"key": jax.random.key(9)}}
    holdfast.load(store, "b@0", into=state, only="a/**")
    assert state["a"]["key"] == key


def test_keys_without_jax_are_their_numbers_and_said_to_be(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "theirs", {"key": jax.random.key(3)})
    notes: list[str] = []
    monkeypatch.setitem(sys.modules, "jax", None)
    import_checkpoint(store, path, run="b", on_note=notes.append)
    monkeypatch.undo()
    assert holdfast.load(store, "b@0")["key"].tolist() == [0, 3]
    assert notes == ["key: keys of the generator threefry2x32 became their numbers"]


def test_what_is_no_key_of_its_generator_is_damage(store: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "theirs", {"key": jax.random.key(3)})
    (about,) = (path / "array_metadatas").iterdir()
    about.write_text(about.read_text().replace("threefry2x32", "rbg"))
    with pytest.raises(ForeignDamaged, match="no key of the generator 'rbg'"):
        import_checkpoint(store, path, run="b")
    about.write_text("[]")
    with pytest.raises(ForeignDamaged, match="array_metadatas"):
        import_checkpoint(store, path, run="b")
