"""A host that is lost at any moment of a save: what others have is a checkpoint, or is none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import holdfast
from holdfast.engine.peers.agreeing import agree, fill_up, held_by
from holdfast.history.sweep import sweep_debris
from holdfast.records import commits
from holdfast.testing.killing import kill_points, observe, run_killed
from unit.engine.peers.neighbours import RUN, neighbours

# All of them: make ranks.
EACH = 1 if os.environ.get("HOLDFAST_RANKS") == "full" else 4
STATES = {1: {"w": list(range(50)), "b": b"x" * 9000}, 2: {"w": list(range(60)), "b": b"x" * 9000}}


def test_a_host_lost_at_any_effect_of_a_save_loses_nothing_that_was_reported(
    tmp_path: Path,
) -> None:
    reported = tmp_path / "reported"

    def begin(folder: Path) -> None:
        with neighbours(folder, list("abc")) as stores:
            holdfast.save(stores["a"], STATES[1], run=RUN, step=1)

    def save(folder: Path, again: bool = False) -> None:
        with neighbours(folder, list("abc")) as stores:
            holdfast.save(stores["a"], STATES[2], run=RUN, step=2)
            reported.touch()

    first = tmp_path / "first"
    begin(first)
    seen = tmp_path / "seen"
    shutil.copytree(first, seen)
    points = kill_points(observe(lambda: save(seen), seen / "a").effects)
    assert len(points) > 20
    outcomes = set()
    for number, point in enumerate(points[::-EACH]):
        reported.unlink(missing_ok=True)
        folder = tmp_path / f"killed-{number}"
        shutil.copytree(first, folder)
        run_killed(lambda folder=folder: save(folder), folder / "a", point)
        shutil.rmtree(folder / "a")
        with neighbours(folder, list("abc")) as stores:
            held = {name: held_by(store, RUN) for name, store in stores.items()}
            for name, store in stores.items():
                fill_up(store, RUN, held[name], agree(held))
            for store in stores.values():
                sweep_debris(store.local, RUN)
            steps = [c.step for c in commits.good_commits(stores["a"], RUN)]
            assert steps in ([1], [1, 2]), point
            assert steps == [1, 2] or not reported.exists(), point
            for step in steps:
                assert holdfast.load(stores["a"], f"{RUN}@{step}") == STATES[step], point
            outcomes.add(len(steps))
        shutil.rmtree(folder)
    assert outcomes == {1, 2}
