"""Checkpoints in other tools' formats: ``export`` and ``import_checkpoint``, one file a format."""

from __future__ import annotations

from holdfast.convert.exporting import export
from holdfast.convert.importing import import_checkpoint
from holdfast.convert.registry import format_names

__all__ = ["export", "format_names", "import_checkpoint"]
