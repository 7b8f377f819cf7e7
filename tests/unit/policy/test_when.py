from __future__ import annotations

import math
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import UsageError
from holdfast.policy.moment import Moment, Past
from holdfast.policy.when import every, on, updated_best


def moment(step=1, *, epoch=None, metrics=None, time_s=0.0, signals=(), exception=False):
    return Moment(step, epoch, metrics or {}, time_s, signals, exception)


def past(
    seen_step=-1, *, start_epoch=None, seen_epoch=None, start_time_s=0.0, saved_time_s=None, best=()
):
    return Past(
        -1, start_epoch, start_time_s, seen_step, seen_epoch, None, saved_time_s, dict(best)
    )


def steps_saved(policy, steps):
    seen, saved = -1, []
    for step in steps:
        if policy.due(moment(step), past(seen)):
            saved.append(step)
        seen = step
    return saved


class TestEvery:
    def test_steps_are_multiples_and_never_zero(self):
        assert steps_saved(every(steps=3), range(10)) == [3, 6, 9]

    def test_every_step_begins_at_zero(self):
        assert steps_saved(every(steps=1), range(4)) == [0, 1, 2, 3]

    def test_a_boundary_between_two_calls_is_not_missed(self):
        assert steps_saved(every(steps=10), [7, 14, 21, 28, 35, 42]) == [14, 21, 35, 42]

    def test_resumed_run_does_not_save_the_step_before_the_first_again(self):
        assert every(steps=5).due(moment(11), past(10)) == ()
        assert every(steps=5).due(moment(15), past(14)) == ("every 5 steps",)

    def test_steps_beyond_float_precision(self):
        step = 2**60
        assert every(steps=2**60).due(moment(step), past(step - 1))
        assert not every(steps=2**60).due(moment(step - 1), past(step - 2))

    @given(st.integers(1, 50), st.lists(st.integers(0, 400), unique=True).map(sorted))
    def test_saves_once_for_each_window_that_is_entered(self, n, steps):
        windows = [s // n for s in steps if s // n > 0 or n == 1]
        assert len(steps_saved(every(steps=n), steps)) == len(set(windows))

    def test_epochs_with_fractions(self):
        policy, seen, saved = every(epochs=2), None, []
        for k in range(1, 21):
            epoch = k / 4
            if policy.due(moment(k, epoch=epoch), past(k - 1, seen_epoch=seen)):
                saved.append(epoch)
            seen = epoch
        assert saved == [2.0, 4.0]

    def test_epochs_count_from_where_the_process_began(self):
        assert every(epochs=1).due(moment(9, epoch=3.5), past(start_epoch=3.2)) == ()
        assert every(epochs=1).due(moment(9, epoch=4), past(start_epoch=3.2)) == ("every epoch",)

    def test_epochs_need_an_epoch(self):
        assert every(epochs=1).due(moment(9), past()) == ()

    def test_part_of_an_epoch_despite_rounding(self):
        assert every(epochs=0.1).due(moment(3, epoch=0.3), past(seen_epoch=0.29))

    def test_time_since_start_then_since_last_save(self):
        policy = every(minutes=10)
        assert policy.due(moment(time_s=699.0), past(start_time_s=100.0)) == ()
        assert policy.due(moment(time_s=700.0), past(start_time_s=100.0)) == ("every 10 minutes",)
        assert policy.due(moment(time_s=700.0), past(saved_time_s=200.0)) == ()
        assert every(seconds=30).due(moment(time_s=30.0), past()) == ("every 30 seconds",)
        assert every(hours=1).due(moment(time_s=3600.0), past()) == ("every hour",)
        assert every(hours=1).due(moment(time_s=3599.0), past()) == ()

    @pytest.mark.parametrize(
        "amounts",
        [
            {},
            {"steps": 3, "minutes": 1},
            {"steps": 0},
            {"steps": -1},
            {"steps": 1.5},
            {"steps": True},
            {"epochs": 0},
            {"minutes": math.nan},
            {"seconds": math.inf},
            {"minutes": "10"},
        ],
    )
    def test_impossible_amounts_are_refused(self, amounts):
        with pytest.raises(UsageError):
            every(**amounts)


class TestOn:
    def test_signal_is_sigterm_and_leaves(self):
        policy = on.signal()
        assert policy.signals == {signal.SIGTERM: "exit"}
        assert policy.due(moment(signals=(signal.SIGTERM,)), past()) == ("signal SIGTERM",)
        assert policy.due(moment(signals=(signal.SIGUSR1,)), past()) == ()

    def test_signal_that_goes_on(self):
        policy = on.signal(signal.SIGUSR1, signal.SIGUSR2, then="continue")
        assert policy.signals == {signal.SIGUSR1: "continue", signal.SIGUSR2: "continue"}

    def test_exit_wins_in_a_union(self):
        go_on, leave = on.signal(then="continue"), on.signal(then="exit")
        assert (go_on | leave).signals == {signal.SIGTERM: "exit"}
        assert (leave | go_on).signals == {signal.SIGTERM: "exit"}

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, 0, 9999, "TERM"])
    def test_signals_that_cannot_be(self, number):
        with pytest.raises(UsageError):
            on.signal(number)

    def test_then_is_one_of_two(self):
        with pytest.raises(UsageError, match="'exit' or 'continue'"):
            on.signal(then="stop")

    def test_exception(self):
        assert on.exception().wants_exception
        assert on.exception().due(moment(exception=True), past()) == ("exception",)
        assert on.exception().due(moment(), past()) == ()

    @pytest.mark.parametrize(
        ("mode", "value", "best", "is_due"),
        [
            ("min", 0.213, {}, True),
            ("min", 0.213, {"val_loss:min": 0.3}, True),
            ("min", 0.3, {"val_loss:min": 0.3}, False),
            ("min", 0.4, {"val_loss:min": 0.3}, False),
            ("max", 0.4, {"val_loss:max": 0.3, "val_loss:min": 0.1}, True),
            ("max", 0.2, {"val_loss:max": 0.3}, False),
            ("min", math.nan, {}, False),
            ("min", -math.inf, {}, False),
            ("max", math.inf, {}, False),
        ],
    )
    def test_best(self, mode, value, best, is_due):
        reasons = on.best("val_loss", mode).due(
            moment(metrics={"val_loss": value}), past(best=best)
        )
        assert reasons == ((f"best val_loss {value:.6g}",) if is_due else ())

    def test_best_without_the_metric(self):
        assert on.best("val_loss").due(moment(metrics={"loss": 1.0}), past()) == ()

    def test_best_refuses_another_mode(self):
        with pytest.raises(UsageError, match="'min'"):
            on.best("val_loss", "lowest")


