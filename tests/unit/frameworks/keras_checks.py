"""What must hold for Keras on one backend; run by test_keras in a process for each.

KERAS_BACKEND=jax python keras_checks.py FOLDER
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

import holdfast
from holdfast import Checkpointer, every, keep, on
from holdfast.errors import Mismatch
from holdfast.keras import Batches, HoldfastCallback

FULL = os.environ.get("HOLDFAST_FRAMEWORKS") == "full"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype("f4")
Y = X.sum(axis=1, keepdims=True)


def net(width: int = 8, compiled: bool = True) -> Any:
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(width, activation="relu", name="block_7"),
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(1),
        ]
    )
    if compiled:
        model.compile("adam", "mse", metrics=["mae"])
    return model


def values(*objects: Any) -> list[bytes]:
    return [
        np.asarray(keras.ops.convert_to_numpy(v.value)).tobytes()
        for value in objects
        for v in value.variables
    ]


def raises(part: str, call: Any) -> None:
    try:
        call()
    except Mismatch as error:
        assert part in str(error), error
    else:
        raise AssertionError(part)


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


class Die(keras.callbacks.Callback):
    """Raises after a batch."""

    def __init__(self, at: tuple[int, int]) -> None:
        super().__init__()
        self.at, self.epoch = at, -1

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if (self.epoch, batch) == self.at:
            raise RuntimeError("planned")


def fit(folder: Path, run: str, at: tuple[int, int] = (-1, 0), **how: Any) -> Any:
    keras.utils.set_random_seed(2)
    model = net()
    augment = lambda b, g: (b[0] + g.normal(scale=0.1, size=b[0].shape).astype("f4"), b[1])  # noqa: E731
    data = Batches(X, Y, batch_size=8, seed=5, augment=augment)
    stop = keras.callbacks.EarlyStopping("loss", patience=50)
    # `data` is not given where an epoch shall begin anew.
    callback = HoldfastCallback(
        folder,
        run=run,
        data=data,
        save=every(steps=1) | on.exception(),
        state={"stop": stop},
        monitor="val_loss",
        **how,
    )
    try:
        with callback:
            history = model.fit(
                data,
                epochs=3,
                verbose=0,
                validation_data=(X[:16], Y[:16]),
                callbacks=[stop, Die(at), callback],
            )
    except RuntimeError:
        return None
    return values(model, model.optimizer), history.history, stop.best, callback, model


def fit_goes_on_in_the_middle_of_an_epoch(folder: Path) -> None:
    steady = fit(folder, "steady")
    for at in ((0, 3), (1, 6), (1, 7), (2, 0)) if FULL else ((1, 6), (2, 0)):
        run = f"died-{at[0]}-{at[1]}"
        assert fit(folder, run, at) is None
        stormy = fit(folder, run)
        assert stormy[3].restored.step == 8 * at[0] + at[1] - 1, (at, stormy[3].restored.step)
        assert stormy[0] == steady[0], at
        assert stormy[1] == steady[1], (at, stormy[1], steady[1])
        assert stormy[2] == steady[2]
    again = fit(folder, run)  # there is nothing left to do
    assert again[0] == steady[0]
    # Another fit of that model is one of its own.
    assert len(again[4].fit(X, Y, epochs=1, verbose=0).history["loss"]) == 1


def the_best_is_kept_across_restarts(folder: Path) -> None:
    how = {"keep": keep.last(1), "restore_best_weights": True}
    fit(folder, "r", (1, 3), **how)
    ended = fit(folder, "r", **how)
    log = holdfast.Store(folder).log("r")
    losses = ended[1]["val_loss"]
    best = min(
        (info for info in log if "val_loss" in info.metrics), key=lambda i: i.metrics["val_loss"]
    )
    assert len(losses) == 3 and best.metrics["val_loss"] == min(losses)
    weights = net(compiled=False)
    holdfast.load(folder, "r@best:val_loss", into={"model": weights})
    assert values(weights) == values(ended[4])


def without_its_data_an_epoch_begins_anew(folder: Path) -> None:
    def go(stop: int) -> Any:
        model = net()
        callback = HoldfastCallback(folder, run="r", save=every(steps=1))
        try:
            model.fit(X, Y, batch_size=8, epochs=2, verbose=0, callbacks=[callback, Die((1, stop))])
        except RuntimeError:
            callback.__exit__(None, None, None)
        return callback

    go(4)
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("holdfast").addHandler(handler)
    ended = go(-1)
    logging.getLogger("holdfast").removeHandler(handler)
    assert ended.restored is not None and ended.steps > 16
    assert any("Without data= that epoch begins at its first batch again" in t for t in told), told


def other_data_is_refused(folder: Path) -> None:
    def go(seed: int) -> None:
        data = Batches(X, Y, batch_size=8, seed=seed)
        callback = HoldfastCallback(folder, run="r", data=data)
        try:
            net().fit(data, epochs=1, verbose=0, callbacks=[callback])
        finally:
            callback.__exit__(None, None, None)

    go(1)
    raises("seed: saved 1, wanted 2", lambda: go(2))


def what_a_callback_was_given_is_the_scripts(folder: Path) -> None:
    def stop(patience: int) -> Any:
        return keras.callbacks.EarlyStopping(
            "loss", mode="min", min_delta=0.1, patience=patience, restore_best_weights=True
        )

    def epochs(callback: Any, losses: list[float]) -> None:
        for epoch, loss in enumerate(losses):
            callback.on_epoch_end(epoch, {"loss": loss})

    model, stopped = net(), []
    for run, cut in (("whole", 9), ("cut", 2)):
        first = stop(3)
        first.set_model(model)
        first.on_train_begin()
        epochs(first, [1.0, 0.95, 0.92, 0.93][:cut])
        holdfast.save(folder, {"stop": first}, run=run, step=0)
        stopped.append(first)
    again = stop(5)
    again.set_model(model)
    again.on_train_begin()
    holdfast.load(folder, "cut@0", into={"stop": again})
    epochs(again, [0.92, 0.93])
    assert (again.wait, again.best) == (stopped[0].wait, stopped[0].best) == (3, 1.0)
    assert again.min_delta == stopped[0].min_delta and again.patience == 5


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
    fit_goes_on_in_the_middle_of_an_epoch,
    the_best_is_kept_across_restarts,
    without_its_data_an_epoch_begins_anew,
    other_data_is_refused,
    what_a_callback_was_given_is_the_scripts,
    another_backend_can_take_it,
]

if __name__ == "__main__":
    wanted = sys.argv[2:]
    for check in [c for c in CHECKS if not wanted or c.__name__ in wanted]:
        check(Path(sys.argv[1]) / check.__name__)
        print("good:", check.__name__, flush=True)
