"""Forked children have the parent's Checkpointer, too: they neither save with it nor hang."""

from __future__ import annotations

import signal
from pathlib import Path

from crash_running import Script, assert_verified

import holdfast


def test_a_forked_child_ends_as_if_it_had_no_checkpointer(tmp_path: Path) -> None:
    store = tmp_path / "s"
    script = Script("forked.py", store, folder=tmp_path)
    try:
        assert script.wait() == 0, script.told()
        assert script.lines("error") == ["0"], script.told()
        assert script.lines("signal") == [str(-signal.SIGTERM)], script.told()
        assert script.lines("handle") == ["0"], script.told()
        assert "wait for it there" in script.lines("waiting")[0], script.told()
    finally:
        script.end()
    assert_verified(store)
    assert [info.step for info in holdfast.Store(store).log("r")] == [1]
    assert holdfast.load(store, "r@1")["w"].tolist() == [0] * 1000
