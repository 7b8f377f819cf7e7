"""Scenarios and traces: read as written, refused in words that name what is wrong."""

from __future__ import annotations

import math

import pytest

from holdfast.effectiveness.failures import Exponential, FirstOf, Relapsing, Replayed, Weibull
from holdfast.effectiveness.scenario import job_of, parse_scenario, strategy_of
from holdfast.effectiveness.simulate import simulate
from holdfast.effectiveness.traces import parse_trace
from holdfast.errors import UsageError

TOML = """
[job]
days = 10
mtbf_hours = 3.1
shape = 0.7
relapse = 0.2
preempt_every_hours = 24
queue_minutes = 5

[[strategy]]
name = "two tiers"
every_minutes = 10
cost_seconds = 2
durable_seconds = 60
restart_seconds = 300
stored_gb = 1.5
replicas = 2
loses_one = 0.1
tier = { every = 6, restart_seconds = 60, lag_seconds = 1 }

[[strategy]]
formula = "young"
state_gb = 1.5
store_gbps = 0.5
ratio = 1.5
codec_gbps = 0.7
blocking = true
keep = 5
"""


def no_file(name: str) -> str:
    raise AssertionError(name)


def test_a_file_says_job_and_strategies() -> None:
    found = parse_scenario(TOML, no_file, what="s.toml")
    [tiers, young] = found.strategies
    assert (tiers.name, tiers.interval_s, tiers.lag_s) == ("two tiers", 600.0, 60.0)
    assert tiers.tier is not None and tiers.tier.survives == pytest.approx(0.99)
    assert tiers.stored_bytes == 1_500_000_000
    assert (young.name, young.keep, young.lag_s) == ("young", 5, 0.0)
    assert young.cost_s == pytest.approx(0.15 + max(1.5 / 0.7, 1.0 / 0.5))
    failures = found.job.failures
    assert isinstance(failures, FirstOf) and isinstance(failures.causes[0], Relapsing)
    assert failures.causes[0].usual == Weibull(3.1 * 3600, 0.7)
    assert (found.job.wall_s, found.job.queue_s) == (864_000.0, 300.0)
    assert simulate(found.job, tiers, count=10).ettr.mean() > 0.5


def test_a_job_may_be_said_in_other_ways() -> None:
    job, mtbf_s = job_of({"nodes": 1500, "per_node_day": 6.5e-3, "work_hours": 5}, no_file)
    assert isinstance(job.failures, Exponential) and round(mtbf_s) == 8862
    assert (job.wall_s, job.work_s) == (math.inf, 18_000.0)
    traced, mtbf_s = job_of({"trace": "t.csv"}, {"t.csv": "time\n0\n60\n120\n"}.__getitem__)
    assert isinstance(traced.failures, Replayed) and mtbf_s == pytest.approx(160 / 3)
    assert strategy_of({"formula": "none"}, 60.0).interval_s == math.inf


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[job", "no TOML"),
        ("[jobs]\n", "does not know jobs"),
        ("[job]\nmtbf = 3\n", "does not know mtbf"),
        ("[job]\ndays = 3\n", "one way"),
        ("[job]\nmtbf_hours = 3\nnodes = 3\n", "one way"),
        ("[job]\nmtbf_hours = -3\n", "above 0"),
        ("[job]\nmtbf_hours = 'often'\n", "is a number"),
        ("[job]\nmtbf_hours = 3\nrelapse = 2\n", "from 0 to 1"),
        ("[job]\nmtbf_hours = 3\n[[strategy]]\nformula = 'mine'\n", "young, daly, best or none"),
        ("[job]\nmtbf_hours = 3\n[[strategy]]\ntier = 3\n", "tier is a table"),
        ("[job]\nmtbf_hours = nan\n", "is a number"),
        ("job = 3\n", "it is a table"),
        ("[job]\nmtbf_hours = 3\n[strategy]\nname = 'a'\n", "two brackets"),
        ("[job]\nnodes = 0.4\n", "nodes is 0.4; it is a whole number"),
        ("[job]\nmtbf_hours = 3\n[[strategy]]\nkeep = 0.3\n", "keep is 0.3; it is a whole"),
        ("[job]\nmtbf_hours = 3\n[[strategy]]\ntier = { every = 0.4 }\n", "every is 0.4"),
        ("[job]\nmtbf_hours = 3\n[[strategy]]\nspoiled = 1\n", "below 1"),
        ("[job]\nmtbf_hours = 3\n[[strategy]]\nreplicas = 2\n", "without a tier"),
        (
            "[job]\nmtbf_hours = 3\n[[strategy]]\nreplicas = 2\ntier = { every = 2 }\n",
            "replicas needs loses_one",
        ),
        ("[job]\nmtbf_hours = 3\nshape = 0.001\n", "shape is 0.001; it is from 0.1"),
        # What would be passed over, so that two strategies are the same and nobody knows why.
        ("[job]\ntrace = 't'\nshape = 0.7\n", "shape and trace"),
        ("[job]\nmtbf_hours = 1\nqueue_minutes = inf\n", "waits for ever"),
        ("[job]\nmtbf_hours = 3\nexponent = 0.5\n", "exponent in .* without nodes"),
        ("[job]\nmtbf_hours = 3\nrelapse_minutes = 5\n", "without relapse"),
        ("[job]\nmtbf_hours = 3\n[[strategy]]\nratio = 4\n", "ratio .* without state_gb"),
        (
            "[job]\nmtbf_hours = 3\n[[strategy]]\nstate_gb = 4\ncost_seconds = 3\n",
            "cost_seconds and state_gb",
        ),
        (
            "[job]\nmtbf_hours = 3\n[[strategy]]\nevery_minutes = 4\nformula = 'none'\n",
            "formula and every_minutes",
        ),
        (
            "[job]\nmtbf_hours = 3\n[[strategy]]\nreplicas = 2\nloses_one = 0.1\n"
            "tier = { survives = 0.5 }\n",
            "either survives",
        ),
        ("[job]\nmtbf_hours = 3\n[[strategy]]\ntier = { every = 2 }\n", "either survives"),
        (
            "[job]\nmtbf_hours = 3\n[[strategy]]\nstate_gb = 4\nblocking = 'no'\n",
            "true or false",
        ),
        (
            "[job]\nmtbf_hours = 3\n[[strategy]]\nstate_gb = 4\nblocking = true\nslowed = 0.1\n",
            "in the background",
        ),
    ],
)
def test_what_cannot_be_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_scenario(text, no_file, what="s.toml")


