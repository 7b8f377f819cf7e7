"""What a comparison found."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.history.diff.movement import Movement, total
from holdfast.history.facts import are_same, rows_of
from holdfast.history.info import CheckpointInfo, LeafInfo

# Components of a path, and the names within those that PyTorch joins by dots.
_SEPARATORS = re.compile(r"[/.]")


@dataclass(frozen=True, slots=True)
class LeafChange:
    """A leaf that is not what it was: another shape, another type, another value."""

    path: str
    before: LeafInfo
    after: LeafInfo


@dataclass(frozen=True, slots=True)
class TensorChange:
    """An array of the same shape in both checkpoints.

    Attributes:
        path: Its path.
        dtype: Its element type in the later checkpoint.
        shape: Its shape.
        nbytes: Its bytes in the later checkpoint.
        movement: How far it moved; None where digests tell that not a bit has changed.
        same_as: Path of another array that is the same pair of tensors, if any.
    """

    path: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    movement: Movement | None
    same_as: str | None = None

    @property
    def is_changed(self) -> bool:
        """Whether any element differs."""
        return self.movement is not None and self.movement.n_changed > 0


@dataclass(frozen=True, slots=True)
class Group:
    """The tensors below one prefix; tensors that are the same pair count once.

    Attributes:
        prefix: What their paths begin with.
        n_tensors: How many there are.
        n_changed: In how many any element differs.
        movement: The movement of those that were read, together. Tensors that are known to be
            unchanged are not read, so that their norms are not in it.
    """

    prefix: str
    n_tensors: int
    n_changed: int
    movement: Movement


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact about two checkpoints, side by side; None where one of them does not have it."""

    name: str
    before: object
    after: object

    @property
    def is_same(self) -> bool:
        """Whether it is the same in both; NaN is the same as NaN."""
        return are_same((self.before, self.after))


@dataclass(frozen=True, slots=True)
class DiffReport:
    """How one checkpoint differs from another.

    Attributes:
        before: The one compared with.
        after: The one that is compared.
        added: Leaves that only ``after`` has, and containers without any.
        removed: Leaves that only ``before`` has, likewise.
        reshaped: Arrays with another shape; their elements were not compared.
        recast: Leaves of another kind or element type; containers of another kind, keys of another
            type, and arrays that are shared with another leaf than before, or no more.
        values: Plain values that changed.
        tensors: Arrays of one shape, in tree order, unchanged ones too.
        generators: Libraries whose random number generators stand elsewhere.
        metrics: The metrics of both.
        configuration: What was given as ``config=`` with both, nested names joined by dots.
        environment: What is known of where both were made, likewise.
        read_bytes: Bytes of the store that were read for it.
        total_bytes: Bytes of all arrays of both.
    """

    before: CheckpointInfo
    after: CheckpointInfo
    added: tuple[LeafInfo, ...]
    removed: tuple[LeafInfo, ...]
    reshaped: tuple[LeafChange, ...]
    recast: tuple[LeafChange, ...]
    values: tuple[LeafChange, ...]
    tensors: tuple[TensorChange, ...]
    generators: tuple[str, ...]
    metrics: tuple[Fact, ...]
    configuration: tuple[Fact, ...]
    environment: tuple[Fact, ...]
    read_bytes: int
    total_bytes: int

    @property
    def is_same_state(self) -> bool:
        """Whether the two states are equal bit for bit, random generators included."""
        return not (
            self.added
            or self.removed
            or self.reshaped
            or self.recast
            or self.values
            or self.generators
            or any(tensor.is_changed for tensor in self.tensors)
        )

    def groups(self, depth: int) -> tuple[Group, ...]:
        """Return the tensors summed up by the first components of their paths.

        Args:
            depth: How many components, 1 or more; a component ends at ``/`` or ``.``.
        """
        return group_tensors(self.tensors, depth)

    def _repr_html_(self) -> str:
        """What notebooks show."""
        from holdfast.history.cards.diff import diff_card

        return diff_card(self)


def group_tensors(tensors: Sequence[TensorChange], depth: int) -> tuple[Group, ...]:
    """Return tensors summed up by the first ``depth`` components of their paths."""
    by_prefix: dict[str, list[TensorChange]] = {}
    for tensor in tensors:
        if tensor.same_as is None:
            by_prefix.setdefault(prefix_of(tensor.path, depth), []).append(tensor)
    return tuple(
        Group(
            prefix,
            len(members),
            sum(tensor.is_changed for tensor in members),
            total(t.movement for t in members if t.movement is not None),
        )
        for prefix, members in by_prefix.items()
    )


def prefix_of(path: str, depth: int) -> str:
    """Return the first components of a path.

    >>> prefix_of("model/layers.0.weight", 3), prefix_of("optimizer/state/0/m", 2)
    ('model/layers.0', 'optimizer/state')
    """
    ends = [found.start() for found in _SEPARATORS.finditer(path)]
    return path[: ends[depth - 1]] if len(ends) >= depth else path


def side_by_side(before: Mapping[str, object], after: Mapping[str, object]) -> tuple[Fact, ...]:
    """Return what two mappings say, nested names joined by dots, in order of appearance."""
    return tuple(Fact(row.name, *row.values) for row in rows_of((before, after)))
