"""Signals are noted, whatever is being done at that moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from holdfast.engine.shield import uninterrupted
from holdfast.engine.signals import SignalWatch


class Interrupted(list[int]):
    """A list that a signal comes in upon, right after it has been read."""

    def __iter__(self) -> Iterator[int]:
        found = list(super().__iter__())
        os.kill(os.getpid(), signal.SIGTERM)
        return iter(found)


@pytest.fixture
def watched() -> Iterator[SignalWatch]:
    watch = SignalWatch({signal.SIGTERM: "exit"})
    watch.begin()
    yield watch
    watch.end()


def test_a_signal_is_taken_once(watched: SignalWatch) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    assert watched.came == (signal.SIGTERM,)
    assert watched.take() == (signal.SIGTERM,)
    assert watched.take() == () and watched.answered == (signal.SIGTERM,)


def test_a_signal_that_comes_while_others_are_taken_is_not_lost(watched: SignalWatch) -> None:
    watched._came = Interrupted()
    first = watched.take()
    watched._came = list(watched.came)
    assert (first, watched.take()) in [((), (signal.SIGTERM,)), ((signal.SIGTERM,), ())]


@pytest.fixture
def noted() -> Iterator[list[int]]:
    """What a handler of the user's own for SIGUSR1 has noted."""
    came: list[int] = []

    def note(number: int, frame: object) -> None:
        came.append(number)

    before = signal.signal(signal.SIGUSR1, note)
    yield came
    signal.signal(signal.SIGUSR1, before)


def begun(number: int = signal.SIGUSR1) -> SignalWatch:
    watch = SignalWatch({number: "continue"})
    with uninterrupted():  # as a run begins
        watch.begin()
    return watch


def send(number: int = signal.SIGUSR1) -> None:
    os.kill(os.getpid(), number)


def test_who_had_a_handler_is_called_too_as_often_as_the_signal_comes(noted: list[int]) -> None:
    own = signal.getsignal(signal.SIGUSR1)
    watch = begun()
    for n in range(1, 4):
        send()
        assert watch.take() == (signal.SIGUSR1,) and len(noted) == n
    watch.end()
    assert signal.getsignal(signal.SIGUSR1) is own


def test_ctrl_c_that_is_watched_interrupts_nothing() -> None:
    watch = begun(signal.SIGINT)
    for _ in range(2):
        send(signal.SIGINT)
        assert watch.take() == (signal.SIGINT,)
    watch.end()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("first_ends_first", [True, False])
def test_two_that_watch_end_in_any_order(noted: list[int], first_ends_first: bool) -> None:
    own = signal.getsignal(signal.SIGUSR1)
    first, second = begun(), begun()
    ending, staying = (first, second) if first_ends_first else (second, first)
    send()
    assert first.take() == second.take() == (signal.SIGUSR1,) and len(noted) == 1
    ending.end()
    send()
    assert staying.take() == (signal.SIGUSR1,) and len(noted) == 2 and not ending.came
    staying.end()
    assert signal.getsignal(signal.SIGUSR1) is own


def test_a_handler_that_came_meanwhile_stays(noted: list[int]) -> None:
    watch = begun()
    inner = signal.getsignal(signal.SIGUSR1)
    seen: list[int] = []

    def newer(number: int, frame: object) -> None:
        seen.append(number)
        inner(number, frame)  # type: ignore[operator,arg-type]

    signal.signal(signal.SIGUSR1, newer)
    watch.end()
    assert signal.getsignal(signal.SIGUSR1) is newer
    send()
    assert len(seen) == len(noted) == 1 and not watch.came


def test_a_process_in_which_two_have_watched_can_be_ended() -> None:
    code = """
import os, signal
from holdfast.engine.signals import SignalWatch
first, second = SignalWatch({signal.SIGTERM: "exit"}), SignalWatch({signal.SIGTERM: "exit"})
first.begin(); second.begin(); first.end(); second.end()
os.kill(os.getpid(), signal.SIGTERM)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGTERM
