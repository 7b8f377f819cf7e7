"""Pure decisions: when to save and what to keep.

Nothing here does I/O or reads a clock: the time is handed in with a ``Moment``. A policy is a
frozen value; several combine with ``|`` and the result holds where any of them does.
"""

from holdfast.policy import watch
from holdfast.policy.candidate import Candidate
from holdfast.policy.keep import keep
from holdfast.policy.keep_policy import KeepPolicy, members
from holdfast.policy.keep_rules import KeepBest
from holdfast.policy.moment import Costs, Failures, Moment, Past
from holdfast.policy.retention import Retention, budget_of, measures_of, plan_retention
from holdfast.policy.text import format_keep, parse_keep
from holdfast.policy.when import SavePolicy, every, on, updated_best

__all__ = [
    "Candidate",
    "Costs",
    "Failures",
    "KeepBest",
    "KeepPolicy",
    "Moment",
    "Past",
    "Retention",
    "SavePolicy",
    "budget_of",
    "every",
    "format_keep",
    "keep",
    "measures_of",
    "members",
    "on",
    "parse_keep",
    "plan_retention",
    "updated_best",
    "watch",
]
