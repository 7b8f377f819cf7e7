"""What is to be simulated, written down: a TOML file, or options of the command line.

```toml
[job]
days = 54
mtbf_hours = 3.1            # or nodes and per_node_day; or trace = "failures.csv"
shape = 0.7                 # Weibull: below 1, most failures come early
relapse = 0.2               # another failure follows soon after a restart, with this probability
preempt_every_hours = 24
queue_minutes = 5

[[strategy]]
name = "local tier"
every_minutes = 10          # or formula = "young", "daly", "best", "none"
cost_seconds = 2
durable_seconds = 60
restart_seconds = 300
tier = { every = 6, survives = 0.9, restart_seconds = 60 }
```
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.effectiveness import intervals
from holdfast.effectiveness.failures import (
    Exponential,
    FailureModel,
    FirstOf,
    Relapsing,
    Scheduled,
    Weibull,
    by_nodes,
)
from holdfast.effectiveness.simulate import Job
from holdfast.effectiveness.strategy import (
    Saving,
    Strategy,
    Tier,
    blocking,
    in_background,
    survives,
)
from holdfast.effectiveness.traces import parse_trace
from holdfast.errors import UsageError

_HOUR_S, _DAY_S, _MINUTE_S = 3600.0, 86400.0, 60.0
_SOON_S = 600.0
# Beyond, a Weibull distribution has its mean from failures that never come in any simulation.
_SHAPES = (0.1, 1000.0)

_JOB = {
    *("days", "work_hours", "mtbf_hours", "nodes", "per_node_day", "exponent", "shape", "relapse"),
    *("relapse_minutes", "preempt_every_hours", "queue_minutes", "trace"),
}
_STRATEGY = {
    *("name", "every_minutes", "formula", "cost_seconds", "durable_seconds", "restart_seconds"),
    *("keep", "stored_gb", "spoiled", "notice", "tier", "replicas", "loses_one"),
    *("state_gb", "copy_gbps", "store_gbps", "ratio", "codec_gbps", "blocking", "slowed"),
}
# Facts that mean nothing without another one, and what would pass them over in silence.
_NEEDED = {
    **dict.fromkeys(("per_node_day", "exponent"), "nodes"),
    "relapse_minutes": "relapse",
    **dict.fromkeys(
        ("copy_gbps", "store_gbps", "ratio", "codec_gbps", "blocking", "slowed"), "state_gb"
    ),
    "loses_one": "replicas",
}
_EITHER = {
    "shape": "trace",
    "formula": "every_minutes",
    **dict.fromkeys(("cost_seconds", "durable_seconds", "stored_gb"), "state_gb"),
}
_TIER = {"every", "survives", "restart_seconds", "lag_seconds"}

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A job and the strategies to try on it; ``mtbf_s`` is for the formulas."""

    job: Job
    mtbf_s: float
    strategies: tuple[Strategy, ...]


def parse_scenario(text: str, read: Callable[[str], str], *, what: str) -> Scenario:
    """Return the scenario of a TOML file.

    Args:
        text: What is in the file.
        read: Returns the text of another file that it names.
        what: Its name, for errors.

    Raises:
        UsageError: It is no TOML, or says something that cannot be.
    """
    try:
        facts = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{what} is no TOML: {error}.") from error
    _check_names(facts, {"job", "strategy"}, what)
    said, items = facts.get("job", {}), facts.get("strategy", [])
    if not isinstance(said, Mapping):
        raise UsageError(f"job in {what} is {said!r}; it is a table: [job].")
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise UsageError(f"A strategy in {what} is a table with two brackets: [[strategy]].")
    job, mtbf_s = job_of(said, read)
    strategies = [strategy_of(item, mtbf_s) for item in items]
    return Scenario(job, mtbf_s, tuple(strategies))


