"""Steps counted in shared memory, by the one who trains and for the one who writes it down."""

from __future__ import annotations

import pytest

from holdfast.engine.chronicle import STEPS_EVERY_S, Chronicle, progress
from holdfast.engine.heartbeat import Heartbeat
from holdfast.engine.ledger import SaveTimes
from holdfast.engine.measuring import RECENT, costs_of, slowed_s
from holdfast.engine.pace import Pace
from holdfast.engine.tally import N_CLASSES, TALLY_BYTES, Tally, class_bounds_s, length_class
from holdfast.policy.moment import Costs
from holdfast.store.running import boot_id
from holdfast.testing.memory import MemoryStore


@pytest.fixture
def tally() -> Tally:
    return Tally(memoryview(bytearray(TALLY_BYTES)))


def test_steps_are_counted_without_what_holds_them(tally: Tally) -> None:
    tally.begin(10.0)
    tally.count(12.0, is_busy=False)
    tally.hold(1.0)  # A save at the end of the step.
    tally.count(15.0, is_busy=True)
    tally.hold(0.25)  # One in the middle of the next.
    tally.count(18.0, is_busy=False)
    found = tally.read()
    assert (found.n_quiet, found.quiet_s, found.n_busy, found.busy_s) == (2, 4.75, 1, 2.0)
    assert (found.held_s, found.ready_s, found.last_s) == (1.25, 10.0, 18.0)
    assert sum(found.lengths.values()) == 3


def test_the_other_side_sees_the_same_numbers() -> None:
    trainer = Heartbeat.create()
    persister = Heartbeat.attach(trainer.fd)
    trainer.beat(7)
    trainer.tally.begin(1.0)
    trainer.tally.count(3.5, is_busy=False)
    assert progress(persister) == progress(trainer)
    assert progress(persister)["counted"]["quiet_s"] == 2.5


def test_lengths_fall_into_the_class_that_they_are_of() -> None:
    for seconds in (1e-6, 3.3e-4, 0.02, 1.0, 77.0, 4000.0):
        lower, upper = class_bounds_s(length_class(seconds))
        assert lower * (1 - 1e-9) <= seconds <= upper * (1 + 1e-9)
    assert length_class(-1.0) == 0 and length_class(1e12) == N_CLASSES - 1


def test_a_step_is_busy_if_a_save_was_under_way_when_it_began() -> None:
    heartbeat, busy = Heartbeat.create(), [False]
    pace = Pace(heartbeat, lambda: busy[0])
    pace.begin()
    with pace.step_ended(0):
        busy[0] = True
    with pace.step_ended(1):
        busy[0] = False
    with pace.step_ended(2), pytest.raises(ValueError), pace.held():
        raise ValueError
    found = heartbeat.tally.read()
    assert (found.n_quiet, found.n_busy, heartbeat.step) == (2, 1, 2)
    assert found.held_s > 0.0


def test_what_a_save_costs_is_the_median_of_the_last_ones(tally: Tally) -> None:
    times = [SaveTimes(i, 5.0, 50.0, 1, 1) for i in range(20)]
    times += [SaveTimes(i, 1.0, 2.0, 1, 1) for i in range(RECENT // 2 + 1)]
    assert costs_of([], tally.read()) is None
    assert costs_of(times, tally.read()) == Costs(1.0, 0.0, 2.0)
    tally.begin(0.0)
    tally.count(1.0, is_busy=False)
    tally.count(4.0, is_busy=True)
    assert slowed_s(tally.read()) == 2.0


def test_steps_are_written_down_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    from holdfast.records import journal

    store, heartbeat = MemoryStore(), Heartbeat.create()
    now_s = [0.0]
    monkeypatch.setattr("holdfast.engine.chronicle.time.monotonic", lambda: now_s[0])
    chronicle = Chronicle(store, "r", "me", heartbeat)

    def noted() -> list[int]:
        chronicle.note_steps()
        return [event["step"] for event in journal.events(store, "r")]

    heartbeat.beat(3)
    assert noted() == []
    now_s[0] += STEPS_EVERY_S
    assert noted() == [3]
    assert noted() == [3]
    now_s[0] += STEPS_EVERY_S  # Nothing was done meanwhile.
    assert noted() == [3]
    heartbeat.beat(4)
    now_s[0] += STEPS_EVERY_S
    assert noted() == [3, 4]


def test_a_boot_has_a_name_where_the_system_gives_one() -> None:
    assert boot_id() == boot_id()
