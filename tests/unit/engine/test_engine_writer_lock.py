"""The lock of a run is given back, whatever ends the wait for it."""

from __future__ import annotations

import os

import pytest

from holdfast.engine.run_writer import RunWriter
from holdfast.format.names import RunKeys
from holdfast.testing import MemoryStore
from holdfast.testing.memory import MemoryLock


def test_who_is_interrupted_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Telling who holds it takes a while in a bucket; a notebook goes on after Ctrl-C."""

    def interrupted(lock: MemoryLock, note: bytes) -> None:
        raise KeyboardInterrupt

    store = MemoryStore()
    with monkeypatch.context() as patched:
        patched.setattr(MemoryLock, "write_note", interrupted)
        with pytest.raises(KeyboardInterrupt):
            RunWriter(store, "r").open(os.getpid())
    assert store.open_lock(RunKeys("r").lock).acquire()