def job_of(facts: Facts, read: Callable[[str], str]) -> tuple[Job, float]:
    """Return a job, and the mean time between its failures.

    Raises:
        UsageError: A fact is not known, or is no number where there must be one.
    """
    _check_names(facts, _JOB, "[job]")
    _check_together(facts, "[job]")
    usual, mtbf_s = _usual_failures(facts, read)
    if "relapse" in facts:
        soon_s = _number(facts, "relapse_minutes", _SOON_S / _MINUTE_S) * _MINUTE_S
        usual = Relapsing(usual, _share(facts, "relapse"), soon_s)
    if "preempt_every_hours" in facts:
        usual = FirstOf((usual, Scheduled(_number(facts, "preempt_every_hours") * _HOUR_S)))
    days = _number(facts, "days", 54.0 if "work_hours" not in facts else math.inf)
    work_s = _number(facts, "work_hours", math.inf) * _HOUR_S
    queue_s = _number(facts, "queue_minutes", 0.0, zero=True) * _MINUTE_S
    if not math.isfinite(queue_s):
        raise UsageError(f"queue_minutes is {queue_s}: a job that waits for ever does nothing.")
    return Job(usual, days * _DAY_S, work_s, queue_s), mtbf_s


def _usual_failures(facts: Facts, read: Callable[[str], str]) -> tuple[FailureModel, float]:
    given = [name for name in ("mtbf_hours", "nodes", "trace") if name in facts]
    if len(given) != 1:
        raise UsageError(
            "Say how often the job fails in one way: mtbf_hours, nodes (with per_node_day), or a "
            f"trace; {', '.join(given) or 'none'} was said."
        )
    if "trace" in facts:
        trace = parse_trace(read(str(facts["trace"])), what=str(facts["trace"]))
        return trace, trace.length_s / len(trace.at_s)
    if "nodes" in facts:
        exponent = _number(facts, "exponent", 1.0)
        nodes, rate = _count(facts, "nodes"), _number(facts, "per_node_day", 6.5e-3)
        mtbf_s = by_nodes(nodes, rate, exponent).mtbf_s
    else:
        mtbf_s = _number(facts, "mtbf_hours") * _HOUR_S
    if "shape" in facts:
        shape = _number(facts, "shape")
        if not _SHAPES[0] <= shape <= _SHAPES[1]:
            raise UsageError(f"shape is {shape!r}; it is from {_SHAPES[0]:g} to {_SHAPES[1]:g}.")
        return Weibull(mtbf_s, shape), mtbf_s
    return Exponential(mtbf_s), mtbf_s


def strategy_of(facts: Facts, mtbf_s: float) -> Strategy:
    """Return a strategy.

    Raises:
        UsageError: A fact is not known, or cannot be.
    """
    _check_names(facts, _STRATEGY, "[[strategy]]")
    _check_together(facts, "[[strategy]]")
    base = _with_costs(facts)
    interval_s = _interval_s(facts, base, mtbf_s)
    return Strategy(
        name=str(facts.get("name") or facts.get("formula") or f"every {interval_s / 60:g} min"),
        interval_s=interval_s,
        cost_s=base.cost_s,
        lag_s=base.lag_s,
        restart_s=_number(facts, "restart_seconds", 0.0, zero=True),
        keep=_count(facts, "keep", 3),
        stored_bytes=base.stored_bytes,
        spoiled=_share(facts, "spoiled"),
        tier=_tier_of(facts),
        saves_on_notice=_share(facts, "notice"),
    )


def _with_costs(facts: Facts) -> Strategy:
    """Return a strategy with the costs that are said, or that follow from state and machine."""
    if "state_gb" not in facts:
        return Strategy(
            "",
            math.inf,
            _number(facts, "cost_seconds", 0.0, zero=True),
            _number(facts, "durable_seconds", 0.0, zero=True),
            stored_bytes=round(_number(facts, "stored_gb", 0.0, zero=True) * 1e9),
        )
    saving = Saving(
        _number(facts, "state_gb") * 1e9,
        _number(facts, "copy_gbps", 10.0) * 1e9,
        _number(facts, "store_gbps", 1.0) * 1e9,
        _number(facts, "ratio", 1.0),
        _number(facts, "codec_gbps", math.inf) * 1e9,
    )
    if not isinstance(facts.get("blocking", False), bool):
        raise UsageError(f"blocking is {facts['blocking']!r}; it is true or false.")
    if facts.get("blocking"):
        if "slowed" in facts:
            raise UsageError("slowed is of saves in the background; blocking ones have none.")
        return blocking("", math.inf, saving, 0.0)
    return in_background("", math.inf, saving, 0.0, _share(facts, "slowed"))


