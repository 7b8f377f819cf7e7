"""``preview``: what a state, and each part of it that one may want to save, would take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

from holdfast import frameworks
from holdfast.errors import UsageError
from holdfast.format.sizes import size_text
from holdfast.state import (
    numpy_arrays,  # noqa: F401  # Registers the arrays of NumPy.
    presets,
    rng,
)
from holdfast.state.collector import collector_paused
from holdfast.state.flatten import Leaf, flatten
from holdfast.state.paths import Patterns, selector
from holdfast.state.roles import entries_of
from holdfast.state.root import check_root

# From much to little.
_CHOICES = ("no_optimizer", "weights", "trainable", "lora")


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """What one choice would save: its name, bytes of its arrays, and how many arrays that are.

    ``nbytes`` and ``n_arrays`` are None where the choice cannot be made for this state.
    """

    name: str
    nbytes: int | None
    n_arrays: int | None


@final
@dataclass(frozen=True, slots=True)
class Preview:
    """What each choice would save of a state, before a byte of it is written.

    Bytes are those of arrays, each counted once, as they are in memory: what has not changed
    since the checkpoint before is not written again, and ``compress=`` makes less of the rest.
    """

    rows: Sequence[PreviewRow]

    def __getitem__(self, name: str) -> int | None:
        """Return the bytes that a choice would save, None where it cannot be made."""
        return next(row.nbytes for row in self.rows if row.name == name)

    def __str__(self) -> str:
        return "\n".join(_lines(self.rows))


def preview(
    state: dict[str, Any], *, only: Patterns = None, skip: Patterns = None, with_rng: bool = True
) -> Preview:
    """Tell what saving a state would take, whole and by each of ``holdfast.only``'s choices.

    Args:
        state: What would be saved.
        only: A choice of one's own, as ``save`` takes it; told as ``yours``.
        skip: Likewise.
        with_rng: Count the random number generators too.

    Raises:
        UsageError: It is no state, or a pattern is none.
        UnsupportedLeaf: Some value could not be saved.
    """
    check_root(state)
    frameworks.activate()
    whole = state.copy()
    if with_rng:
        whole[rng.ROOT_KEY] = rng.capture()
    with collector_paused():
        leaves = flatten(whole).leaves
    rows = [_row("everything", leaves, lambda path: True)]
    if only is not None or skip is not None:
        chosen = selector(only, skip, lambda: entries_of(whole))
        rows.append(_row("yours", leaves, chosen or (lambda path: True)))
    for name in _CHOICES:
        rows.append(_preset_row(name, leaves, whole))
    return Preview(tuple(rows))


def _preset_row(name: str, leaves: Sequence[Leaf], state: dict[str, Any]) -> PreviewRow:
    try:
        chosen = selector(getattr(presets, name), None, lambda: entries_of(state))
    except UsageError:
        return PreviewRow(name, None, None)
    return _row(name, leaves, chosen or (lambda path: True))


def _row(name: str, leaves: Sequence[Leaf], chosen: Callable[[str], bool]) -> PreviewRow:
    sizes = [leaf.spec.nbytes for leaf in leaves if chosen(leaf.path)]
    return PreviewRow(name, sum(sizes), len(sizes))


def _lines(rows: Sequence[PreviewRow]) -> Iterator[str]:
    width = max(len(row.name) for row in rows)
    for row in rows:
        if row.nbytes is None:
            yield f"{row.name:{width}}  {'–':>9}"
        else:
            yield f"{row.name:{width}}  {size_text(row.nbytes):>9}  {row.n_arrays} arrays"
