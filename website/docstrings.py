"""Lets the generator read docstrings as Markdown."""

from __future__ import annotations

from typing import Any

import griffe

from website.markdown import of_docstring


class Markdown(griffe.Extension):  # type: ignore[misc]
    """Makes Markdown of each docstring as it is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """See griffe's contract of an extension."""
        if obj.docstring:
            obj.docstring.value = of_docstring(obj.docstring.value)
