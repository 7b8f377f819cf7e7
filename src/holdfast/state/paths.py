"""Paths of leaves, and the patterns that choose among them.

A path names the way from the root to a leaf: keys and indices joined by ``/``, as in
``optimizer/state/0/exp_avg``. A ``/`` inside a key is written ``~1`` and a ``~`` is ``~0``, as in
JSON Pointer (RFC 6901).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Any, final

from holdfast.errors import UsageError
from holdfast.state.selection import Chosen, Entry, Selection

Patterns = str | Selection | Sequence[str | Selection] | None


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


def put_at(tree: dict[Any, Any], way: Sequence[Any], value: object) -> None:
    """Put a value into nested dicts, and make those on its way that are not there.

    >>> tree = {"a": {"b": 1}}
    >>> put_at(tree, ("a", "c", "d"), 2)
    >>> tree
    {'a': {'b': 1, 'c': {'d': 2}}}
    """
    *above, last = way
    for key in above:
        tree = tree.setdefault(key, {})
    tree[last] = value


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


def check_patterns(only: Patterns, skip: Patterns, per_rank: Patterns = None) -> None:
    """Refuse what is no choice of leaves.

    Raises:
        UsageError: It is none; the message names the argument.
    """
    _as_tuple(only, "only")
    _as_tuple(skip, "skip")
    _as_tuple(per_rank, "per_rank")


def selector(
    only: Patterns, skip: Patterns, entries: Callable[[], Sequence[Entry]] | None = None
) -> Choice | None:
    """Return a predicate on paths: in ``only`` (or no ``only``), and not in ``skip``.

    Returns None where every path is chosen.

    Args:
        only: Patterns, and choices that depend on the state.
        skip: Patterns.
        entries: Gives the entries of the state; asked where a choice depends on them.

    Raises:
        UsageError: One depends on them, and nobody gives them.
    """
    choice = _resolved(only, skip, entries)
    wanted, unwanted = choice.only, choice.skip
    if wanted is None and not unwanted:
        return None
    return Choice(wanted, unwanted)


@final
class Choice:
    """Says of a path whether it is chosen.

    A pattern without ``*`` and ``?`` is the name of a leaf, or of something with leaves: then it
    means all of them.

    Args:
        wanted: Patterns; None chooses all.
        unwanted: Patterns of what is not chosen.
    """

    def __init__(self, wanted: Sequence[str] | None, unwanted: Sequence[str]) -> None:
        self._wanted = _Patterns(wanted) if wanted is not None else None
        self._unwanted = _Patterns(unwanted)

    def __call__(self, path: str) -> bool:
        """Say whether a path is chosen."""
        if self._wanted is not None and not self._wanted.match(path):
            return False
        return not self._unwanted.match(path)

    def leaves_out(self, path: str) -> bool:
        """Say whether a path is left out with all that is below it, whatever that is."""
        return self._unwanted.match_all_below(path)


class _Patterns:
    # Many that name one leaf each are looked up, not tried one by one.
    def __init__(self, patterns: Sequence[str]) -> None:
        self._names = frozenset(p for p in patterns if "*" not in p and "?" not in p)
        self._globs = [p for p in patterns if p not in self._names]
        self._whole = [p for p in self._globs if p.endswith("**")]

    def match(self, path: str) -> bool:
        return self._is_named(path) or any(matches(p, path) for p in self._globs)

    def match_all_below(self, path: str) -> bool:
        return self._is_named(path) or any(matches(p, path) for p in self._whole)

    def _is_named(self, path: str) -> bool:
        names = self._names
        if not names or path in names:
            return bool(names)
        end = path.rfind("/")
        while end > 0:
            if path[:end] in names:
                return True
            end = path.rfind("/", 0, end)
        return False


def _resolved(
    only: Patterns, skip: Patterns, entries: Callable[[], Sequence[Entry]] | None
) -> Chosen:
    given, unwanted = _as_tuple(only, "only"), _as_tuple(skip, "skip") or ()
    skipped = tuple(item for item in unwanted if isinstance(item, str))
    if given is None:
        return Chosen(None, skipped)
    wanted: list[str] = []
    for item in given:
        if isinstance(item, str):
            wanted.append(item)
            continue
        if entries is None:
            raise UsageError(f"only= takes glob patterns here, not {item!r}.")
        found = item.chosen(entries())
        skipped += found.skip
        if found.only is not None:
            wanted += found.only
        elif len(given) > 1:
            raise UsageError(f"{item!r} is of everything; it stands alone in only=.")
        else:
            return Chosen(None, skipped)
    return Chosen(tuple(wanted), skipped)


def without_effect(patterns: Patterns, paths: Collection[str]) -> list[str]:
    """Return the patterns that match none of some leaf paths.

    >>> without_effect(["model/**", "optimzer"], ["model/w", "optimizer/state/0"])
    ['optimzer']
    """
    given = _as_tuple(patterns, "only") or ()
    found = []
    for pattern in given:
        if isinstance(pattern, str) and not any(map(_Patterns([pattern]).match, paths)):
            found.append(pattern)
    return found


def base_in(only: Patterns) -> str | None:
    """Return the ref of the base that a choice names, None where it names none.

    Raises:
        UsageError: It names two.
    """
    given = _as_tuple(only, "only") or ()
    bases = {item.base for item in given if isinstance(item, Selection) and item.base is not None}
    if len(bases) > 1:
        raise UsageError(f"only={only!r} names {len(bases)} bases; a checkpoint has one.")
    return next(iter(bases), None)


def _as_tuple(patterns: Patterns, name: str) -> tuple[str | Selection, ...] | None:
    if patterns is None:
        return None
    if not isinstance(patterns, str | Selection | list | tuple | set | frozenset):
        raise UsageError(f"{name}= takes glob patterns (str), not {type(patterns).__name__}.")
    found = (patterns,) if isinstance(patterns, str | Selection) else tuple(patterns)
    for pattern in found:
        if isinstance(pattern, Selection) and name == "only":
            continue
        if not isinstance(pattern, str):
            raise UsageError(f"{name}= takes glob patterns (str), not {type(pattern).__name__}.")
        _compile(pattern)
    return found
