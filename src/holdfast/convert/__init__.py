"""Checkpoints in other tools' formats: ``export`` and ``import_checkpoint``, one file a format."""

from __future__ import annotations

from holdfast.convert.exporting import export
from holdfast.convert.importing import import_checkpoint
from holdfast.convert.registry import format_names
from holdfast.convert.series import import_series
from holdfast.convert.tensorboard import export_metrics

__all__ = ["export", "export_metrics", "format_names", "import_checkpoint", "import_series"]
