"""``holdfast diff``: what differs between two checkpoints, tensor by tensor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import completion, options, output
from holdfast.cli.tables import Column, Rows, Styled, without_empty
from holdfast.history.telling import (
    fact_text,
    kind_text,
    most_moved_first,
    movement_texts,
    value_text,
)
from holdfast.wording.numbers import bytes_text, plural

if TYPE_CHECKING:
    from holdfast.history.diff.movement import Movement
    from holdfast.history.diff.report import DiffReport, Fact, LeafChange, TensorChange
    from holdfast.history.info import LeafInfo

EXAMPLE = "holdfast --store ckpts diff gpt2-small@1000 gpt2-small@best:val_loss"

_SHOWN = 20


def diff(
    context: typer.Context,
    before: Annotated[
        str,
        typer.Argument(
            metavar="REF", help="The checkpoint to compare with.", autocompletion=completion.refs
        ),
    ],
    after: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="The checkpoint that is compared; of any run.",
            autocompletion=completion.refs,
        ),
    ],
    other: Annotated[
        str | None, typer.Option(metavar="S", help="The store of the second, if another.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Only leaves such as 'model/**'.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="No leaves such as 'optimizer/**'.")
    ] = None,
    depth: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Sum tensors up by so many components of their paths."
        ),
    ] = 2,
    limit: Annotated[
        int, typer.Option(metavar="N", min=0, help="List at most so many of each kind.")
    ] = _SHOWN,
    image: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Draw how far each tensor moved: .png or .svg."),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Compare two checkpoints: tensors, values, metrics, configuration, environment.

    What is equal is known from digests, and not read.
    """
    from holdfast.cli.progress import ByteBar

    store = options.open_store(context)
    second = options.with_keys(context, other) if other is not None else None
    if image is not None:
        from holdfast.pictures.files import check_picture

        check_picture(image)
    with ByteBar("comparing") as bar:
        report = store.diff(before, after, other=second, only=only, skip=skip, progress=bar)
    if image is not None:
        from holdfast.pictures.heat import draw_diff

        draw_diff(report, image)
    if as_json:
        output.result_json(_as_json(report, depth))
    else:
        _show(report, depth, limit, is_part=bool(only or skip))
        if image is not None:
            output.say(f"Drawn into {image}.")
    return 0


def _show(report: DiffReport, depth: int, limit: int, *, is_part: bool) -> None:
    output.say(Styled(f"{report.before.ref} → {report.after.ref}", "bold"))
    _show_facts("metrics", report.metrics, limit)
    _show_groups(report, depth, limit)
    _show_tensors(report, limit)
    _show_leaves("added", report.added, limit)
    _show_leaves("removed", report.removed, limit)
    _show_changes("reshaped", report.reshaped, limit)
    _show_changes("recast", report.recast, limit)
    _show_changes("values", report.values, limit)
    _show_facts("configuration", [f for f in report.configuration if not f.is_same], limit)
    _show_facts("environment", [f for f in report.environment if not f.is_same], limit)
    _show_summary(report, is_part=is_part)


def _show_summary(report: DiffReport, *, is_part: bool) -> None:
    output.say()
    if report.generators:
        output.say(f"Random number generators stand elsewhere: {', '.join(report.generators)}.")
    if report.is_same_state:
        what = "What was chosen of the two states is" if is_part else "The two states are"
        output.say(f"{what} equal, bit for bit.")
    changed = sum(tensor.is_changed for tensor in report.tensors)
    output.say(
        f"{changed:,} of {plural(len(report.tensors), 'tensor')} changed; "
        f"{bytes_text(report.read_bytes)} of {bytes_text(report.total_bytes)} read."
    )


def _show_groups(report: DiffReport, depth: int, limit: int) -> None:
    groups = [group for group in report.groups(depth) if group.n_changed]
    rows = [
        [
            group.prefix,
            f"{group.n_changed:,} of {group.n_tensors:,}",
            *movement_texts(group.movement),
        ]
        for group in groups[:limit]
    ]
    columns = [Column("group", may_wrap=True), Column("changed", right=True), *_FIGURES]
    _section("groups", columns, rows, len(groups))


