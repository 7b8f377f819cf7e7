"""What a save is told to do, made of a flattened state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from holdfast.distributed.ranks import Ranks
from holdfast.engine import job as jobs
from holdfast.errors import UsageError
from holdfast.format import part as part_format
from holdfast.format.digests import digest
from holdfast.format.floats import can_be_not_finite
from holdfast.format.lean import Lean, encode_tree
from holdfast.plan.layout import Layout
from holdfast.state.flatten import Flat
from holdfast.state.paths import selector

CheckFinite = bool | str | Sequence[str]


def job_of(
    flat: Flat,
    layout: Layout,
    run: str,
    *,
    step: int,
    check_finite: CheckFinite = False,
    ranks: Ranks | None = None,
    **facts: Any,
) -> jobs.SaveJob:
    """Return the job of saving a state as a new checkpoint.

    Args:
        flat: The state.
        layout: Where its leaves go.
        run: The run it is saved in.
        step: Name of the checkpoint.
        check_finite: Which leaves are to be looked at for values that are not finite.
        ranks: Those that save it together; None: this process does alone.
        facts: The other fields of the job.
    """
    checkpoint_id = jobs.new_id() if ranks is None else ranks.next_id(step)
    rank, world_size = (0, 1) if ranks is None else (ranks.rank, ranks.world_size)
    is_looked_at = looked_at(check_finite)
    return jobs.SaveJob(
        id=checkpoint_id,
        step=step,
        layout=layout,
        plan=encode_plan(flat, layout, run, step, checkpoint_id, is_looked_at, (rank, world_size)),
        state_bytes=flat.nbytes,
        n_leaves=flat.n_leaves,
        check_finite=is_looked_at is not None,
        rank=rank,
        world_size=world_size,
        **facts,
    )


def looked_at(check_finite: CheckFinite) -> Callable[[str], bool] | None:
    """Return what says of a leaf's path whether its values shall be looked at; None: none shall.

    Raises:
        UsageError: It is neither a bool nor patterns on leaf paths.
    """
    if isinstance(check_finite, bool):
        return (lambda path: True) if check_finite else None
    if not check_finite:
        raise _no_choice(check_finite)
    try:
        chosen = selector(check_finite, None)
    except UsageError as error:
        raise _no_choice(check_finite) from error
    if chosen is None:
        raise _no_choice(check_finite)
    return chosen


def _no_choice(check_finite: object) -> UsageError:
    return UsageError(
        "check_finite= takes True, False or glob patterns on leaf paths, such as 'model/**', not "
        f"{check_finite!r}."
    )


def encode_plan(
    flat: Flat,
    layout: Layout,
    run: str,
    step: int,
    checkpoint_id: str,
    is_looked_at: Callable[[str], bool] | None = None,
    among: tuple[int, int] = (0, 1),
) -> bytes:
    """Return the encoded manifest of a flattened state, without chunks and packs."""
    specs = [leaf.spec for leaf in flat.leaves]
    rows = [
        part_format.ArrayRow(s.framework, s.dtype, s.shape, chunk, offset, None, s.cast_from)
        for s, (chunk, offset) in zip(specs, layout.places, strict=True)
    ]
    if is_looked_at is not None:
        rows = [
            row._replace(not_finite=0)
            if can_be_not_finite(row.dtype) and is_looked_at(leaf.path)
            else row
            for leaf, row in zip(flat.leaves, rows, strict=True)
        ]
    lean = _lean_of(flat) if flat.shared is not None else None
    head = run, step, checkpoint_id, *among
    return part_format.encode(part_format.Part(*head, flat.tree, rows, (), (), lean))


def _lean_of(flat: Flat) -> Lean:
    assert flat.shared is not None
    shared = encode_tree(flat.shared.tree)
    state = flat.shared
    return Lean(digest(shared), state.array, state.at, shared, state.replicas)