def _interval_s(facts: Facts, base: Strategy, mtbf_s: float) -> float:
    if "every_minutes" in facts:
        return _number(facts, "every_minutes") * _MINUTE_S
    formulas: dict[str, Callable[[float, float], float]] = {
        "young": intervals.young_s,
        "daly": intervals.daly_s,
        "best": intervals.best_s,
    }
    formula = facts.get("formula", "best")
    if formula == "none":
        return math.inf
    if formula not in formulas:
        raise UsageError(f"formula is young, daly, best or none, not {formula!r}.")
    return max(formulas[formula](base.cost_s, mtbf_s), 1.0)


def _tier_of(facts: Facts) -> Tier | None:
    if "tier" not in facts:
        alone = [name for name in ("replicas", "loses_one") if name in facts]
        if alone:
            raise UsageError(
                f"{alone[0]} without a tier: the copies are of what a faster place has. Say where: "
                "tier = { every = 6, restart_seconds = 60 }."
            )
        return None
    tier = facts["tier"]
    if not isinstance(tier, Mapping):
        raise UsageError("tier is a table: { every = 6, survives = 0.9, restart_seconds = 60 }.")
    _check_names(tier, _TIER, "tier")
    every = _count(tier, "every", 1)
    if ("survives" in tier) == ("replicas" in facts):
        raise UsageError(
            "A tier needs either survives, the probability that its checkpoints outlive a failure, "
            "or replicas and loses_one, from which it follows."
        )
    kept = _share(tier, "survives")
    if "replicas" in facts:
        if "loses_one" not in facts:
            raise UsageError("replicas needs loses_one: the probability that a copy is lost.")
        # Each copy is lost alone with the probability that a single one is lost with.
        kept = survives(_share(facts, "loses_one"), _count(facts, "replicas"))
    return Tier(
        every=every,
        survives=kept,
        restart_s=_number(tier, "restart_seconds", 0.0, zero=True),
        lag_s=_number(tier, "lag_seconds", 0.0, zero=True),
    )


def _check_names(facts: Facts, known: set[str], what: str) -> None:
    unknown = sorted(set(facts) - known)
    if unknown:
        raise UsageError(
            f"{what} does not know {', '.join(unknown)}. It knows {', '.join(sorted(known))}."
        )


def _check_together(facts: Facts, what: str) -> None:
    """Refuse facts that would be passed over: nobody should compare what is the same unseen."""
    for name, other in _NEEDED.items():
        if name in facts and other not in facts:
            raise UsageError(f"{name} in {what} means nothing without {other}.")
    for name, other in _EITHER.items():
        if name in facts and other in facts:
            raise UsageError(f"{what} says {name} and {other}, of which only one can hold.")


def _share(facts: Facts, name: str) -> float:
    value = _number(facts, name, 0.0, zero=True)
    if value > 1.0:
        raise UsageError(f"{name} is {value!r}; it is a share or probability, from 0 to 1.")
    return value


def _count(facts: Facts, name: str, default: int | None = None) -> int:
    value = facts.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{name} is {value!r}; it is a whole number, 1 or more.")
    return value


def _number(facts: Facts, name: str, default: float | None = None, *, zero: bool = False) -> float:
    value = facts.get(name, default)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not (value > 0 or (zero and value == 0)):
        least = "0 or more" if zero else "above 0"
        raise UsageError(f"{name} is {value!r}; it is a number, {least}.")
    return float(value)
