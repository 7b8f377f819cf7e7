import json

import pytest

from holdfast.bench.checks import FROZEN, LEAVES, MEMORY, SMALL, judge
from holdfast.bench.result import (
    DCP,
    DCP_ASYNC,
    LIMIT,
    OURS,
    OURS_FIRST,
    OURS_SEALED,
    OURS_ZERO,
    TORCH,
    BenchResult,
    Samples,
)

GOOD = {
    LIMIT: {"held_s": 0.08, "durable_s": 0.5, "warm_s": 0.1, "cold_s": 0.6},
    OURS: {"held_s": 0.1, "durable_s": 0.55, "warm_s": 0.2, "cold_s": 0.65, "lost_s": 0.3},
    OURS_FIRST: {"held_s": 0.9, "durable_s": 1.4},
    OURS_ZERO: {"held_s": 0.02, "durable_s": 0.6},
    OURS_SEALED: {"held_s": 0.1, "durable_s": 0.6, "warm_s": 0.21, "cold_s": 0.7},
    TORCH: {"held_s": 1.5, "durable_s": 1.5, "warm_s": 0.3},
    DCP: {"held_s": 1.3, "durable_s": 1.3, "warm_s": 0.4},
    DCP_ASYNC: {"held_s": 1.0, "durable_s": 2.0, "lost_s": 1.5},
    FROZEN: {
        "copy_s": 0.08,
        "digest_s": 0.1,
        "changed_bytes": 1e8,
        "written_bytes": 1.05e8,
        "full_durable_s": 0.55,
        "frozen_durable_s": 0.2,
    },
    SMALL: {"small_held_s": 0.004, "small_durable_s": 0.03},
    LEAVES: {"leaves_held_s": 1.0, "manifest_bytes": 12e6},
    MEMORY: {"peak_extra_bytes": 1.05e9, "state_bytes": 1e9},
}

# The promise, and a figure with which it is just not kept.
BREAKERS = [
    ("loop held, later saves", OURS, "held_s", 0.121),
    ("loop held, later saves, beside dcp.async_save", OURS, "held_s", 0.21),
    ("loop held with zero_stall, beside dcp.async_save", OURS_ZERO, "held_s", 0.21),
    ("loop held, first save, beside dcp.async_save", OURS_FIRST, "held_s", 1.01),
    ("save to durable, beside raw direct write", OURS, "durable_s", 0.59),
    ("save to durable, beside dcp.save", DCP, "durable_s", 1.09),
    ("save to durable, beside torch.save + fsync", TORCH, "durable_s", 1.09),
    ("verified restore warm, beside torch.load + load_state_dict", TORCH, "warm_s", 0.25),
    ("verified restore warm, beside dcp.load", DCP, "warm_s", 0.29),
    ("verified restore cold, beside raw cold read", OURS, "cold_s", 0.67),
    ("encrypted store: save to durable, beside a plain one", OURS_SEALED, "durable_s", 0.62),
    ("encrypted store: restore warm, beside a plain one", OURS_SEALED, "warm_s", 0.23),
    ("encrypted store: restore cold, beside a plain one", OURS_SEALED, "cold_s", 0.73),
    ("training lost to a save, beside dcp.async_save", OURS, "lost_s", 0.51),
    ("90 % frozen: bytes written", FROZEN, "written_bytes", 1.11e8),
    ("90 % frozen: time to durable", FROZEN, "frozen_durable_s", 0.26),
    ("10 MB in 200 tensors: loop held", SMALL, "small_held_s", 0.0051),
    ("10 MB in 200 tensors: durable", SMALL, "small_durable_s", 0.051),
    ("100,000 small leaves: loop held", LEAVES, "leaves_held_s", 1.51),
    ("100,000 small leaves: manifest", LEAVES, "manifest_bytes", 20.1e6),
    ("peak extra host memory, one snapshot in flight", MEMORY, "peak_extra_bytes", 1.11e9),
]


def result(figures) -> BenchResult:
    samples = Samples()
    for subject, values in figures.items():
        samples.add(subject, **values)
    return BenchResult({}, 10**9, 258, 1, samples.freeze([]))


def test_every_promise_is_judged_and_can_be_kept():
    checks = judge(result(GOOD))
    assert {check.name for check in checks} == {name for name, *_ in BREAKERS}
    assert all(check.ok for check in checks), [check for check in checks if not check.ok]


@pytest.mark.parametrize(("name", "subject", "figure", "value"), BREAKERS)
def test_every_promise_can_be_broken(name, subject, figure, value):
    bad = {**GOOD, subject: {**GOOD[subject], figure: value}}
    broken = [check.name for check in judge(result(bad)) if not check.ok]
    assert name in broken


def test_amounts_are_told_in_the_unit_of_the_target():
    checks = {check.name: check for check in judge(result(GOOD))}
    assert checks["10 MB in 200 tensors: loop held"].measured == pytest.approx(4.0)
    assert checks["100,000 small leaves: manifest"].measured == pytest.approx(12.0)


def test_what_was_not_measured_is_not_judged():
    checks = judge(result({OURS: GOOD[OURS], LIMIT: GOOD[LIMIT]}))
    assert {check.name for check in checks} == {
        "loop held, later saves",
        "save to durable, beside raw direct write",
        "verified restore cold, beside raw cold read",
    }


def test_medians_not_means():
    samples = Samples()
    for value in (1.0, 1.0, 100.0):
        samples.add(OURS, held_s=value)
    assert BenchResult({}, 1, 1, 3, samples.freeze([])).median(OURS, "held_s") == 1.0


def test_a_peer_that_failed_leaves_nothing_behind():
    samples = Samples()
    samples.add(DCP, held_s=1.0)
    samples.add(OURS, held_s=1.0)
    samples.drop(DCP)
    assert {m.subject for m in samples.freeze([])} == {OURS}


def test_table_has_a_row_per_subject_and_json_has_everything():
    made = result(GOOD)
    head, *rows = made.table()
    assert {row[0] for row in rows} == {
        LIMIT,
        OURS,
        OURS_FIRST,
        OURS_ZERO,
        OURS_SEALED,
        TORCH,
        DCP,
        DCP_ASYNC,
    }
    assert all(len(row) == len(head) for row in rows)
    plain = json.loads(json.dumps(made.to_json()))
    assert plain["schema"] == 1
    assert {m["subject"] for m in plain["measurements"]} == set(GOOD)