def _show_tensors(report: DiffReport, limit: int) -> None:
    moved = [t for t in report.tensors if t.is_changed and t.same_as is None]
    moved.sort(key=most_moved_first)
    rows = [[tensor.path, *movement_texts(tensor.movement)] for tensor in moved[:limit]]
    _section("tensors", [Column("tensor", may_wrap=True), *_FIGURES], rows, len(moved))


_FIGURES = (
    Column("moved", right=True),
    Column("cosine", right=True),
    Column("largest", right=True),
    Column("elements", right=True),
    Column("not finite", right=True, style="red"),
)


def _show_leaves(title: str, leaves: Sequence[LeafInfo], limit: int) -> None:
    rows = [[leaf.path, kind_text(leaf)] for leaf in leaves[:limit]]
    _section(title, [Column(title, may_wrap=True), Column("kind")], rows, len(leaves))


def _show_changes(title: str, changes: Sequence[LeafChange], limit: int) -> None:
    say = value_text if title == "values" else kind_text
    rows = [[c.path, say(c.before), say(c.after)] for c in changes[:limit]]
    _section(title, _side_by_side(title), rows, len(changes))


def _show_facts(title: str, facts: Sequence[Fact], limit: int) -> None:
    rows = [[fact.name, fact_text(fact.before), fact_text(fact.after)] for fact in facts[:limit]]
    _section(title, _side_by_side(title), rows, len(facts))


def _side_by_side(title: str) -> list[Column]:
    return [
        Column(title, may_wrap=True),
        Column("before", may_wrap=True),
        Column("after", may_wrap=True),
    ]


def _section(title: str, columns: Sequence[Column], rows: Rows, n_all: int) -> None:
    if not n_all:
        return
    output.say()
    if rows:
        output.table(*without_empty(columns, rows))
    left = n_all - len(rows)
    if left:
        noun = title.removesuffix("s") if left == 1 else title
        output.say(f"… and {left:,} {noun} more: see --limit and --json.")


def _as_json(report: DiffReport, depth: int) -> dict[str, object]:
    return {
        "before": report.before.ref,
        "after": report.after.ref,
        "is_same_state": report.is_same_state,
        "added": report.added,
        "removed": report.removed,
        "reshaped": report.reshaped,
        "recast": report.recast,
        "values": report.values,
        "tensors": [_tensor_json(tensor) for tensor in report.tensors],
        "groups": [
            {
                "prefix": group.prefix,
                "n_tensors": group.n_tensors,
                "n_changed": group.n_changed,
                **movement_json(group.movement),
            }
            for group in report.groups(depth)
        ],
        "generators": report.generators,
        "metrics": list(_facts_json(report.metrics)),
        "configuration": list(_facts_json(report.configuration)),
        "environment": list(_facts_json(report.environment)),
        "read_bytes": report.read_bytes,
        "total_bytes": report.total_bytes,
    }


def _tensor_json(tensor: TensorChange) -> dict[str, object]:
    shown: dict[str, object] = {
        "path": tensor.path,
        "dtype": tensor.dtype,
        "shape": tensor.shape,
        "same_as": tensor.same_as,
        "is_changed": tensor.is_changed,
    }
    if tensor.movement is not None:
        return shown | movement_json(tensor.movement)
    # It was not read: what is known of it is that no bit has changed.
    return shown | {
        "relative": 0.0,
        "largest": 0.0,
        "share_changed": 0.0,
        "n_elems": math.prod(tensor.shape),
    }


def movement_json(movement: Movement) -> dict[str, object]:
    """Return a movement's figures for ``--json``."""
    return {
        "relative": movement.relative,
        "cosine": movement.cosine,
        "largest": movement.largest,
        "share_changed": movement.share_changed,
        "n_elems": movement.n_elems,
        "norm_before": movement.norm_before,
        "norm_after": movement.norm_after,
        "not_finite_before": movement.not_finite_before,
        "not_finite_after": movement.not_finite_after,
    }


def _facts_json(facts: Iterable[Fact]) -> Iterable[dict[str, object]]:
    for fact in facts:
        yield {
            "name": fact.name,
            "before": fact.before,
            "after": fact.after,
            "is_same": fact.is_same,
        }
