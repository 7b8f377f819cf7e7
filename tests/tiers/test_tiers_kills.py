"""SIGKILL of those who train and of those who write, between any two tiers."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crash_running import IS_FULL, Script, is_alive, kill, wait_gone
from tiered import Places, new_state, steps, train, until

import holdfast
from holdfast import Checkpointer

SCRIPT = "../tiers/tiered_trainer.py"


@contextmanager
def training(places: Places, *args: object) -> Iterator[Script]:
    script = Script(SCRIPT, places.home, *args, folder=places.folder)
    try:
        yield script
    finally:
        script.end()


def persister(script: Script) -> int:
    script.until(lambda: script.lines("persister"), "its persister")
    return script.numbers("persister")[-1]


def kill_all(script: Script) -> None:
    """Kill who trains and who writes at the same moment, as a machine's memory watch would."""
    pid = persister(script)
    script.kill()
    kill(pid)
    script.process.wait()
    wait_gone(pid)


def assert_whole(*stores: Path) -> None:
    for store in stores:
        if holdfast.Store(store).place.is_there:
            assert holdfast.Store(store).verify().ok


def test_who_is_killed_goes_on_from_memory_later_than_from_home(places: Places) -> None:
    with training(places, "--memory", places.base, "--stay-at", 8) as script:
        script.until(lambda: 8 in script.numbers("saved"), "step 8")
        kill_all(script)
    assert steps(places.home) == [5]
    with training(places, "--memory", places.base, "--until", 11) as script:
        assert script.wait() == 0, script.told()
        assert script.lines("restored") == ["8 memory"]
        assert script.numbers("saved") == [10]
    assert steps(places.home) == [5, 10]
    assert_whole(places.home, places.memory)


def test_whoever_is_killed_and_whenever_nothing_that_was_saved_is_lost(places: Places) -> None:
    chance = random.Random(20261127)
    newest = -1
    for _ in range(60 if IS_FULL else 2):
        with training(places, "--memory", places.base, "--home-every", 3) as script:
            pid = persister(script)
            script.until(lambda: script.lines("fresh") or script.lines("restored"), "its start")
            found = script.lines("restored")
            assert (int(found[0].split()[0]) if found else -1) >= newest, script.told()
            first = len(script.numbers("saved"))
            script.until(lambda: len(script.numbers("saved")) > first, "a save")  # noqa: B023
            time.sleep(chance.expovariate(1 / 0.02))
            whom = chance.choice(("all", "trainer", "persister"))
            if whom == "persister":
                kill(pid)
                before = len(script.numbers("saved"))
                script.until(lambda: len(script.numbers("saved")) > before + 2, "more")  # noqa: B023
            if whom == "trainer":
                script.kill()
                script.process.wait()
            else:
                script.kill()
                kill(pid)
                script.process.wait()
            newest = max(script.numbers("saved"))
        assert_whole(places.home, places.memory)
    assert newest > 4


def test_a_copy_that_is_killed_is_gone_on_with_by_whoever_comes_next(places: Places) -> None:
    # The copy of 400 kB takes seconds.
    slow = ("--far", places.far, "--bandwidth", "100kB/s", "--stay-at", 10)
    with training(places, *slow) as script:
        script.until(lambda: 10 in script.numbers("saved"), "step 10")
        # Under way: the pin is the first that is written.
        until(lambda: list(places.far.glob("runs/r/pins/*")), "the copy to begin")
        kill_all(script)
    assert steps(places.far) == []
    with training(places, "--far", places.far, "--until", 12) as script:
        assert script.wait() == 0, script.told()
        assert script.lines("restored") == ["10 home"]
        until(lambda: steps(places.far) == [10], "the copy")
    assert_whole(places.far)
    assert [event["step"] for event in places.events("drained")] == [10]


def test_who_copies_outlives_who_trains_and_is_in_nobodys_way(places: Places) -> None:
    block = places.folder / "not-mounted"
    block.write_text("a file where a folder should be")
    far = block / "far"
    state = new_state()
    with Checkpointer(places.home, state, run="r") as ckpt:
        train(state, 0)
        ckpt.save(0)
    with training(places, "--far", far, "--stay-at", 10) as script:
        script.until(lambda: 10 in script.numbers("saved"), "step 10")
        old = persister(script)
        script.kill()
        script.process.wait()
        # Another one goes on at once, while the copy is still to be made.
        with training(places, "--far", far, "--stay-at", 11) as another:
            another.until(lambda: another.lines("restored"), "another to have the run")
            assert another.lines("restored") == ["10 home"]
            assert is_alive(old)
            kill_all(another)
        block.unlink()
        wait_gone(old)
    assert steps(far) == [10]
    assert_whole(far, places.home)
