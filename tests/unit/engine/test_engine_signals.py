"""Signals are noted, whatever is being done at that moment."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

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
