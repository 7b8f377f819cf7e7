"""Arguments of drop-ins that only show to be wrong when training begins, or saves first."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.checkpointer import Checkpointer
from holdfast.errors import UsageError

# What a drop-in says itself; each of them saves from one process.
_OWN = {"run", "ranks", "per_rank"}


def check_options(options: Mapping[str, Any], drop_in: str) -> dict[str, Any]:
    """Return options for a ``Checkpointer`` that is made later, if it takes them all.

    Args:
        options: By name.
        drop_in: Who was given them, for the message.

    Raises:
        UsageError: There is no such argument.
    """
    parameters = inspect.signature(Checkpointer).parameters.values()
    known = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - _OWN
    unknown = sorted(options.keys() - known)
    if unknown:
        raise UsageError(
            f"{drop_in} takes no {unknown[0]}=; what it passes on to its Checkpointer is one of "
            f"{', '.join(sorted(known))}."
        )
    return dict(options)


def check_names(own: Iterable[str], more: Mapping[str, Any] | None, argument: str) -> None:
    """Refuse objects to save besides whose names are taken: one of the two would not be saved.

    Args:
        own: Names that the drop-in saves its own things under.
        more: What the user wants to be saved besides, by name.
        argument: What that is called, for the message.

    Raises:
        UsageError: A name is taken.
    """
    taken = sorted(set(own) & (more or {}).keys())
    if taken:
        raise UsageError(
            f"{argument}= has {taken[0]!r}, the name of something that is saved anyway. Give it "
            "another name."
        )
