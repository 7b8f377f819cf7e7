"""TensorFlow's variables, tensors, generators and all that tf.train.Checkpoint tracks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from absent import required

tf = required("tensorflow")

import holdfast  # noqa: E402
from holdfast import Checkpointer  # noqa: E402
from holdfast.errors import Mismatch, UnsupportedLeaf  # noqa: E402

DTYPES = [
    *("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "float16", "bfloat16"),
    *("float32", "float64", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2"),
]


def zeros_like(tensor: Any) -> Any:
    return tf.constant(np.zeros(tensor.shape, tensor.dtype.as_numpy_dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_and_variables_of_every_dtype(tmp_path: Path, dtype: str) -> None:
    shapes = [(), (0,), (3,), (2, 3, 5)]
    numbers = np.random.default_rng(0)
    kind = tf.as_dtype(dtype).as_numpy_dtype
    made = {
        str(s): tf.constant(np.asarray(numbers.normal(size=s) * 3).astype(kind)) for s in shapes
    }
    tree = {"t": made, "v": {name: tf.Variable(t) for name, t in made.items()}}
    holdfast.save(tmp_path, tree, run="r", step=0)
    found = holdfast.load(tmp_path, "r@0")
    into = {
        "t": {name: zeros_like(t) for name, t in made.items()},
        "v": {name: tf.Variable(zeros_like(t)) for name, t in made.items()},
    }
    standing = dict(into["v"])
    holdfast.load(tmp_path, "r@0", into=into)
    for name, wanted in made.items():
        assert into["v"][name] is standing[name]
        for tensor in (found["t"][name], found["v"][name], into["t"][name], into["v"][name]):
            assert tensor.dtype == wanted.dtype and tensor.shape == wanted.shape
            assert tensor.numpy().tobytes() == wanted.numpy().tobytes()


def test_another_shape_is_told_and_nothing_changes(tmp_path: Path) -> None:
    holdfast.save(tmp_path, {"v": tf.Variable([1.0, 2.0])}, run="r", step=0)
    variable = tf.Variable([5.0, 6.0, 7.0])
    with pytest.raises(Mismatch, match=r"'v': saved as float32\[2\], wanted float32\[3\]"):
        holdfast.load(tmp_path, "r@0", into={"v": variable})
    assert list(variable.numpy()) == [5, 6, 7]


def test_what_cannot_be_saved_is_refused_with_its_place(tmp_path: Path) -> None:
    for value, word in (
        (tf.constant(["a", "b"]), "strings"),
        (tf.constant([1], tf.qint8), "qint8"),
    ):
        with pytest.raises(UnsupportedLeaf, match=f"'a/b'.*{word}"):
            holdfast.save(tmp_path, {"a": {"b": value}}, run="r", step=0)

    @tf.function(autograph=False)
    def inside(x: Any) -> Any:
        holdfast.save(tmp_path, {"a": x}, run="r", step=0)
        return x

    with pytest.raises(UnsupportedLeaf, match="'a' is a symbolic tensor"):
        inside(tf.constant(1.0))


def test_generators_go_on(tmp_path: Path) -> None:
    generator = tf.random.Generator.from_seed(3, alg="philox")
    generator.normal((5,))
    holdfast.save(tmp_path, {"g": generator}, run="r", step=0)
    into = {"g": tf.random.Generator.from_seed(8, alg="philox")}
    holdfast.load(tmp_path, "r@0", into=into)
    new = holdfast.load(tmp_path, "r@0")["g"]
    drawn = {g.normal((4,)).numpy().tobytes() for g in (generator, into["g"], new)}
    assert len(drawn) == 1
    with pytest.raises(Mismatch):
        other = tf.random.Generator.from_seed(8, alg="threefry")
        holdfast.load(tmp_path, "r@0", into={"g": other})


def test_the_seeds_of_ops_go_on(tmp_path: Path) -> None:
    tf.random.set_seed(4)
    tf.random.normal((3,))
    with Checkpointer(tmp_path, {"n": 1}, run="r") as ckpt:
        ckpt.save(0).wait()
        wanted = [tf.random.normal((3,)).numpy().tobytes() for _ in range(3)]
        tf.random.set_seed(99)
        ckpt.restore()
        assert [tf.random.normal((3,)).numpy().tobytes() for _ in range(3)] == wanted


@pytest.mark.parametrize("size", [3, 50_000])
def test_an_exception_saves_no_step_that_is_half_done(tmp_path: Path, size: int) -> None:
    for run, half in (("whole", False), ("half", True)):
        variable = tf.Variable(tf.zeros(size))
        with (
            pytest.raises(RuntimeError),
            Checkpointer(tmp_path, {"v": variable}, run=run, save=holdfast.on.exception()) as ckpt,
        ):
            variable.assign_add(tf.ones(size))
            ckpt.step(0)
            if half:
                variable.assign_add(tf.ones(size))
            raise RuntimeError
    assert float(holdfast.load(tmp_path, "whole@0")["v"][-1]) == 1.0
    with pytest.raises(holdfast.errors.NotFound):
        holdfast.load(tmp_path, "half@latest")


class Net(tf.Module):  # type: ignore[misc]
    """A module with variables in lists and dicts, some of them tied."""

    def __init__(self, seed: int, width: int = 3) -> None:
        super().__init__()
        g = tf.random.Generator.from_seed(seed)
        self.layers = [tf.Variable(g.normal((width, width))) for _ in range(2)]
        self.named = {"bias": tf.Variable(g.normal((width,))), "count": tf.Variable(seed)}
        self.tied = self.layers[0]


def numbers_of(module: Any) -> list[bytes]:
    return [v.numpy().tobytes() for v in module.variables]


def dataset() -> Any:
    return tf.data.Dataset.range(40).shuffle(20, seed=1).map(lambda x: x * 2).batch(3)


def tracked(seed: int, width: int = 3) -> tuple[Any, Any, Any]:
    net, batches = Net(seed, width), iter(dataset())
    return tf.train.Checkpoint(net=net, batches=batches, step=tf.Variable(seed)), net, batches


def test_a_checkpoint_object_with_its_iterator(tmp_path: Path) -> None:
    checkpoint, net, batches = tracked(1)
    for _ in range(4):
        next(batches)
    holdfast.save(tmp_path, {"c": checkpoint}, run="r", step=0)
    rest = [b.numpy().tolist() for b in batches]
    other, its_net, its_batches = tracked(2)
    holdfast.load(tmp_path, "r@0", into={"c": other})
    assert numbers_of(its_net) == numbers_of(net) and int(other.step) == 1
    assert [b.numpy().tolist() for b in its_batches] == rest
    single = iter(dataset())
    holdfast.save(tmp_path, {"it": single}, run="one", step=0)
    next(single)
    holdfast.load(tmp_path, "one@0", into={"it": single})
    assert len(list(single)) == 14


def test_a_module_as_it_is(tmp_path: Path) -> None:
    net, other = Net(1), Net(2)
    holdfast.save(tmp_path, {"net": net}, run="r", step=0)
    holdfast.load(tmp_path, "r@0", into={"net": other})
    assert numbers_of(other) == numbers_of(net) and other.tied is other.layers[0]


def test_tracked_objects_of_another_shape_are_told_before_anything_changes(tmp_path: Path) -> None:
    checkpoint, _, _ = tracked(1)
    holdfast.save(tmp_path, {"c": checkpoint}, run="r", step=0)
    other, net, _ = tracked(2, width=4)
    before = numbers_of(net)
    with pytest.raises(Mismatch, match=r"net/layers/1.*saved as float32\[3, 3\], wanted"):
        holdfast.load(tmp_path, "r@0", into={"c": other})
    assert numbers_of(net) == before


def test_variables_made_later_are_restored_when_they_are_made(tmp_path: Path) -> None:
    checkpoint = tf.train.Checkpoint(a=tf.Variable(1.0), late=tf.train.Checkpoint(v=tf.Variable(5)))
    holdfast.save(tmp_path, {"c": checkpoint}, run="r", step=0)
    late = tf.train.Checkpoint()
    other = tf.train.Checkpoint(a=tf.Variable(0.0), late=late)
    holdfast.load(tmp_path, "r@0", into={"c": other})
    late.v = tf.Variable(0)
    assert float(other.a) == 1.0 and int(late.v) == 5
