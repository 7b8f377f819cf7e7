"""One module per framework. Each registers its leaf kinds when its framework is in play."""

from __future__ import annotations

import importlib
import importlib.util
import sys

from holdfast.state.packages import PACKAGES

# What the arrays of a checkpoint say that they belong to, where that is not the package's name.
_ALIASES = {"jax-weak": "jax"}


def activate() -> None:
    """Register the leaf kinds of every supported framework that is loaded; costs nothing twice."""
    for name in PACKAGES:
        if name in sys.modules:
            importlib.import_module(f"holdfast.frameworks.{name}_support")


def activate_for(frameworks: set[str]) -> None:
    """Register the leaf kinds of those frameworks, importing the ones that are installed."""
    activate()
    for framework in frameworks:
        name = _ALIASES.get(framework, framework)
        if name in PACKAGES and importlib.util.find_spec(name) is not None:
            importlib.import_module(f"holdfast.frameworks.{name}_support")
