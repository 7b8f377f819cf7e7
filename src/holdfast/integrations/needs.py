"""Packages that a drop-in cannot do without."""

from __future__ import annotations

import importlib.util

from holdfast.errors import MissingDependency


def require(package: str, *, extra: str, what: str) -> None:
    """Return if a package is installed; it is not imported.

    Args:
        package: Name to import it by.
        extra: The extra of holdfast that has it.
        what: What needs it, for the message.

    Raises:
        MissingDependency: It is not; the message has the ``pip install`` line.
    """
    try:
        found = importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        raise MissingDependency(
            f"{what} needs the package {package}, which is not installed: "
            f"pip install 'holdfast[{extra}]'.",
            package=package,
            extra=extra,
        )
