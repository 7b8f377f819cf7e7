"""What must hold for Keras on one backend; run by test_keras in a process for each.

KERAS_BACKEND=jax python keras_checks.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import keras_fit_checks
import numpy as np
from keras_parts import X, Y, net, raises, values

import holdfast
from holdfast import Checkpointer, every


def a_model_goes_on(folder: Path) -> None:
    net()  # so that the layers of the next one have other numbers
    model = net()
    model.fit(X, Y, verbose=0, shuffle=False)
    holdfast.save(folder, {"model": model}, run="r", step=0)
    paths = [leaf.path for leaf in holdfast.Store(folder).leaves("r@0")]
    for path in ("block_7/kernel", "dense/kernel", "dense_1/bias", "@optimizer/slots/0/velocity"):
        assert f"model/{path}" in paths, paths
    other = net()
    holdfast.load(folder, "r@0", into={"model": other})
    assert values(other, other.optimizer) == values(model, model.optimizer)
    for each in (model, other):
        # What Keras builds when a model is fitted first, draws random numbers on some backends.
        each.fit(X[:8], Y[:8], verbose=0)
        holdfast.load(folder, "r@0", into={"model": each}, rng=True)
        each.fit(X, Y, verbose=0, shuffle=False)
    assert values(other, other.optimizer) == values(model, model.optimizer)


def parts_of_it(folder: Path) -> None:
    model = net()
    model.fit(X, Y, verbose=0)
    seeds = keras.random.SeedGenerator(3)
    seeds.next()
    metric = keras.metrics.MeanSquaredError()
    metric.update_state([1.0, 2.0], [0.0, 0.0])
    single = keras.Variable([1.0, 2.0])
    state = {"m": model, "o": model.optimizer, "s": seeds, "metric": metric, "v": single}
    holdfast.save(folder, state, run="r", step=0)
    plain = net(compiled=False)
    holdfast.load(folder, "r@0", into={"m": plain})
    assert values(plain) == values(model)
    fresh = net()
    into = {
        "m": fresh,
        "s": keras.random.SeedGenerator(9),
        "metric": keras.metrics.MeanSquaredError(),
        "v": keras.Variable([0.0, 0.0]),
    }
    holdfast.load(folder, "r@0", into=into)
    assert float(into["metric"].result()) == float(metric.result()) == 2.5
    assert list(keras.ops.convert_to_numpy(into["v"])) == [1.0, 2.0]
    normal = [keras.random.normal((2,), seed=s) for s in (seeds, into["s"])]
    assert len({keras.ops.convert_to_numpy(n).tobytes() for n in normal}) == 1
    adam = keras.optimizers.Adam()
    raises("has no slots yet", lambda: holdfast.load(folder, "r@0", into={"o": adam}))
    adam.build(fresh.trainable_variables)
    holdfast.load(folder, "r@0", into={"o": adam})
    assert values(adam) == values(model.optimizer)


def what_does_not_fit_is_told(folder: Path) -> None:
    holdfast.save(folder, {"m": net()}, run="r", step=0)
    wider = net(width=5)
    before = values(wider)
    raises("'m/block_7/kernel'", lambda: holdfast.load(folder, "r@0", into={"m": wider}))
    assert values(wider) == before
    lazy = keras.Sequential([keras.layers.Dense(2)])
    raises("has no weights yet", lambda: holdfast.load(folder, "r@0", into={"m": lazy}))


def a_checkpointer_around_a_loop(folder: Path) -> None:
    keras.utils.set_random_seed(1)
    keras.random.normal((2,))  # the global generator is in play
    model = net()
    with Checkpointer(folder, {"model": model}, run="r", save=every(steps=1)) as ckpt:
        model.train_on_batch(X[:8], Y[:8])
        ckpt.save(0).wait()
        drawn = keras.ops.convert_to_numpy(keras.random.normal((3,)))
    other = net()
    with Checkpointer(folder, {"model": other}, run="r") as ckpt:
        assert ckpt.restore() is not None
    assert values(other) == values(model)
    assert keras.ops.convert_to_numpy(keras.random.normal((3,))).tobytes() == drawn.tobytes()


def another_backend_can_take_it(folder: Path) -> None:
    shared = folder.parent / "shared"
    model = net()
    if not shared.exists():
        model.fit(X, Y, verbose=0)
        out = keras.ops.convert_to_numpy(model(X))
        holdfast.save(shared, {"model": model, "out": out}, run="r", step=0)
    into = {"model": model, "out": np.zeros((64, 1), "f4")}
    # The generators of dropout are of another type on each.
    holdfast.load(shared, "r@0", into=into, skip="model/seed_generator*/**")
    found = keras.ops.convert_to_numpy(model(X))
    assert np.allclose(found, into["out"], atol=1e-5)


CHECKS = [
    a_model_goes_on,
    parts_of_it,
    what_does_not_fit_is_told,
    a_checkpointer_around_a_loop,
    *keras_fit_checks.CHECKS,
    another_backend_can_take_it,
]

if __name__ == "__main__":
    wanted = sys.argv[2:]
    for check in [c for c in CHECKS if not wanted or c.__name__ in wanted]:
        check(Path(sys.argv[1]) / check.__name__)
        print("good:", check.__name__, flush=True)
