"""Two writers of one run that know nothing of each other: the second is told, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from elsewhere import Elsewhere
from saving import opened, save

import holdfast
from holdfast.errors import EnvironmentTrouble, RunBusy
from holdfast.testing import MemoryStore

RUN = "r"
Meddling = Callable[[Any], int | None]


def tree(step: int) -> dict[str, Any]:
    return {"stays": np.arange(80_000), "step": np.full(5000, step)}


def begins(store: Any) -> int | None:
    """The other writer opens the run, and does no more for now."""
    opened(store, RUN).close()
    return None


def saves(store: Any) -> int | None:
    """The other writer opens the run, and saves, if nobody has been faster."""
    save(opened(store, RUN), tree(8), 8)
    return 8


def loaded(store: MemoryStore) -> list[int]:
    """Load every checkpoint that is listed; it must be what was saved."""
    there = [info.step for info in holdfast.Store(store).log(RUN)]
    for step in there:
        np.testing.assert_equal(holdfast.load(store, f"{RUN}@{step}", verify="full"), tree(step))
    return there


@pytest.mark.parametrize("meddling", [begins, saves])
def test_another_machine_takes_the_run_over_at_any_effect(meddling: Meddling) -> None:
    """Locks do not reach it. Who is told to have saved has saved; who is not has left nothing."""
    outcomes = set()
    for at in range(100):
        inner = MemoryStore()
        holdfast.save(inner, tree(1), run=RUN, step=1, rng=False)
        reported = {1}

        def meanwhile(inner: Any = inner, reported: set[int] = reported) -> None:
            with suppress(RunBusy):
                reported.add(meddling(Elsewhere(inner, -1, print, locks=False)) or 1)

        store = Elsewhere(inner, at, meanwhile, locks=False)
        try:
            save(opened(store, RUN), tree(2), 2)
            reported.add(2)
        except EnvironmentTrouble:
            outcomes.add("told")
        assert set(loaded(inner)) == reported, (at, store.effects)
        if len(store.effects) <= at:
            break
    else:
        pytest.fail("a save has no end of effects")
    assert at >= 6
    assert outcomes == {"told"}
    holdfast.save(inner, tree(9), run=RUN, step=9, rng=False)
    assert set(loaded(inner)) == {*reported, 9}
