"""Two checkpoints compared: trees from manifests, unchanged arrays by digest, the rest read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from holdfast.errors import UsageError
from holdfast.format.commit import CommitRecord
from holdfast.history.diff.containers import diff_structures
from holdfast.history.diff.plan import is_unchanged
from holdfast.history.diff.read import Measured, Progress, Side, measure_pairs
from holdfast.history.diff.report import DiffReport, LeafChange, TensorChange, side_by_side
from holdfast.history.diff.trees import Leaf, Pair, TreeDiff, diff_trees
from holdfast.history.info import LeafInfo, info_of
from holdfast.history.leaves import whole_leaves
from holdfast.history.refs import read_ref
from holdfast.records.whole import read_whole
from holdfast.security.trust_policy import TrustPolicy
from holdfast.state.paths import Patterns, selector
from holdfast.state.rng import ROOT_KEY
from holdfast.store.contract import ObjectStore

_GENERATORS = f"{ROOT_KEY}/"
# Long texts and byte strings are stored as arrays of bytes.
_NO_NUMBERS = ("bytes", "str")


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint to be compared: its store, its ref, and whom to believe there."""

    store: ObjectStore
    ref: str
    trust: TrustPolicy | None = None


class NothingToCompare(UsageError):
    """Neither of two checkpoints has a leaf that was chosen."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which leaves are compared, and that in words."""

    is_chosen: Callable[[str], bool]
    text: str


def diff(
    a: Source,
    b: Source,
    *,
    only: Patterns = None,
    skip: Patterns = None,
    progress: Progress | None = None,
) -> DiffReport:
    """Compare two checkpoints, the earlier one first.

    Raises:
        Untrusted: A policy does not believe one of them.
        NotFound: A ref names no checkpoint.
        NothingToCompare: Of what is chosen neither has a leaf: they would look the same.
        DataError: One of them is damaged; the message says which, and which leaf.
    """
    is_chosen = selector(only, skip)
    chosen = None if is_chosen is None else Chosen(is_chosen, f"only={only!r}, skip={skip!r}")

    def with_first(first: CommitRecord) -> DiffReport:
        before = _open(a.store, first)
        return read_ref(
            b.store,
            b.ref,
            lambda second: _compare(before, _open(b.store, second), chosen, progress),
            b.trust,
        )

    return read_ref(a.store, a.ref, with_first, a.trust)


def _open(store: ObjectStore, record: CommitRecord) -> Side:
    return Side(store, record, read_whole(store, record))


def _compare(
    before: Side, after: Side, chosen: Chosen | None, progress: Progress | None
) -> DiffReport:
    leaves = _leaves(before), _leaves(after)
    if chosen is not None:
        _require_some(chosen, before, after, [leaf.info.path for side in leaves for leaf in side])
    is_chosen = None if chosen is None else chosen.is_chosen
    trees = diff_trees(*leaves, is_chosen)
    structure = diff_structures(
        (before.part.root, leaves[0]), (after.part.root, leaves[1]), is_chosen
    )
    tensors, measured = _tensors(before, after, trees.arrays, progress)
    return DiffReport(
        before=info_of(before.record),
        after=info_of(after.record),
        added=_of_state((*trees.added, *structure.added)),
        removed=_of_state((*trees.removed, *structure.removed)),
        reshaped=_changes(trees.reshaped),
        recast=_changes((*trees.recast, *structure.changed)),
        values=_changes(trees.values),
        tensors=tuple(t for t in tensors if not _of_generator(t.path)),
        generators=_generators(trees, tensors),
        metrics=side_by_side(before.record.metrics, after.record.metrics),
        configuration=side_by_side(
            before.record.lineage.config or {}, after.record.lineage.config or {}
        ),
        environment=side_by_side(before.record.environment, after.record.environment),
        read_bytes=measured.read_bytes,
        total_bytes=before.record.state_bytes + after.record.state_bytes,
    )


def _require_some(chosen: Chosen, before: Side, after: Side, paths: Sequence[str]) -> None:
    if paths and not any(map(chosen.is_chosen, paths)):
        refs = " or ".join(dict.fromkeys(info_of(side.record).ref for side in (before, after)))
        raise NothingToCompare(
            f"{chosen.text} leave nothing to compare: no leaf path of {refs} matches. 'holdfast "
            "show' lists the paths.",
        )


def _leaves(side: Side) -> list[Leaf]:
    return [Leaf(info, row) for info, row in whole_leaves(side.part)]


def _tensors(
    before: Side, after: Side, pairs: Sequence[Pair], progress: Progress | None
) -> tuple[list[TensorChange], Measured]:
    first: dict[tuple[int, int], Pair] = {}
    for pair in pairs:
        first.setdefault((pair.before.row, pair.after.row), pair)
    chunks = before.part.chunks, after.part.chunks
    to_read = {
        rows: pair
        for rows, pair in first.items()
        if not is_unchanged((before.part.arrays[rows[0]], after.part.arrays[rows[1]]), chunks)
    }
    measured = measure_pairs(
        before, after, list(to_read.values()), lambda p: _bits_only(after, p), progress
    )
    moved = dict(zip(to_read, measured.movements, strict=True))
    tensors = []
    for pair in pairs:
        rows = pair.before.row, pair.after.row
        info, owner = pair.after.info, first[rows]
        tensors.append(
            TensorChange(
                pair.path,
                info.dtype or "",
                info.shape or (),
                after.part.arrays[pair.after.row].nbytes,
                moved.get(rows),
                None if owner is pair else owner.path,
            )
        )
    return tensors, measured


def _bits_only(side: Side, pair: Pair) -> bool:
    return _of_generator(pair.path) or side.part.arrays[pair.after.row].framework in _NO_NUMBERS


def _changes(pairs: Sequence[Pair]) -> tuple[LeafChange, ...]:
    return tuple(
        LeafChange(p.path, p.before.info, p.after.info) for p in pairs if not _of_generator(p.path)
    )


def _of_state(leaves: Sequence[LeafInfo]) -> tuple[LeafInfo, ...]:
    return tuple(leaf for leaf in leaves if not _of_generator(leaf.path))


def _of_generator(path: str) -> bool:
    return path.startswith(_GENERATORS)


def _generators(trees: TreeDiff, tensors: Sequence[TensorChange]) -> tuple[str, ...]:
    """Return the libraries of which any leaf of their random number generators differs."""
    changed = [leaf.path for leaf in (*trees.added, *trees.removed)]
    changed += [pair.path for pair in (*trees.reshaped, *trees.recast, *trees.values)]
    changed += [tensor.path for tensor in tensors if tensor.is_changed]
    return tuple(dict.fromkeys(path.split("/")[1] for path in changed if _of_generator(path)))
