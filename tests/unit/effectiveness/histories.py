"""Journals made step by step, as a trainer makes them, with a clock of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from holdfast.engine.tally import TALLY_BYTES, Tally

EPOCH_NS = 1_700_000_000_000_000_000
NS = 1_000_000_000


class Script:
    """Writes the events of lives that follow each other on one machine."""

    def __init__(self, run: str = "r", boot: str | None = "boot") -> None:
        self.events: list[dict[str, Any]] = []
        self.now_s = 1000.0
        self.wall_ahead_s = 0.0
        self._run, self._boot = run, boot
        self._n_lives = 0

    def begin(self) -> None:
        """A process starts."""
        self._n_lives += 1
        self._tally = Tally(memoryview(bytearray(TALLY_BYTES)))
        self.step = -1
        self._tell("started", run=self._run, boot=self._boot)
        self._tally.begin(self.now_s)

    def restore(self, step: int, took_s: float) -> None:
        before = self.progress()
        self.now_s += took_s
        self._tally.begin(self.now_s)
        self._tell("restored", step=step, took_s=took_s, before=before, state_bytes=8)
        self.step = step

    def train(self, durations_s: Sequence[float], *, held_s: float = 0.0, busy: bool = False):
        for duration_s in durations_s:
            self.now_s += duration_s
            self.step += 1
            self._tally.count(self.now_s, is_busy=busy)
            self.now_s += held_s
            self._tally.hold(held_s)

    def save(self, durable_s: float = 0.5, **facts: Any) -> None:
        saved = {"held_s": 0.1, "durable_s": durable_s, "state_bytes": 8, "stored_bytes": 8}
        reached = {"reached": self.step, "counted": self.progress()["counted"]}
        self._tell("saved", **{"step": self.step, **reached, **saved, **facts})

    def end(self, how: str, after_s: float = 0.0) -> None:
        """``died`` is seen by the persister, ``vanished`` by nobody."""
        if how == "died":
            self._tell("trainer-died", **self.progress())
        elif how != "vanished":
            self.now_s += after_s
            self._tell("ended", how=how, **self.progress())

    def pause(self, seconds: float) -> None:
        self.now_s += seconds

    def progress(self) -> dict[str, Any]:
        return {"step": self.step, "counted": dataclasses.asdict(self._tally.read())}

    def note_steps(self) -> None:
        self._tell("steps", **self.progress())

    def tell(self, event: str, **facts: Any) -> None:
        self._tell(event, **facts)

    def _tell(self, event: str, **facts: Any) -> None:
        self.events.append(
            {
                "event": event,
                "incarnation": f"life-{self._n_lives}",
                "mono_s": self.now_s,
                "time_ns": EPOCH_NS + round((self.now_s + self.wall_ahead_s) * NS),
                **facts,
            }
        )
