"""Names on their way into another tool: rules that the user can see and change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from holdfast.convert.ready_names import READY, ready_rules
from holdfast.errors import CannotConvert, UsageError


@dataclass(frozen=True, slots=True)
class Rename:
    """A rule: what matches the regular expression anywhere in a name becomes the replacement."""

    pattern: re.Pattern[str]
    replacement: str


def parse_renames(texts: Iterable[str]) -> list[Rename]:
    r"""Return the rules that texts mean: ``PATTERN=REPLACEMENT``, or names of ready ones.

    Groups of a pattern are ``\1`` in its replacement.

    Raises:
        UsageError: One is none.

    >>> renamed("encoder.0.weight", parse_renames([r"^encoder\.(\d+)=layers.\1"]))
    'layers.0.weight'
    >>> renamed("_orig_mod.module.bn1.weight", parse_renames(["@unwrap", "@torch-to-keras"]))
    'bn1.gamma'
    """
    return [_parsed(rule) for text in texts for rule in ready_rules(text) or (text,)]


def _parsed(text: str) -> Rename:
    pattern, equals, replacement = text.partition("=")
    if not equals or not pattern:
        raise UsageError(
            f"{text!r} is no rule for names; it looks like 'PATTERN=REPLACEMENT', or is a ready "
            f"one: {', '.join(READY)}. 'holdfast export --renames' shows them."
        )
    try:
        compiled = re.compile(pattern)
        compiled.sub(replacement, "")
    except (re.error, IndexError) as error:
        raise UsageError(f"{text!r} is no rule for names: {error}.") from error
    return Rename(compiled, replacement)


def renamed(name: str, rules: Sequence[Rename]) -> str:
    """Return a name after all rules, in their order."""
    for rule in rules:
        name = rule.pattern.sub(rule.replacement, name)
    return name


def without_effect(texts: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return the rules that change none of some names: they are misspelt, most likely.

    Ready ones are for many kinds of files, and are not told.

    >>> without_effect(["^model/=", "weight$=kernel", "@unwrap"], ["a.weight", "b.bias"])
    ['^model/=']
    """
    found, names = [], list(names)
    for text in texts:
        rules = parse_renames([text])
        after = [renamed(name, rules) for name in names]
        if after == names and not ready_rules(text):
            found.append(text)
        names = after
    return found


def require_distinct(names: Iterable[str], ref: str) -> None:
    """Raise CannotConvert where two leaves of a checkpoint have one name."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise CannotConvert(
                f"Two leaves of {ref} would both be called {name!r}. Nothing was written. "
                "Give one of them another name with --rename, or leave it out.",
                name=name,
            )
        seen.add(name)


def names_around(name: str) -> Iterator[str]:
    """Yield the names of the containers that a name is in, from the innermost on.

    >>> list(names_around("model/layers/0"))
    ['model/layers', 'model']
    """
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def is_utf8(name: str) -> bool:
    """Say whether a name can be written as UTF-8; one with half a surrogate pair cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def require_utf8(names: Iterable[str], what: str) -> None:
    """Raise CannotConvert where a name cannot be written as UTF-8.

    Args:
        names: The names.
        what: The format, for the message.
    """
    for name in names:
        if not is_utf8(name):
            raise CannotConvert(
                f"{name!r} is no name for {what}: it has no form in UTF-8. Nothing was written. "
                "Change it with --rename.",
                name=name,
            )
