"""The report: its numbers against a replay step by step, and what it says of bad journals."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from dataclasses import dataclass

import pytest
from histories import EPOCH_NS, Script
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.effectiveness.lives import lives_of
from holdfast.effectiveness.report import Report, report_of
from holdfast.effectiveness.unsaid import doubts_of_the_unsaid
from holdfast.errors import JournalMixed, NoHistory
from holdfast.format.commit import CommitRecord

ENDS = ("done", "died", "exception ValueError", "signal SIGTERM", "exception KeyboardInterrupt")


@dataclass(frozen=True)
class Part:
    """What one process did: from which step back, how many steps, of which length."""

    back_by: int | None
    n_steps: int
    step_s: float
    held_s: float
    restore_s: float
    end: str
    down_s: float


def report(script: Script) -> Report:
    # As it comes back from the disk.
    events = [json.loads(json.dumps(event)) for event in script.events]
    return report_of("r", lives_of(events, "r"))


# A machine that is busy is no fault of the code.
calm = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
seconds = st.floats(0.001, 1000.0)
parts = st.builds(
    Part,
    back_by=st.none() | st.integers(0, 30),
    n_steps=st.integers(0, 40),
    step_s=seconds,
    held_s=seconds,
    restore_s=seconds,
    end=st.sampled_from(ENDS),
    down_s=seconds,
)


@calm
@given(st.lists(parts, min_size=1, max_size=6))
def test_the_numbers_are_those_of_a_replay_step_by_step(history: list[Part]) -> None:
    script = Script()
    done: list[tuple[int, float]] = []  # Every step that stands: its number and its length.
    twice_s = held_s = restored_s = down_s = 0.0
    n_twice = 0
    last_s = script.now_s
    for number, part in enumerate(history):
        if number:
            script.pause(part.down_s)
            down_s += script.now_s - last_s
        script.begin()
        top = done[-1][0] if done else -1
        base = None
        if part.back_by is not None and top >= 0:
            base = max(top - part.back_by, 0)
            script.restore(base, part.restore_s)
            restored_s += part.restore_s
        elif part.n_steps:
            base = -1
        if base is not None:
            n_twice += sum(step > base for step, _ in done)
            twice_s += sum(length for step, length in done if step > base)
            done = [(step, length) for step, length in done if step <= base]
        for _ in range(part.n_steps):
            script.train([part.step_s], held_s=part.held_s)
            done.append((script.step, part.step_s))
        held_s += part.n_steps * part.held_s
        last_s = script.now_s
        if part.end == "died" and part.n_steps:
            last_s -= part.held_s  # The last step is its last sign of life.
        script.end(part.end)
    found = report(script)
    clock = found.wall_clock
    assert found.steps == len(done)
    assert found.steps_twice == n_twice
    assert clock.useful_s == pytest.approx(sum(length for _, length in done), abs=1e-6)
    assert clock.twice_s == pytest.approx(twice_s, abs=1e-6)
    assert clock.held_s == pytest.approx(held_s, abs=1e-6)
    assert clock.restoring_s == pytest.approx(restored_s, abs=1e-6)
    assert clock.down_s == pytest.approx(down_s, abs=1e-6)
    assert clock.slowed_s == 0.0
    if not any(part.end == "died" for part in history):
        # What holds the loop after the last step of one that died is not counted as its life.
        assert clock.total_s == pytest.approx(last_s - 1000.0, abs=1e-6)


@calm
@given(st.lists(st.tuples(st.lists(seconds, min_size=1), st.booleans()), min_size=1, max_size=5))
def test_every_second_is_somewhere_once(stretches: list[tuple[list[float], bool]]) -> None:
    script = Script()
    script.begin()
    for durations_s, busy in stretches:
        script.train(durations_s, busy=busy, held_s=0.25)
    script.end("done", after_s=3.0)
    clock = report(script).wall_clock
    assert clock.total_s == pytest.approx(script.now_s - 1000.0)
    assert clock.around_s == pytest.approx(3.0, abs=1e-4)
    assert clock.useful_s + clock.slowed_s == pytest.approx(sum(sum(d) for d, _ in stretches))
    assert sum(clock.shares_s.values()) == clock.total_s
    assert clock.ettr == clock.useful_s / clock.total_s


def test_steps_that_a_save_slows_are_told() -> None:
    script = Script()
    script.begin()
    script.train([1.0] * 10)
    script.train([1.5] * 4, busy=True)
    script.end("done")
    clock = report(script).wall_clock
    assert (clock.useful_s, clock.slowed_s) == (14.0, 2.0)


def a_run_that_died() -> Script:
    script = Script()
    script.begin()
    script.train([1.0] * 10)
    script.save()
    script.train([1.0] * 5)
    script.end("died")
    script.pause(30.0)
    script.begin()
    script.restore(9, 2.0)
    script.train([1.0] * 10)
    script.save()
    script.end("done")
    return script


def test_an_interruption_is_told_with_what_it_cost() -> None:
    found = report(a_run_that_died())
    [item] = found.interruptions
    assert (item.how, item.reached, item.back_to) == ("died", 14, 9)
    assert (item.lost_steps, item.lost_s, item.down_s, item.restored_s) == (5, 5.0, 30.0, 2.0)
    assert found.ettr == pytest.approx(20.0 / (15 + 30 + 2 + 10))
    assert found.steps_per_hour == pytest.approx(20 / 57 * 3600)
    assert found.possible_steps_per_hour == 3600.0
    assert (found.n_processes, found.n_saves, found.is_open) == (2, 2, False)


def test_going_back_by_ones_own_will_is_told_apart() -> None:
    script = Script()
    script.begin()
    script.train([1.0] * 10)
    script.save()
    script.restore(4, 1.0)
    script.train([1.0] * 3)
    script.end("done")
    found = report(script)
    [item] = found.interruptions
    assert (item.how, item.reached, item.back_to, item.lost_steps) == ("rolled back", 9, 4, 5)
    assert (found.steps, found.steps_twice) == (8, 5)


def test_a_restore_that_takes_nothing_back_is_no_loss() -> None:
    script = Script()
    script.begin()
    script.train([1.0] * 10)
    script.save()
    script.restore(9, 1.0)  # What is there already.
    script.train([1.0] * 5)
    script.restore(100, 1.0)  # Another run's, further on.
    script.train([1.0] * 5)
    script.end("done")
    found = report(script)
    assert found.interruptions == ()
    assert (found.steps, found.steps_twice) == (20, 0)


def test_what_other_strategies_would_have_cost() -> None:
    found = report(a_run_that_died())
    by_name = {item.name: item for item in found.alternatives}
    # 15 s of training before the death; nothing was saved after an hour.
    assert by_name["every hour"].lost_s == pytest.approx(15.0)
    assert by_name["every hour"].paid_s == 0.0
    assert by_name["no checkpoints"].lost_s == pytest.approx(15.0)
    assert by_name["as it was"].interval_s == pytest.approx(25.0 / 2)
    assert by_name["as it was"].lost_s < 15.0


def test_storage_over_time_counts_what_retention_gives_back() -> None:
    script = Script()
    script.begin()
    script.train([1.0])
    script.save(stored_bytes=100)
    script.pause(1.0)
    script.save(stored_bytes=50)
    script.pause(1.0)
    script.tell("freed", bytes=100)
    script.end("done")
    assert [point.nbytes for point in report(script).storage] == [100, 150, 50]


def test_steps_that_are_not_told_one_by_one_are_counted_by_their_numbers() -> None:
    script = Script()
    script.begin()

    def train(calls: int) -> None:
        for _ in range(calls):
            script.step += 9
            script.train([1.0])

    script.step = -10
    train(31)
    script.save()
    train(4)
    script.end("died")
    script.pause(30.0)
    script.begin()
    script.restore(300, 2.0)
    train(20)
    script.end("done")
    found = report(script)
    # Up to step 500, of which 301 to 340 were done for nothing, in 4 calls.
    assert (found.steps, found.steps_twice) == (501, 40)
    assert found.wall_clock.twice_s == pytest.approx(4.0, rel=0.15)


# --- bad journals ---


def test_no_events_are_no_history() -> None:
    with pytest.raises(NoHistory, match="no recorded history"):
        report_of("r", [])


def test_two_runs_in_one_journal_are_refused() -> None:
    mixed = a_run_that_died().events + Script("other").events
    other = Script("other")
    other.begin()
    with pytest.raises(JournalMixed, match="'other'"):
        lives_of(mixed + other.events, "r")


def test_half_a_history_is_said_to_be_half() -> None:
    script = a_run_that_died()
    script.events = [e for e in script.events if e["event"] != "started"]
    found = report(script)
    assert any("beginning of process 1" in doubt for doubt in found.doubts)
    assert found.steps == 20


def test_lines_that_are_no_events_are_passed_over() -> None:
    script = a_run_that_died()
    whole = report(script)
    script.events += [{}, {"event": "saved"}, {"event": 3, "incarnation": "x"}]
    assert report(script) == whole


@pytest.mark.parametrize(
    ("event", "facts"),
    [
        ("saved", {"held_s": None}),
        ("saved", {"durable_s": -5.0}),
        ("saved", {"stored_bytes": math.nan}),
        ("saved", {"step": "x"}),
        ("saved", {"counted": {"a": 1}}),
        ("trainer-died", {"counted": None}),
        ("trainer-died", {"step": math.inf}),
    ],
)
def test_events_that_say_what_cannot_be_are_left_out_and_told(
    event: str, facts: dict[str, object]
) -> None:
    script = a_run_that_died()
    whole = report(script)
    [changed] = [e for e in script.events if e["event"] == event][:1]
    script.events.append({**changed, "mono_s": changed["mono_s"] + 0.001, **facts})
    found = report(script)
    assert any(d.startswith("Left out of process") and "1 event" in d for d in found.doubts)
    assert dataclasses.replace(found, doubts=()) == dataclasses.replace(whole, doubts=())


def test_an_event_that_is_there_twice_counts_once() -> None:
    script = a_run_that_died()
    whole = report(script)
    script.events += [dict(event) for event in script.events]
    assert report(script) == whole


def test_a_clock_that_is_set_is_told_and_does_not_matter() -> None:
    script = Script()
    script.begin()
    script.train([1.0] * 5)
    script.wall_ahead_s = -86_400.0
    script.save()
    script.train([1.0] * 5)
    script.end("done")
    found = report(script)
    assert found.wall_clock.useful_s == pytest.approx(10.0)
    assert found.wall_clock.total_s == pytest.approx(10.0)
    assert any("clock was set by 86400 s" in doubt for doubt in found.doubts)


def test_a_clock_that_goes_back_between_machines_is_told() -> None:
    script = Script(boot=None)
    script.begin()
    script.train([1.0] * 5)
    script.save()
    script.end("died")
    script.pause(10.0)
    script.wall_ahead_s = -100.0
    script.begin()
    script.restore(4, 1.0)
    script.train([1.0] * 5)
    script.end("done")
    found = report(script)
    assert found.wall_clock.down_s == 0.0
    assert any("contradict each other by 90 s" in doubt for doubt in found.doubts)


def test_a_process_that_nobody_saw_die() -> None:
    script = Script()
    script.begin()
    script.train([1.0] * 5)
    script.note_steps()
    script.train([1.0] * 50)
    script.end("vanished")
    script.pause(10.0)
    script.begin()
    script.train([1.0] * 2)
    script.end("done")
    found = report(script)
    assert found.interruptions[0].how == "vanished"
    assert found.interruptions[0].reached == 4
    assert any("Nobody saw the end of process 1" in doubt for doubt in found.doubts)


def test_of_a_machine_that_vanished_what_was_done_by_its_last_save_counts() -> None:
    script = Script()
    script.begin()
    script.train([1.0] * 40)
    script.save()
    script.train([1.0] * 15)
    script.end("vanished")
    script.pause(30.0)
    script.begin()
    script.restore(39, 2.0)
    script.train([1.0] * 60)
    script.end("done")
    found = report(script)
    assert (found.steps, found.steps_twice) == (100, 0)
    assert found.wall_clock.useful_s == pytest.approx(100.0)
    assert found.wall_clock.down_s == pytest.approx(45.0)  # What it did last is not known.
    assert found.interruptions[0].reached == 39
    assert any("after step 39 is not known" in doubt for doubt in found.doubts)


def test_a_save_that_ends_later_does_not_take_steps_back() -> None:
    script = Script()
    script.begin()
    script.train([1.0] * 40)
    script.save(step=19)
    script.end("vanished")
    script.begin()
    script.restore(19, 2.0)
    script.train([1.0] * 30)
    script.end("done")
    found = report(script)
    assert (found.steps, found.steps_twice) == (50, 20)


def test_what_is_removed_by_hand_is_gone() -> None:
    script = Script()
    script.begin()
    script.train([1.0])
    script.save(stored_bytes=100)
    script.train([1.0])
    script.save(stored_bytes=50)
    script.end("done")
    # As commands write it: of no process that trains, maybe of another machine.
    for event in ({"event": "pruned", "step": 0}, {"event": "freed", "bytes": 100}):
        script.events.append({**event, "time_ns": 2 * EPOCH_NS, "mono_s": 5.0, "by": "rm"})
    found = report(script)
    assert [point.nbytes for point in found.storage] == [100, 150, 50]
    assert found.n_pruned == 1
    assert found.wall_clock.total_s == pytest.approx(2.0)


def test_a_rollback_is_told_when_it_happened() -> None:
    script = Script()
    script.begin()
    script.restore(4, 7.0)  # Where another process had come to.
    script.train([1.0] * 5)
    script.restore(4, 1.0)
    at_ns = script.events[-1]["time_ns"]
    script.train([1.0] * 50)
    script.end("done")
    [item] = report(script).interruptions
    assert (item.how, item.at_ns, item.restored_s) == ("rolled back", at_ns, 1.0)


def test_a_process_that_does_no_step_stands_where_it_went_on_from() -> None:
    script = a_run_that_died()
    script.begin()
    script.restore(19, 1.0)
    script.end("done")
    script.begin()
    script.restore(19, 1.0)
    script.end("done")
    last = report(script).interruptions[-1]
    assert (last.how, last.reached, last.back_to, last.lost_steps) == ("done", 19, 19, 0)


def test_a_run_that_never_saves_and_one_that_goes_on() -> None:
    script = Script()
    script.begin()
    script.train([1.0] * 5)
    script.note_steps()
    found = report(script)
    assert found.is_open and found.n_saves == 0 and found.alternatives == ()
    assert any("No save has become durable" in doubt for doubt in found.doubts)


def test_processes_at_the_same_time_are_told() -> None:
    script = a_run_that_died()
    second = Script()
    second.now_s = 1005.0
    second._n_lives = 7
    second.begin()
    second.end("done")
    script.events += second.events
    assert any("at the same time" in doubt for doubt in report(script).doubts)


def test_half_a_journal_is_told_by_the_checkpoints_that_it_does_not_know() -> None:
    events = [{"event": "saved", "id": f"id{step}"} for step in range(4)]
    records = [
        CommitRecord("r", step, f"id{step}", step, created_ns=EPOCH_NS, parts=(), incarnation="i")
        for step in range(1, 4)
    ]
    assert doubts_of_the_unsaid(records, events) == []
    [doubt] = doubts_of_the_unsaid(records, events[:2])
    assert "2 checkpoints of 3" in doubt and "the newest of step 3" in doubt
    # What a command has committed is in no journal.
    copied = [dataclasses.replace(r, reason="rolled back to r@3 (commit 4)") for r in records]
    assert doubts_of_the_unsaid(copied, events[:2]) == []
    # What was saved this moment is about to be written down.
    new = [dataclasses.replace(records[2], created_ns=time.time_ns())]
    assert doubts_of_the_unsaid(new, events[:2]) == []