class TestUnion:
    def test_gives_every_reason(self):
        policy = every(steps=2) | every(minutes=1) | on.exception()
        reasons = policy.due(moment(2, time_s=60.0, exception=True), past(1))
        assert reasons == ("every 2 steps", "every minute", "exception")

    def test_is_flat_however_it_is_put_together(self):
        a, b, c, d = every(steps=2), every(minutes=1), on.exception(), on.best("loss")
        assert (a | b) | (c | d) == a | (b | (c | d)) == a | b | c | d

    def test_sums_up_what_members_want(self):
        policy = every(steps=2) | on.best("loss") | on.best("acc", "max") | on.best("loss")
        assert policy.best_metrics == (("loss", "min"), ("acc", "max"))
        assert not policy.wants_exception
        assert (policy | on.exception()).wants_exception
        assert policy.signals == {}

    def test_only_with_policies(self):
        with pytest.raises(TypeError):
            every(steps=2) | 3


class TestUpdatedBest:
    def test_keeps_the_better_and_changes_nothing_given(self):
        before = {"loss:min": 0.5, "acc:max": 0.9}
        wanted = (("loss", "min"), ("acc", "max"), ("new", "max"))
        after = updated_best(before, {"loss": 0.4, "acc": 0.8, "new": 1.0}, wanted)
        assert after == {"loss:min": 0.4, "acc:max": 0.9, "new:max": 1.0}
        assert before == {"loss:min": 0.5, "acc:max": 0.9}

    def test_nan_is_never_a_best(self):
        assert updated_best({}, {"loss": math.nan}, (("loss", "min"),)) == {}

    @given(st.lists(st.floats(), max_size=20), st.sampled_from(["min", "max"]))
    def test_due_exactly_when_the_best_changes(self, values, mode):
        best: dict[str, float] = {}
        for value in values:
            due = on.best("x", mode).due(moment(metrics={"x": value}), past(best=best))
            after = updated_best(best, {"x": value}, (("x", mode),))
            assert bool(due) == (after != best)
            best = after
        finite = [v for v in values if math.isfinite(v)]
        if finite:
            assert best[f"x:{mode}"] == (min if mode == "min" else max)(finite)
