"""Saves that wait for other ranks: finished in order, and no more of them than may wait."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from holdfast.engine.finishing import Finishing
from holdfast.engine.job import SaveJob
from holdfast.engine.unfinished import Unfinished
from unit.engine.two_ranks import part_of


def unfinished(step: int) -> Unfinished:
    job, _ = part_of(0, 0)
    return Unfinished(replace(job, step=step))


def test_who_saves_faster_than_is_committed_is_held_up_and_all_is_finished_in_order() -> None:
    began: queue.SimpleQueue[int] = queue.SimpleQueue()
    may_end: queue.SimpleQueue[None] = queue.SimpleQueue()
    done: list[int] = []

    def finish(left: Unfinished, behind: Callable[[], Sequence[SaveJob]]) -> None:
        began.put(left.job.step)
        may_end.get()
        done.append(left.job.step)

    finishing = Finishing(finish, most_behind=2)
    for step in (0, 1, 2):
        finishing.put(unfinished(step))
    assert began.get() == 0
    held_up = threading.Thread(target=finishing.put, args=(unfinished(3),))
    held_up.start()
    held_up.join(0.05)
    assert held_up.is_alive()
    may_end.put(None)
    held_up.join(60)
    assert not held_up.is_alive() and began.get() == 1
    for _ in range(3):
        may_end.put(None)
    finishing.close()
    assert done == [0, 1, 2, 3]
