import json

import pytest

from holdfast.bench import BenchOptions, peers, run
from holdfast.bench.result import (
    DCP,
    DCP_ASYNC,
    LIMIT,
    OURS,
    OURS_FIRST,
    OURS_SEALED,
    OURS_ZERO,
    TORCH,
)
from holdfast.errors import EnvironmentTrouble, NoSpace, UsageError


def test_a_tiny_benchmark_measures_everyone_and_leaves_nothing(tmp_path, monkeypatch):
    def fail(self, tensors, folder):
        raise OSError(f"no such luck: {folder}")

    monkeypatch.setattr(peers.SafeTensors, "start", fail)
    lines = []
    options = BenchOptions(
        directory=tmp_path, size_mb=4, rounds=1, sections=("speed", "frozen", "small")
    )
    result = run(options, lines.append)
    assert list(tmp_path.iterdir()) == []
    assert lines
    # A peer that fails is left out, and told without paths.
    [told] = [line for line in result.absent if "no such luck" in line]
    assert str(tmp_path) not in told and result.median(peers.SAFETENSORS, "held_s") is None
    assert all("not installed" in line for line in result.absent if line != told)
    for subject in (LIMIT, OURS, OURS_SEALED, TORCH, DCP, DCP_ASYNC):
        for figure in ("held_s", "durable_s", "warm_s", "cold_s"):
            assert result.median(subject, figure) > 0, (subject, figure)
    assert result.median(OURS_FIRST, "held_s") > 0
    assert result.median(OURS_ZERO, "held_s") > 0
    assert len(result.checks) == 17
    plain = json.dumps(result.to_json())
    assert str(tmp_path) not in plain


def test_without_peers_only_the_limits_stand_beside(tmp_path):
    result = run(
        BenchOptions(
            directory=tmp_path, size_mb=4, rounds=1, peers=False, sections=("speed", "memory")
        )
    )
    assert result.median(DCP, "held_s") is None
    assert result.median(OURS, "held_s") > 0
    assert any(check.name.startswith("peak extra") for check in result.checks)


@pytest.mark.parametrize(
    "options",
    [
        BenchOptions(sections=("spead",)),
        BenchOptions(rounds=0),
        BenchOptions(size_mb=0),
    ],
)
def test_nonsense_is_refused(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        run(options)
    assert list(tmp_path.iterdir()) == []


def test_a_state_too_large_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises((NoSpace, EnvironmentTrouble)):
        run(BenchOptions(directory=tmp_path, size_mb=1e9))
    assert list(tmp_path.iterdir()) == []
