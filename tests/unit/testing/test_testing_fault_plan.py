"""Plans of faults: which calls they strike, how they are written down, what is refused."""

from __future__ import annotations

import json

import pytest

from holdfast.errors import UsageError
from holdfast.testing import Fault, FaultPlan, plan_of
from holdfast.testing.fault_plan import from_message, to_message


def struck(plan: FaultPlan, calls: int = 10) -> list[int]:
    """The numbers of the calls that the first fault of a plan strikes."""
    found: list[int] = []
    for number in range(calls):
        if plan.strikes(0, number, len(found)):
            found.append(number)
    return found


@pytest.mark.parametrize(
    ("fault", "numbers"),
    [
        (Fault("unavailable"), [0]),
        (Fault("unavailable", at=3), [3]),
        (Fault("unavailable", at=3, times=2), [3, 4]),
        (Fault("unavailable", at=7, times=None), [7, 8, 9]),
        (Fault("unavailable", chance=0.0, times=None), []),
    ],
    ids=str,
)
def test_a_fault_strikes_the_calls_that_it_says(fault: Fault, numbers: list[int]) -> None:
    assert struck(plan_of(fault)) == numbers


def test_chance_is_the_seeds_alone() -> None:
    fault = Fault("unavailable", chance=0.3, times=None)
    first = struck(plan_of(fault, seed=1), 1000)
    assert first == struck(plan_of(fault, seed=1), 1000)
    assert first != struck(plan_of(fault, seed=2), 1000)
    assert 200 < len(first) < 400
    assert struck(plan_of(Fault("unavailable", chance=0.3), seed=1), 1000) == first[:1]


def test_a_fault_concerns_calls_and_keys_by_patterns() -> None:
    fault = Fault("no-space", on="put*", keys="runs/*/tags/*")
    assert fault.concerns("put_new", ("runs/r/tags/x",))
    assert not fault.concerns("publish", ("runs/r/tags/x",))
    assert not fault.concerns("put", ("runs/r/pins/x",))
    assert Fault("torn", on="delete", keys="*b").concerns("delete", ("a", "b"))


def test_a_plan_is_written_as_it_was_made() -> None:
    plan = plan_of(Fault("late", on="put", calls=3), Fault("delay", delay_s=0.5), seed=9)
    assert eval(repr(plan)) == plan
    assert repr(plan.faults[0]) == "Fault('late', on='put', calls=3)"
    assert from_message(json.loads(json.dumps(to_message(plan)))) == plan


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Fault("flood"), "no kind of fault"),  # type: ignore[arg-type]
        (lambda: Fault("torn", on="get"), "would never happen"),
        (lambda: Fault("no-space", on="publsh"), "would never happen"),
        (lambda: Fault("unavailable", chance=1.5), "not from 0 to 1"),
    ],
)
def test_a_fault_that_never_happens_is_refused(make: object, text: str) -> None:
    assert callable(make)
    with pytest.raises(UsageError, match=text):
        make()