# --- traces ---


def test_a_trace_of_failures() -> None:
    found = parse_trace("node, failure_time\na, 1100\nb, 1000\nc, 1300\n", what="t")
    assert found.at_s == (0.0, 100.0, 300.0) and found.length_s == 400.0


def test_a_trace_of_jobs_counts_those_that_failed() -> None:
    day = "2023-07-01 0"
    text = (
        "job_id,submit_time,start_time,end_time,state\n"
        f"1,{day}0:00:00+00:00,{day}0:00:00+00:00,{day}1:00:00+00:00,COMPLETED\n"
        f"2,{day}0:00:00+00:00,{day}0:10:00+00:00,{day}2:00:00+00:00,FAILED\n"
        f"3,{day}0:00:00+00:00,{day}0:10:00+00:00,{day}3:00:00+00:00,NODE_FAIL\n"
    )
    found = parse_trace(text, what="t")
    assert found.at_s == (7200.0, 10800.0) and found.length_s == 10800.0


def test_a_row_without_a_time_is_no_failure() -> None:
    # As public traces of clusters have it: who did not fail has no time of failure.
    text = (
        "job_id,type,state,submit_time,start_time,end_time,fail_time,duration\n"
        "a,x,COMPLETED,2023-05-17 11:00:00+00:00,2023-05-17 11:00:00+00:00,"
        "2023-05-17 13:00:00+00:00,,7200\n"
        "b,x,FAILED,2023-05-17 11:00:00+00:00,2023-05-17 11:00:00+00:00,"
        "2023-05-17 12:00:00+00:00,2023-05-17 11:59:00+00:00,3600\n"
        "c,x,CANCELLED,2023-05-17 11:00:00+00:00,None,None,,0\n"
        "d,x,FAILED,2023-05-17 11:00:00+00:00,2023-05-17 11:30:00+00:00,"
        "2023-05-17 14:00:00+00:00,2023-05-17 14:00:00+00:00,9000\n"
    )
    found = parse_trace(text, what="t")
    assert found.at_s == (3540.0, 10_800.0)


def test_a_trace_as_a_spreadsheet_writes_it() -> None:
    assert parse_trace("\ufefftime\n0\n60\n", what="t").at_s == (0.0, 60.0)


@pytest.mark.parametrize("zeros", ["", "000", "000000", "000000000"])
def test_units_of_times_since_1970_are_known(zeros: str) -> None:
    found = parse_trace(f"timestamp\n1700000000{zeros}\n1700000060{zeros}\n", what="t")
    assert found.at_s == (0.0, 60.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Its columns: none"),
        ("a,b\n1,2\n", "Its columns: a, b"),
        ("time\nyesterday\n", "Line 2 of t: 'yesterday'"),
        ("time\n1\n\n2,3\nnan\n", "Line 4 of t: 'nan'"),
        ("time,state\n1,COMPLETED\n", "1 rows, none of which is a failure"),
        ("time\n", "0 rows"),
        ("time,state\n1\n", "none of which"),
        ("time\n5\n", "how far apart"),
        ("time\n7\n7\n", "how far apart"),
        ("start_time,end_time\n0,10\n5,20\n", "says which of them failed"),
        ("end_time,start_time,state\n1,2,FAILED\n9,1,FAILED\n", "Line 2 of t: end_time is before"),
        ("time,node,Time\n1,a,2\n3,a,4\n", "two columns of one name"),
        ("time\n" + "9" * 200_000 + "\n", "t is no CSV"),
    ],
)
def test_a_trace_with_wrong_columns_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_trace(text, what="t")
