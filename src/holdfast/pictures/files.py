"""Files of pictures: which can be written, and a figure to draw on that becomes one."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from holdfast.errors import MissingDependency, UsageError

# Told apart by people who do not see all colours, and on paper.
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7"),
    *("#56b4e9", "#e69f00", "#000000", "#8c564b"),
)


def check_picture(path: str) -> None:
    """Refuse, before any work is done, a picture that could not be drawn.

    Raises:
        UsageError: Its name ends in neither .png nor .svg, or its folder is not there.
        MissingDependency: matplotlib is not installed.
    """
    if os.path.splitext(path)[1].lower() not in (".png", ".svg"):
        raise UsageError(f"A picture is a .png or .svg file, not {path!r}.", path=path)
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise UsageError(f"There is no folder {folder!r} to draw a picture into.", path=path)
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependency(
            'Pictures in files need matplotlib: pip install "holdfast[plot]". Without --out, '
            "'holdfast plot' draws in the terminal.",
            package="matplotlib",
        )


def literal(text: str) -> str:
    """Return a name as matplotlib shows it as it is, in a text or as the label of a line.

    Between two dollar signs it would read a formula, and of a name that begins with an underscore
    there would be nothing in the legend.
    """
    shown = text.replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


# Any: matplotlib is an extra, so that its types cannot be named where it is not installed.
@contextmanager
def picture(path: str, width_in: float, height_in: float) -> Iterator[Any]:
    """Give a figure to draw on, and write it when that is done.

    Args:
        path: The file.
        width_in: Width in inches; a picture has 150 dots for each.
        height_in: Height in inches.
    """
    check_picture(path)
    from matplotlib.figure import Figure

    # No pyplot: it would choose a window system, and keep every figure.
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    yield figure
    figure.savefig(path, dpi=150)
