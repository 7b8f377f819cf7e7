"""The examples, run as users run them: left alone, killed in the middle and run once more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import holdfast
from absent import needs_package
from holdfast.demo.compare import compare

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True, slots=True)
class Example:
    """How a script is run.

    Attributes:
        steps: More than are done before the blow falls, however busy the machine is.
        kill_at: The step that it has told when the blow falls.
        kept: How many checkpoints its own retention leaves.
        tags: Those of the last one.
    """

    steps: int
    kill_at: int
    kept: range = range(3, 4)
    tags: tuple[str, ...] = ("final",)


KNOWN = {
    # The newest three, and the best by its metric.
    "pytorch.py": Example(400, 125, kept=range(3, 5)),
    "numpy_script.py": Example(4000, 700),
    "pytorch_dcp.py": Example(1500, 175),
    "huggingface_trainer.py": Example(150, 45),
    # The best two, and the last.
    "lightning_fit.py": Example(300, 70, tags=("final", "last")),
    "accelerate_loop.py": Example(600, 99),
    "jax_flax.py": Example(1000, 200),
    "keras_fit.py": Example(128, 80),
    "tensorflow_loop.py": Example(240, 60),
    "sklearn_partial_fit.py": Example(1000, 300),
}


def command(name: str, store: Path, run: str) -> list[str]:
    options = ["--store", str(store), "--run", run, "--steps", str(KNOWN[name].steps)]
    return [sys.executable, str(EXAMPLES / name), *options]


def finish(name: str, store: Path, run: str) -> str:
    done = subprocess.run(command(name, store, run), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"done: {run}@final" in done.stdout
    return done.stdout


def kill(name: str, store: Path, run: str) -> None:
    with subprocess.Popen(command(name, store, run), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            told = line.split(" ", 1)[0]
            if told.isdecimal() and int(told) >= KNOWN[name].kill_at:
                process.kill()
        assert process.wait() == -signal.SIGKILL


def final(store: Path, run: str) -> dict[str, Any]:
    state: dict[str, Any] = holdfast.load(store, f"{run}@final")
    if "checkpoint" in state:
        # TensorFlow writes iterators that go on alike in different ways; that they did, weights
        # tell that were made of what came out of them.
        del state["checkpoint"]["batches"]
    if "trainer" in state:
        state["trainer"] = without_times(json.loads(state["trainer"]["trainer_state"]))
    return without_name(state, run)


def without_times(value: Any) -> Any:
    """Return what the Trainer knows without what is of one process: times, its mean loss."""
    if isinstance(value, dict):
        return {
            key: without_times(child)
            for key, child in value.items()
            if not key.endswith(("_runtime", "_per_second", "train_loss"))
        }
    return [without_times(child) for child in value] if isinstance(value, list) else value


def without_name(value: Any, run: str) -> Any:
    """Return a tree without the name of its run, which is in names of files."""
    if isinstance(value, dict):
        return {without_name(k, run): without_name(child, run) for k, child in value.items()}
    return value.replace(run, "RUN") if isinstance(value, str) else value


def test_every_example_is_known() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == KNOWN.keys() | {"ray_train.py"}


@pytest.mark.parametrize("name", KNOWN)
def test_killed_in_the_middle_it_ends_where_it_would_have(name: str, tmp_path: Path) -> None:
    finish(name, tmp_path, "steady")
    kill(name, tmp_path, "stormy")
    said = finish(name, tmp_path, "stormy")
    assert "resumed from stormy@" in said
    steady, stormy = (final(tmp_path, run) for run in ("steady", "stormy"))
    comparison = compare(steady, stormy)
    assert comparison.differences == [] and comparison.n_leaves > 10
    log = holdfast.Store(tmp_path).log("stormy")
    assert log[-1].tags == KNOWN[name].tags
    assert len(log) in KNOWN[name].kept


@pytest.mark.skipif(
    os.environ.get("HOLDFAST_RANKS") != "full",
    reason="RAY TAKES LONG TO START: HOLDFAST_RANKS=full kills one of its workers",
)
def test_ray_starts_a_worker_that_was_killed_and_it_ends_where_it_would_have(
    tmp_path: Path,
) -> None:
    needs_package("ray")
    script = [sys.executable, str(Path(__file__).parent / "ray_killed.py"), str(tmp_path)]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(
        script, capture_output=True, text=True, timeout=600, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    comparison = compare(final(tmp_path, "steady"), final(tmp_path, "stormy"))
    assert comparison.differences == [] and comparison.n_leaves > 10
    last = holdfast.Store(tmp_path).log("stormy")[-1]
    # The first life saved steps 50 and 100, and died after 120 steps.
    assert last.tags == ("final",) and last.resumed_from is not None
    assert last.resumed_from.step == 100
