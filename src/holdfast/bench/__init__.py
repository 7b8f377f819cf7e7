"""Measures saving and restoring beside the limits of the machine and beside other tools."""

from holdfast.bench.result import SECTIONS, BenchOptions, BenchResult, Check, Measurement
from holdfast.bench.runner import run

__all__ = ["SECTIONS", "BenchOptions", "BenchResult", "Check", "Measurement", "run"]
