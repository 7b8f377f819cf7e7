"""SIGKILL of trainer and persister at any moment, over and over in the same store.

The next start restores a checkpoint that verifies and is exactly what its step was; nothing that
was told to be durable is missing.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from crash_running import (
    Script,
    assert_verified,
    budget_s,
    debris,
    kill,
    wait_gone,
)

import holdfast

RUN = "run"


class Campaign:
    """One store, and the same training script started and killed again and again."""

    def __init__(self, folder: Path, size: str, seed: int, compress: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.store = folder / "store"
        self.kills: Counter[str] = Counter()
        self.newest_durable = -1
        self._size = size
        self._compress = compress
        self._random = random.Random(seed)
        self._in_flight = 1
        self.script: Script | None = None

    def cycle(self) -> None:
        """Start the script, let it recover and train, and kill it somehow at some moment."""
        self._in_flight = self._random.choice((1, 1, 2))
        script = self.start()
        if self._random.random() < 0.15:
            # In the middle of imports, of the start of the persister, of recovery.
            time.sleep(self._random.uniform(0.0, 0.6))
            self.kill_trainer(script, both=self._random.random() < 0.5)
            return
        script.until(lambda: script.lines("fresh") or script.lines("restored"), "its start")
        self._check_restored(script)
        for _ in range(self._random.choice((0, 1, 2, 3, 4))):
            time.sleep(self._random.expovariate(1 / 0.03))
            self.kill_persister(script)
        time.sleep(self._random.expovariate(1 / 0.05))
        self.kill_trainer(script, both=self._random.random() < 0.5)

    def start(self, *more: str) -> Script:
        self.script = Script(
            "killed_trainer.py",
            self.store,
            self._size,
            "--in-flight",
            self._in_flight,
            "--compress",
            self._compress,
            *more,
            folder=self.folder,
        )
        return self.script

    def kill_persister(self, script: Script) -> None:
        """Kill the persister; the trainer must not care, and no save of it be lost."""
        told = len(script.lines("durable"))
        kill(script.numbers("persister")[-1])
        self.kills["persister"] += 1
        # Everything that was under way when it died is durable in the end, and what comes after.
        script.until(lambda: len(script.lines("durable")) > told + 2, "a durable save")

    def kill_trainer(self, script: Script, *, both: bool) -> None:
        pids = script.numbers("persister")[-1:]
        assert script.is_running, script.told()
        if both and self._random.random() < 0.5:
            for pid in pids:
                kill(pid)
        script.kill()
        if both:
            for pid in pids:
                kill(pid)
        self.kills["both" if both and pids else "trainer"] += 1
        assert script.wait() == -signal.SIGKILL, script.told()
        self.newest_durable = max([self.newest_durable, *script.numbers("durable")])
        if not both and self._random.random() < 0.5:
            return  # The next start comes while the persister may still be at work.
        for pid in pids:
            wait_gone(pid)
        if self.newest_durable >= 0:
            assert_verified(self.store)

    def _check_restored(self, script: Script) -> None:
        found = script.numbers("restored")
        assert found or self.newest_durable < 0, f"{self.newest_durable} was durable, none is left"
        assert not found or found[0] >= self.newest_durable, (found, self.newest_durable)

    def finish(self) -> None:
        """The script trains on for a little, unharmed, and leaves the store tidy."""
        script = self.start("--until", str(self.newest_durable + 40))
        assert script.wait() == 0, script.told()
        self._check_restored(script)
        assert script.lines("done") == [""]
        assert_verified(self.store)
        assert debris(self.store, RUN) == set()
        log = holdfast.Store(self.store).log(RUN)
        assert [info.step for info in log][-1] == max(script.numbers("durable"))
        # keep.last(2) was at work all the time.
        assert len({info.step for info in log}) == len(log) == 2


WHO = ("trainer", "persister", "both")
# How large the state is, and how it is stored.
KINDS = (("small", "none"), ("small", "delta"), ("large", "none"))


def test_no_kill_loses_what_was_durable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three stores at a time: the trouble that one makes is the unlucky timing of the others."""
    campaigns = [
        Campaign(tmp_path / f"{number}", size, number, compress)
        for number, (size, compress) in enumerate(KINDS)
    ]
    deadline = time.monotonic() + budget_s(75.0)
    # On a machine that is busy it takes longer to kill as often.
    late = deadline + 225.0

    def are_enough() -> bool:
        kills = sum((campaign.kills for campaign in campaigns), Counter())
        return kills.total() >= 120 and min(kills[who] for who in WHO) >= 15

    def carry_out(campaign: Campaign) -> None:
        try:
            while (now := time.monotonic()) < deadline or (now < late and not are_enough()):
                campaign.cycle()
            campaign.finish()
        finally:
            if campaign.script is not None:
                campaign.script.end()

    with ThreadPoolExecutor(len(campaigns)) as pool:
        for _ in pool.map(carry_out, campaigns):
            pass
    (last,) = holdfast.Store(campaigns[1].store).log(RUN)[-1:]
    assert last.stored_bytes < last.state_bytes / 2
    kills = sum((campaign.kills for campaign in campaigns), Counter())
    with capsys.disabled():
        print(f" {dict(kills)}, {[c.newest_durable for c in campaigns]} steps", end=" ")
    assert are_enough()
