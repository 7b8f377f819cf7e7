"""The drill: a training script of anybody's, run under faults, and its end compared.

``drill`` starts the script in fresh copies of its folder: twice undisturbed, then under each fault,
and lets it resume. What differs in the end is told with its cause.
"""

from __future__ import annotations

from holdfast.drill.drilling import drill
from holdfast.drill.report import DrillReport, Outcome, Undisturbed
from holdfast.drill.settings import DrillOptions

__all__ = ["DrillOptions", "DrillReport", "Outcome", "Undisturbed", "drill"]
