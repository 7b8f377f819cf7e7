"""Paths of leaves, and the patterns that choose among them.

A path names the way from the root to a leaf: keys and indices joined by ``/``, as in
``optimizer/state/0/exp_avg``. A ``/`` inside a key is written ``~1`` and a ``~`` is ``~0``, as in
JSON Pointer (RFC 6901).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from holdfast.errors import UsageError

Patterns = str | Sequence[str] | None


def escape(component: str) -> str:
    """Return a key as it stands in a path.

    >>> escape("a/b~c")
    'a~1b~0c'
    """
    if "~" in component or "/" in component:
        return component.replace("~", "~0").replace("/", "~1")
    return component


def join(parent: str, component: object) -> str:
    """Return the path of a child.

    >>> join("optimizer/state", 0)
    'optimizer/state/0'
    """
    name = component if type(component) is str else str(component)
    if "/" in name or "~" in name:
        name = escape(name)
    return f"{parent}/{name}" if parent else name


@lru_cache(maxsize=512)
def _compile(pattern: str) -> re.Pattern[str]:
    if not pattern:
        raise UsageError("A pattern on leaf paths is empty; '**' means every leaf.")
    out = []
    i = 0
    while i < len(pattern):
        c = pattern[i]
        if pattern.startswith("**/", i):
            out.append("(?:.*/)?")
            i += 3
        elif pattern.startswith("/**", i) and i + 3 == len(pattern):
            out.append("(?:/.*)?")
            i += 3
        elif pattern.startswith("**", i):
            out.append(".*")
            i += 2
        elif c == "*":
            out.append("[^/]*")
            i += 1
        elif c == "?":
            out.append("[^/]")
            i += 1
        else:
            out.append(re.escape(c))
            i += 1
    return re.compile("".join(out), re.DOTALL)


def matches(pattern: str, path: str) -> bool:
    """Say whether a glob matches a whole path.

    ``*`` and ``?`` stay within one component, ``**`` goes through any number of them.

    >>> matches("model/**", "model/layers.0.weight"), matches("*", "model/w")
    (True, False)
    """
    return _compile(pattern).fullmatch(path) is not None


def selector(only: Patterns, skip: Patterns) -> Callable[[str], bool] | None:
    """Return a predicate on paths: in ``only`` (or no ``only``), and not in ``skip``.

    Returns None where every path is chosen.
    """
    wanted, unwanted = _as_tuple(only, "only"), _as_tuple(skip, "skip")
    if wanted is None and not unwanted:
        return None

    def chosen(path: str) -> bool:
        if wanted is not None and not any(matches(p, path) for p in wanted):
            return False
        return not any(matches(p, path) for p in unwanted or ())

    return chosen


def _as_tuple(patterns: Patterns, name: str) -> tuple[str, ...] | None:
    if patterns is None:
        return None
    if not isinstance(patterns, str | list | tuple | set | frozenset):
        raise UsageError(f"{name}= takes glob patterns (str), not {type(patterns).__name__}.")
    found = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    for pattern in found:
        if not isinstance(pattern, str):
            raise UsageError(f"{name}= takes glob patterns (str), not {type(pattern).__name__}.")
        _compile(pattern)
    return found
