"""The newest checkpoint all of which is good, for tools that load it piece by piece.

A restore of our own steps over a checkpoint when it meets damage. Who asks for one piece after the
other would meet it too late: with some of the pieces in place already.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from holdfast.errors import DataError, NoGoodCheckpoint, NotFound
from holdfast.history.info import CheckpointInfo
from holdfast.repository import Store

_log = logging.getLogger("holdfast")


def newest_good(
    store: Store,
    run: str,
    refs_of: Callable[[CheckpointInfo], Sequence[str]] = lambda info: [info.ref],
) -> CheckpointInfo:
    """Return the newest checkpoint that verifies; damaged ones are told in a warning.

    Args:
        store: Where to look.
        run: Name of the run.
        refs_of: Gives the checkpoints that one is made of.

    Raises:
        NotFound: There is no such store or run, or it has no checkpoint.
        NoGoodCheckpoint: There are checkpoints, but none is good.
    """
    found = store.history(run)
    told = [f"{text} It was stepped over." for text in found.damaged]
    for info in reversed(found.checkpoints):
        problem = _problem_of(store, info, refs_of)
        if not problem:
            return info
        told.append(f"{info.ref} was stepped over: {problem}")
        _log.warning("%s", told[-1])
    if not told:
        raise NotFound(f"Run {run!r} has no checkpoint yet.", run=run)
    raise NoGoodCheckpoint(
        f"Run {run!r} has no checkpoint that is good; nothing was changed."
        + "".join(f"\n  {text}" for text in told),
        run=run,
        stepped_over=tuple(told),
    )


def _problem_of(
    store: Store, info: CheckpointInfo, refs_of: Callable[[CheckpointInfo], Sequence[str]]
) -> str:
    try:
        for ref in refs_of(info):
            for check in store.verify(ref).checkpoints:
                if not check.ok:
                    return check.problems[0]
    except DataError as error:
        return str(error)
    return ""
