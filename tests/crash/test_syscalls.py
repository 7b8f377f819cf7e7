"""Faults injected into the system calls themselves, by strace, of processes as users have them.

``strace`` counts calls for each thread; ``test_effects`` counts over all of them, and is faster.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from crash_running import IS_FULL, Script, assert_verified, debris
from traced import LAST, NAMING, RUN, WRITING, Attached, Injection, struck
from training_state import TrainingState

import holdfast
from absent import absent


@pytest.fixture(autouse=True, scope="module")
def strace() -> None:
    if shutil.which("strace") is None:
        absent("strace is not installed: NO SYSTEM CALL IS MADE TO FAIL (apt-get install strace)")


def struck_ones(folder: Path, chosen: list[Injection], *more: str) -> Iterator[Attached]:
    """Run the script once for each injection, two at a time; yield those that were struck."""
    runs = [Attached(folder / f"{i}", injection, *more) for i, injection in enumerate(chosen)]
    with ThreadPoolExecutor(2) as pool:
        for attached, was_struck in zip(runs, pool.map(Attached.run, runs), strict=True):
            if was_struck:
                yield attached


def injections(fault: str, few: Sequence[tuple[str, int]]) -> list[Injection]:
    """Return a fault at a few calls, the n-th of a thread each, or at many."""
    many = [(call, n) for call in (*WRITING, *NAMING, "sendto") for n in range(1, 12)]
    return [Injection(call, n, fault) for call, n in (many if IS_FULL else few)]


def assert_good(checks: Iterable[tuple[Injection, Callable[[], None]]], *, at_least: int) -> None:
    """Carry out all checks before any failure is told."""
    count, found = 0, []
    for injection, check in checks:
        count += 1
        try:
            check()
        except Exception as error:
            found.append(f"{injection}: {type(error).__name__}: {error}")
    assert not found, f"{len(found)} of {count}:\n" + "\n".join(found)
    assert count >= at_least


def test_the_persister_killed_at_any_call(tmp_path: Path) -> None:
    """Every save becomes durable all the same, once."""

    def check(attached: Attached) -> None:
        assert len(attached.script.lines("persister")) == 2
        assert attached.check_contents() == list(range(1, LAST + 1))

    few = [(call, 1) for call in (*WRITING, "rename", "link")]
    few += [(call, n) for call in ("fsync", "unlink", "sendto") for n in (1, 2, 3)]
    found = struck_ones(tmp_path, injections("signal=SIGKILL", few))
    assert_good(((a.injection, partial(check, a)) for a in found), at_least=10)


@pytest.mark.parametrize(("error", "kind"), [("EIO", "store-unavailable"), ("ENOSPC", "no-space")])
def test_a_call_of_the_persister_fails(tmp_path: Path, error: str, kind: str) -> None:
    """One save may fail, and says why; those before and after it are good."""

    def check(attached: Attached) -> None:
        durable = set(attached.script.numbers("durable"))
        failed = dict(line.split() for line in attached.script.lines("failed"))
        assert set(failed.values()) <= {kind}, failed
        assert durable == set(range(1, LAST + 1)) - {int(step) for step in failed}
        assert durable <= set(attached.check_contents())
        # Every save has writers of its own, each of which has first calls; the rest happens once.
        by_writers = attached.injection.call == "writev" or attached.injection.n < 3
        assert len(failed) <= 1 or by_writers, failed

    few = [("writev", 1), ("link", 1), ("rename", 1), ("rename", 2), ("sendto", 1), ("sendto", 3)]
    few += [("fsync", n) for n in range(3, 10)]
    found = struck_ones(tmp_path, injections(f"error={error}", few), "--on-error", "warn")
    assert_good(((a.injection, partial(check, a)) for a in found), at_least=6)


def test_a_save_killed_at_any_call(tmp_path: Path) -> None:
    few = [(call, 1) for call in (*WRITING, *NAMING)]
    few += [(call, n) for call in ("openat", "fsync", "unlink") for n in (2, 3, 4)]
    chosen = injections("signal=SIGKILL", few)

    def strike(at: int) -> bool:
        folder = tmp_path / f"{at}"
        store, log = folder / "store", folder / "strace.log"
        save_step(store, 1)
        script = Script("saving_once.py", store, 2, folder=folder, prefix=chosen[at].options(log))
        script.wait()
        script.end()
        if not struck(log):
            return False
        assert_verified(store)
        steps = [info.step for info in holdfast.Store(store).log(RUN)]
        assert steps in ([1], [1, 2]), chosen[at]
        assert len(steps) == 2 or not script.lines("durable")
        save_step(store, 3)
        assert_verified(store)
        assert debris(store, RUN) == set(), chosen[at]
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(strike, range(len(chosen)))) >= len(chosen) // 3


def save_step(store: Path, step: int) -> None:
    state = TrainingState("tiny")
    state.put(step)
    holdfast.save(store, state.tree, run=RUN, step=step)
