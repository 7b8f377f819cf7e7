"""A bug planted in a script is found, and named."""

from __future__ import annotations

import os

import pytest

from drill.planting import Planted

# What the script with NumPy, or a test on values, finds too.
LARGE = pytest.mark.skipif(os.environ.get("HOLDFAST_DRILL") != "full", reason="make drill")

# Bug -> what the message says.
TORCH = {
    "rng": ("rng", "RNG of NumPy not in the state: data order differs from step"),
    "scheduler": ("scheduler", "scheduler not in the state: learning rate is 0.0485 instead of"),
    "loader": ("loader", "loader position lost: 11 samples seen twice and 11 not seen at all"),
    "ema": ("ema", "EMA not in the state"),
    "moments": ("moments", "optimizer moments cast: all values of exp_avg are rounded to bfloat16"),
    "tied": ("tied", "tied weights broken: embed.weight and head.weight"),
    "best": ("best", "'best' lost on resume"),
    "step": ("step", "step off by one"),
    "stale": ("stale", "a stale buffer was saved: norm.running_mean comes back as it was at step"),
    "anew": ("anew", "the checkpoint is not used"),
}
NUMPY = {
    "rng": ("rng", "RNG of NumPy not in the state"),
    "best": ("best", "'best' lost on resume"),
    "ema": ("ema", "EMA not in the state"),
}


@pytest.fixture(scope="module")
def torch_script(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return Planted("torch_plain.py", tmp_path_factory.mktemp("torch"), wait_for="work/last.pt")


@pytest.fixture(scope="module")
def numpy_script(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    scratch = tmp_path_factory.mktemp("numpy")
    return Planted("numpy_holdfast.py", scratch, wait_for="work/ckpts/runs/*/commits/*")


@pytest.mark.parametrize(
    "bug",
    [
        pytest.param(bug, marks=LARGE) if bug in ("rng", "best", "ema", "anew") else bug
        for bug in TORCH
    ],
)
def test_a_bug_in_a_torch_script_is_named(torch_script: Planted, bug: str) -> None:
    outcome = torch_script.killed(bug, 22)
    rule, words = TORCH[bug]
    assert outcome.status == "failed", outcome
    assert [c for c in outcome.causes if c.rule == rule and words in c.words], outcome.causes
    # The cause, and none of its consequences.
    assert len(outcome.causes) == 1, outcome.causes


def test_the_clean_torch_script_passes(torch_script: Planted) -> None:
    outcome = torch_script.killed("", 22)
    assert outcome.status == "passed", outcome
    assert outcome.resumed_at == 20
    assert outcome.difference is not None and outcome.difference.n_values >= 80


@pytest.mark.parametrize("bug", NUMPY)
def test_a_bug_in_a_numpy_script_is_named(numpy_script: Planted, bug: str) -> None:
    outcome = numpy_script.killed(bug, 33, "c")
    rule, words = NUMPY[bug]
    assert outcome.status == "failed", outcome
    assert [c for c in outcome.causes if c.rule == rule and words in c.words], outcome.causes


def test_generators_that_ranks_share_are_named(tmp_path: object) -> None:
    script = Planted("ranks.py", tmp_path, "2", wait_for="work/last.pt")  # type: ignore[arg-type]
    outcome = script.killed("ranks", 14)
    assert [c.words for c in outcome.causes if c.rule == "ranks"], outcome
    assert "per-rank RNG shared: after the resume rank 1" in outcome.causes[0].words
