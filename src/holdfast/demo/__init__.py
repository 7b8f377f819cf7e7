"""A story that proves the point: train, be killed, resume, compare bit for bit."""

from holdfast.demo.story import DemoOptions, DemoResult, run

__all__ = ["DemoOptions", "DemoResult", "run"]
