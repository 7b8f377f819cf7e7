"""What must hold for ``HoldfastCallback`` and ``Batches`` on one backend; see keras_checks."""

from __future__ import annotations

import logging
import os
from collections import namedtuple
from pathlib import Path
from typing import Any

import keras
from keras_parts import X, Y, net, raises, values

import holdfast
from holdfast import every, keep, on
from holdfast.errors import UsageError
from holdfast.keras import Batches, HoldfastCallback

FULL = os.environ.get("HOLDFAST_FRAMEWORKS") == "full"
Pair = namedtuple("Pair", ["left", "right"])


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
    # It changes the rate where an epoch begins: that of the resume is no second beginning.
    slower = keras.callbacks.LearningRateScheduler(lambda _, rate: float(rate * 0.9))
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
                callbacks=[stop, slower, Die(at), callback],
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


def the_end_gets_its_name_though_it_was_killed_before(folder: Path) -> None:
    for tag in (None, "final"):
        data = Batches(X, Y, batch_size=8)
        callback = HoldfastCallback(folder, run="r", data=data, save=every(steps=1), tag=tag)
        net().fit(data, epochs=1, verbose=0, callbacks=[callback])
    assert [info.tags for info in holdfast.Store(folder).log("r")][-1] == ("final",)


def what_an_error_has_ended_can_be_taken_up_by_the_same_callback(folder: Path) -> None:
    model, data = net(), Batches(X, Y, batch_size=8)
    callback = HoldfastCallback(folder, run="r", data=data, save=every(steps=1))
    try:
        model.fit(data, epochs=2, verbose=0, callbacks=[callback, Die((1, 3))])
    except RuntimeError:
        model.fit(data, epochs=2, verbose=0, callbacks=[callback])
    assert callback.restored is not None and callback.steps == 16


def batches_are_made_of_whatever_holds_arrays(folder: Path) -> None:
    data = Batches({"a": X, "b": [Pair(X, Y)]}, Y, batch_size=8, shuffle=False)
    found, targets = data[1]
    assert found["a"].tolist() == X[8:16].tolist() and targets.tolist() == Y[8:16].tolist()
    assert found["b"][0].right.tolist() == Y[8:16].tolist()


def wrong_use_is_told_before_training(folder: Path) -> None:
    for part, how in {
        "data= takes holdfast.keras.Batches, not ndarray": {"data": X},
        "needs monitor=": {"restore_best_weights": True},
        "or 'max', not 'lowest'": {"monitor": "loss", "mode": "lowest"},
        "state= has 'model'": {"state": {"model": 1}},
        "HoldfastCallback takes no nicer=": {"nicer": 1},
        "'latest' cannot be a tag": {"tag": "latest"},
    }.items():
        raises(part, lambda how=how: HoldfastCallback(folder, run="r", **how), UsageError)
    raises("equally many samples: [3, 64]", lambda: Batches(X, Y[:3]), UsageError)


CHECKS = [
    fit_goes_on_in_the_middle_of_an_epoch,
    the_best_is_kept_across_restarts,
    without_its_data_an_epoch_begins_anew,
    other_data_is_refused,
    what_a_callback_was_given_is_the_scripts,
    the_end_gets_its_name_though_it_was_killed_before,
    what_an_error_has_ended_can_be_taken_up_by_the_same_callback,
    batches_are_made_of_whatever_holds_arrays,
    wrong_use_is_told_before_training,
]
