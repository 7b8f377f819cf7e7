"""Over-fitting and divergence, told from made curves: early, and without crying wolf."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import numpy as np
import pytest

from holdfast import watch
from holdfast.errors import UsageError
from holdfast.policy.curve import Curve, curve_of, noise
from holdfast.policy.divergence import DivergenceTracker, find_divergence
from holdfast.policy.metric_pairs import metric_pairs
from holdfast.policy.overfitting import OverfittingTracker, find_overfitting

# A simulation with so many runs of 100 evaluations each; the docs have the figures of 1,000.
RUNS = 1000 if os.environ.get("HOLDFAST_SIMULATE") == "full" else 60
TURN = 40


def curves(
    seed: int, sigma: float, slope: float, tails: str = "normal", n: int = 100
) -> tuple[Curve, Curve]:
    """A run of n evaluations, ten steps apart; validation turns up at the 40th by slope each."""
    rng = np.random.default_rng(seed)
    at = np.arange(n)
    rise = slope * np.maximum(0, at - TURN)
    random = rng.standard_normal(n) if tails == "normal" else rng.standard_t(3, n)
    validation = 1.05 + 1.5 * np.exp(-at / 8) + rise + sigma * random
    steps = np.arange(1, n * 10 + 1)
    train = 1 + 1.5 * np.exp(-steps / 80) - 0.0002 * steps + 0.1 * rng.standard_normal(len(steps))
    return (
        Curve(steps.tolist(), train.tolist()),
        Curve(((at + 1) * 10).tolist(), validation.tolist()),
    )


def told_at(train: Curve, validation: Curve) -> Iterator[int]:
    """The evaluations at which a watched run would have been warned, counted from 0."""
    tracker = OverfittingTracker("val_loss")
    at = 0
    for i, (step, value) in enumerate(zip(validation.steps, validation.values, strict=True)):
        while at < len(train) and train.steps[at] <= step:
            tracker.train(train.values[at])
            at += 1
        if tracker.validate(step, value) is not None:
            yield i


# --- over-fitting ---


def test_without_noise_it_is_told_soon_and_names_the_best() -> None:
    train, validation = curves(0, sigma=0, slope=0.03)
    found = find_overfitting(train, validation, "val_loss")
    assert found is not None
    assert abs(found.since_step - (TURN + 1) * 10) <= 20
    assert found.told_step <= (TURN + 8) * 10
    assert "val_loss has risen from" in found.text


@pytest.mark.parametrize(
    ("sigma", "tails", "most"),
    [(0.0, "normal", 0.0), (0.02, "normal", 0.02), (0.05, "normal", 0.02), (0.02, "t", 0.05)],
)
def test_a_run_that_is_well_is_left_alone(sigma: float, tails: str, most: float) -> None:
    alarms = sum(
        any(True for _ in told_at(*curves(seed, sigma, 0.0, tails))) for seed in range(RUNS)
    )
    assert alarms <= most * RUNS


@pytest.mark.parametrize(
    ("sigma", "tails", "delay"),
    [(0.0, "normal", 8), (0.005, "normal", 9), (0.02, "normal", 16), (0.02, "t", 18)],
)
def test_over_fitting_is_told_soon(sigma: float, tails: str, delay: int) -> None:
    delays = []
    for seed in range(RUNS):
        after = [i for i in told_at(*curves(seed, sigma, 0.01, tails)) if i > TURN]
        delays.append(after[0] - TURN if after else math.inf)
    assert sorted(delays)[RUNS // 2] <= delay
    assert sum(map(math.isinf, delays)) <= 0.02 * RUNS


@pytest.mark.parametrize(("tails", "most"), [("normal", 0.02), ("t", 0.04), ("percent", 0.06)])
def test_validation_that_stays_level_while_training_gets_better_is_left_alone(
    tails: str, most: float
) -> None:
    """The lowest of many is low by chance; that the others are higher is no rise."""
    n, alarms = 300, 0
    train = Curve(list(range(n)), [1 - i / n for i in range(n)])
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        random = rng.standard_t(3, n) if tails == "t" else rng.standard_normal(n)
        values = np.round(80 + random) / 100 if tails == "percent" else 0.5 + 0.02 * random
        tracked = told_at(train, Curve(list(range(n)), values.tolist()))
        alarms += any(True for _ in tracked)
    assert alarms <= most * RUNS


def test_validation_that_rises_with_training_is_not_over_fitting() -> None:
    """Both get worse: that is divergence, or other data."""
    _, validation = curves(0, sigma=0.01, slope=0.05)
    rising = Curve(validation.steps, [2 + 0.01 * i for i in range(len(validation))])
    assert find_overfitting(rising, validation, "val_loss") is None


def test_a_run_that_gets_over_it_is_not_reproached() -> None:
    down, up = [1 - 0.02 * i for i in range(15)], [0.8 + 0.02 * i for i in range(10)]
    values = [*down, *up, *[0.5 - 0.01 * i for i in range(15)]]
    steps = list(range(len(values)))
    train = Curve(steps, [-float(i) for i in steps])
    assert find_overfitting(train, Curve(steps, values), "v") is None
    worse = find_overfitting(train, Curve(steps[:25], values[:25]), "v")
    assert worse is not None and worse.since_step == 14


def test_higher_may_be_better() -> None:
    train, validation = curves(1, sigma=0.005, slope=0.03)
    accuracy = Curve(validation.steps, [-value for value in validation.values])
    found = find_overfitting(train, accuracy, "val_acc", mode="max")
    assert found is not None and "val_acc has fallen from -1.0" in found.text
    assert find_overfitting(train, accuracy, "val_acc") is None


def test_missing_and_bad_values_are_passed_over() -> None:
    train, validation = curves(0, sigma=0, slope=0.03)
    values = list(validation.values)
    values[50], values[51] = math.nan, math.inf
    assert find_overfitting(train, Curve(validation.steps, values), "v") is not None
    assert find_overfitting(Curve([], []), validation, "v") is None, "nobody knows of training"
    assert find_overfitting(train, Curve([], []), "v") is None
    assert find_overfitting(train, Curve([1], [1.0]), "v") is None


def test_memory_of_a_watch_is_bounded() -> None:
    tracker = OverfittingTracker("v")
    for step in range(5000):
        tracker.train(1.0)
        tracker.validate(step, 1.0)
    assert len(tracker._steps) == len(tracker._validation) <= 200


# --- divergence ---


def losses(seed: int, tails: str = "normal", n: int = 1000) -> list[float]:
    rng = np.random.default_rng(seed)
    random = rng.standard_normal(n) if tails == "normal" else rng.standard_t(3, n)
    return (1 + 2 * np.exp(-np.arange(n) / 200) + 0.1 * random).tolist()


@pytest.mark.parametrize("tails", ["normal", "t"])
def test_noise_is_no_divergence(tails: str) -> None:
    steps = list(range(1000))
    alarms = [find_divergence(Curve(steps, losses(seed, tails)), "loss") for seed in range(RUNS)]
    assert sum(alarm is not None for alarm in alarms) == 0


def test_a_jump_that_stays_is_told_after_three_values() -> None:
    for seed in range(RUNS):
        values = losses(seed)
        values[600:] = [value + 3 for value in values[600:]]
        found = find_divergence(Curve(list(range(1000)), values), "loss")
        assert found is not None
        assert (found.since_step, found.told_step) == (599, 602)


def test_a_loss_that_grows_and_grows_is_told() -> None:
    values = losses(3)
    values[600:] = [value * 1.05 ** (i + 1) for i, value in enumerate(values[600:])]
    found = find_divergence(Curve(list(range(1000)), values), "loss")
    assert found is not None and 600 <= found.told_step <= 630


@pytest.mark.parametrize("sigma", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("growth", [1.005, 1.01, 1.02])
def test_a_climb_in_which_no_value_is_a_jump_is_told(sigma: float, growth: float) -> None:
    rng = np.random.default_rng(7)
    values = 1 + 1.5 * np.exp(-np.arange(800) / 200)
    values[300:] *= growth ** np.arange(500)
    values += sigma * rng.standard_normal(800)
    found = find_divergence(Curve(list(range(800)), values.tolist()), "loss")
    assert found is not None and 250 <= found.since_step < found.told_step
    # Not before it is worse than ever, nor long after that.
    assert found.told_step < 300 + math.log(4) / math.log(growth)
    turned = find_divergence(Curve(list(range(800)), (-values).tolist()), "reward", mode="max")
    assert turned is not None and turned.told_step == found.told_step


def test_a_climb_is_told_once_until_the_metric_is_back() -> None:
    way, climb = [3 - i / 50 for i in range(100)], [1 + i / 50 for i in range(500)]
    tracker = DivergenceTracker("loss")
    values = [*way, *climb[:200], *way, *climb]
    told = [i for i, value in enumerate(values) if tracker.add(i, value) is not None]
    # The second time it is worse than ever only when it is above the first climb.
    assert len(told) == 2 and 200 < told[0] < 300 and told[1] > 600


@pytest.mark.parametrize("tails", ["normal", "t"])
def test_a_flat_loss_does_not_climb(tails: str) -> None:
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        random = rng.standard_normal(500) if tails == "normal" else rng.standard_t(3, 500)
        for level in (0.0, 1.0):
            curve = Curve(list(range(500)), (level + 0.1 * random).tolist())
            assert find_divergence(curve, "loss") is None


def test_single_outliers_are_not_told() -> None:
    values = losses(0)
    values[100] = values[300] = values[301] = 50.0
    assert find_divergence(Curve(list(range(1000)), values), "loss") is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_told_at_once(bad: float) -> None:
    found = find_divergence(Curve([1, 2, 3], [1.0, bad, bad]), "loss")
    assert found is not None and (found.since_step, found.told_step) == (1, 2)
    first = find_divergence(Curve([5], [bad]), "loss")
    assert first is not None and first.told_step == 5


def test_it_is_told_once_until_it_is_back() -> None:
    tracker = DivergenceTracker("loss")
    values = [*losses(0)[:50], *[math.nan] * 5, *losses(0)[:50], math.nan]
    told = [i for i, value in enumerate(values) if tracker.add(i, value) is not None]
    assert told == [50, 105]


def test_a_flat_loss_needs_more_than_a_ripple() -> None:
    values = [1.0] * 50 + [1.05] * 50
    assert find_divergence(Curve(list(range(100)), values), "loss") is None
    values[50:] = [1.2] * 50
    assert find_divergence(Curve(list(range(100)), values), "loss") is not None


def test_a_reward_diverges_downwards() -> None:
    values = [10.0 + 0.01 * (i % 7) for i in range(50)] + [1.0] * 5
    assert find_divergence(Curve(list(range(55)), values), "reward", mode="max") is not None
    assert find_divergence(Curve(list(range(55)), values), "reward") is None


# --- curves and policies ---


def test_noise_is_that_of_the_points_not_of_the_slope() -> None:
    rng = np.random.default_rng(0)
    slope = 5 * np.arange(4000)
    assert noise((slope + 0.3 * rng.standard_normal(4000)).tolist()) == pytest.approx(0.3, rel=0.05)


def test_what_a_run_did_again_counts() -> None:
    assert curve_of([(1, 1.0), (5, 2.0), (3, 9.0), (4, 8.0)]) == Curve([1, 3, 4], [1.0, 9.0, 8.0])
    assert curve_of([(1, 1.0), (1, 2.0)]) == Curve([1], [2.0])


def test_pairs_of_metrics() -> None:
    names = ["train/loss", "eval/loss", "lr", "acc", "Val_acc", "test_f1"]
    assert metric_pairs(names) == [("train/loss", "eval/loss"), ("acc", "Val_acc")]


def test_watches_combine_and_know_by_what_to_go_back() -> None:
    both = watch.overfitting("loss", "val_acc", mode="max") | watch.divergence("loss")
    assert both.goal == (("val_acc", "max"), ("loss", "min"))
    assert len((both | watch.divergence("grad")).start()) == 3
    assert both.start()[0] is not both.start()[0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: watch.overfitting("loss", "loss"),
        lambda: watch.overfitting("loss", ""),
        lambda: watch.overfitting("loss", "v", mode="up"),
        lambda: watch.overfitting("loss", "v", patience=0),
        lambda: watch.divergence(7),
        lambda: watch.divergence("loss", z=math.nan),
        lambda: watch.divergence("loss", every=0),
    ],
)
def test_watches_that_are_not_possible(make) -> None:
    with pytest.raises(UsageError):
        make()
