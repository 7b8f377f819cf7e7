"""Signals whose handlers raise, in the midst of anything: nothing hangs, nothing is half done."""

from __future__ import annotations

from pathlib import Path

import pytest
from crash_running import Script, assert_verified, budget_s, debris


@pytest.mark.parametrize("seed", [1, 2])
def test_a_handler_that_raises_leaves_nothing_half_done(tmp_path: Path, seed: int) -> None:
    store = tmp_path / "s"
    script = Script("interrupted.py", store, budget_s(4), seed, folder=tmp_path)
    try:
        assert script.wait() == 0, script.told()
        told = script.lines("told")[0]
        assert "save stopped" in told and "restore stopped" in told, told
    finally:
        script.end()
    assert_verified(store)
    assert debris(store, "r") == set()


def test_no_signal_is_lost_to_one_that_raises(tmp_path: Path) -> None:
    script = Script("held_back.py", budget_s(3), 1, folder=tmp_path)
    try:
        assert script.wait() == 0, script.told()
        assert "stopped" in script.lines("told")[0]
    finally:
        script.end()
