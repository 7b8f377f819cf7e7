"""bench and demo: their options reach what they run, and their results reach people."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import holdfast.bench
import holdfast.demo
from holdfast.bench.result import LIMIT, OURS, BenchResult, Check, Measurement
from holdfast.cli import bench, demo
from holdfast.demo import DemoResult
from holdfast.errors import UsageError

RESULT = BenchResult(
    machine={"cpus": 2},
    state_bytes=10**9,
    n_tensors=258,
    rounds=2,
    measurements=(
        Measurement(LIMIT, "held_s", (0.08, 0.09)),
        Measurement(OURS, "held_s", (0.1, 0.11)),
        Measurement(OURS, "durable_s", (0.5, 0.6)),
        Measurement("trainer", "peak_extra_bytes", (1e9, 1e9)),
    ),
    checks=(
        Check("loop held", "≤ 1.5 × memory copy", 1.24, True, "105 ms against 85 ms"),
        Check("durable", "≥ 2 ×", 1.4, False, "0.55 s against 0.77 s"),
    ),
    absent=("orbax: not installed",),
)

TOLD = DemoResult(
    ok=True,
    steps=80,
    killed_after_step=41,
    resumed_from="stormy@40",
    steps_repeated=1,
    n_leaves=60,
    nbytes=1000,
    differences=(),
    val_acc=0.9,
    seconds=20.0,
)


@pytest.fixture
def asked(monkeypatch):
    seen = []

    def run(options, progress=None):
        progress("speed, round 1")
        seen.append(options)
        return RESULT

    monkeypatch.setattr(holdfast.bench, "run", run)
    return seen


def test_bench_options_reach_the_benchmark(asked, tmp_path, capsys):
    assert bench.bench(size_mb=20, rounds=3, directory=tmp_path) == 0
    assert (asked[0].size_mb, asked[0].rounds, asked[0].directory) == (20, 3, tmp_path)
    bench.bench(quick=True)
    bench.bench(quick=True, rounds=4)
    bench.bench()
    assert asked[1].size_mb < asked[3].size_mb
    assert asked[1].rounds < asked[3].rounds
    assert asked[2].rounds == 4


def test_bench_shows_ratios_and_checks(asked, capsys):
    assert bench.bench() == 0, "it ran; a promise that this machine misses is no failure"
    said = capsys.readouterr()
    assert "speed, round 1" in said.err
    assert "1 of 2 promises kept" in said.out
    assert "orbax: not installed" in said.out
    [missed] = [line for line in said.out.splitlines() if line.startswith("missed")]
    assert "durable" in missed
    assert "1.4" in missed


def test_bench_json_goes_to_stdout_and_file(asked, tmp_path, capsys):
    file = tmp_path / "bench.json"
    assert bench.bench(as_json=True, file=file) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads(file.read_text())
    assert shown["checks"][1]["ok"] is False


def test_bench_is_not_begun_where_its_output_cannot_go(asked, tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        bench.bench(file=tmp_path / "nowhere" / "bench.json")
    assert asked == []


@pytest.mark.parametrize("ok", [True, False])
def test_demo_fails_where_the_states_differ(monkeypatch, capsys, tmp_path, ok):
    def run(options, say):
        say("1 · A run that is left alone")
        assert (options.directory, options.steps) == (tmp_path, 80)
        return replace(TOLD, ok=ok)

    monkeypatch.setattr(holdfast.demo, "run", run)
    assert demo.demo(directory=tmp_path, steps=80) == (0 if ok else 1)
    assert "left alone" in capsys.readouterr().out
    demo.demo(directory=tmp_path, steps=80, as_json=True)
    said = capsys.readouterr()
    assert "left alone" in said.err
    assert json.loads(said.out)["ok"] is ok
