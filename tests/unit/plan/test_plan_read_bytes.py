"""What is read of a checkpoint, for what is wanted of it: at any world size, and in part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from itertools import product
from math import prod

import pytest

from holdfast.format.boxes import Box
from holdfast.format.part import ArrayRow
from holdfast.format.shared import PieceRow, SharedRow
from holdfast.plan.blocks import block_bytes, runs_to_read
from holdfast.plan.layout import plan_layout
from holdfast.plan.reads import Row, Want, plan_reads

ITEM = 4
SIZES = (1, 2, 3, 4, 8)
Shapes = dict[str, tuple[int, ...]]


def transformer(width: int, layers: int, words: int) -> Shapes:
    """Weights as GPT-2 has them, and two moments of each."""
    weights: Shapes = {"wte": (words, width), "wpe": (1024, width)}
    for layer in range(layers):
        at = f"h/{layer}"
        for norm in ("ln_1", "ln_2"):
            weights |= {f"{at}/{norm}/weight": (width,), f"{at}/{norm}/bias": (width,)}
        for name, rows, columns in (
            ("attn", 3 * width, width),
            ("proj", width, width),
            ("up", 4 * width, width),
            ("down", width, 4 * width),
        ):
            weights |= {f"{at}/{name}/weight": (rows, columns), f"{at}/{name}/bias": (rows,)}
    found = {f"model/{name}": shape for name, shape in weights.items()}
    for moment in ("exp_avg", "exp_avg_sq"):
        found |= {f"optimizer/{name}/{moment}": shape for name, shape in weights.items()}
    return found


def share(shape: tuple[int, ...], rank: int, world: int) -> Box | None:
    """Return the rows of an array that FSDP2 gives to a rank."""
    rows = -(-shape[0] // world)
    begin, end = min(rank * rows, shape[0]), min((rank + 1) * rows, shape[0])
    rest = (0,) * (len(shape) - 1)
    return Box((begin, *rest), (end - begin, *shape[1:])) if begin < end else None


def saved(shapes: Shapes, world: int) -> tuple[list[Row], list[int]]:
    """Return the arrays and the lengths of chunks of what so many ranks have saved."""
    pieces: dict[str, list[PieceRow]] = {name: [] for name in shapes}
    lengths: list[int] = []
    for rank in range(world):
        boxes = {name: share(shape, rank, world) for name, shape in shapes.items()}
        mine = {name: box for name, box in boxes.items() if box is not None}
        layout = plan_layout([(name, box.volume * ITEM) for name, box in mine.items()])
        for (name, box), (chunk, offset) in zip(mine.items(), layout.places, strict=True):
            pieces[name].append(PieceRow(box, len(lengths) + chunk, offset))
        lengths += layout.lengths
    rows = [SharedRow("torch", "float32", shapes[name], tuple(pieces[name])) for name in shapes]
    return list(rows), lengths


def read_share(rows: Sequence[Row], lengths: Sequence[int], wanted: Iterable[Want]) -> float:
    """Return the bytes that are read, for each byte that is wanted."""
    total, read, useful = sum(lengths), 0, 0
    for chunk, spans in plan_reads(rows, lengths, list(wanted)).items():
        nbytes = block_bytes(lengths[chunk], total)
        ends = [(span.begin, span.begin + span.nbytes) for span in spans]
        useful += sum(span.nbytes for span in spans)
        runs = runs_to_read(ends, lengths[chunk], nbytes) if nbytes else [(0, lengths[chunk])]
        read += sum(end - begin for begin, end in runs)
    return read / useful


@pytest.mark.parametrize("model", ["8 MB", "400 MB"])
def test_shares_of_any_world_size_are_read_from_those_of_any_other(model: str) -> None:
    is_small = model == "8 MB"
    shapes = transformer(256, 1, 2000) if is_small else transformer(768, 2, 20_000)
    assert sum(map(prod, shapes.values())) * ITEM > (8 if is_small else 400) * 10**6 // 2
    worst = {}
    for n in SIZES:
        rows, lengths = saved(shapes, n)
        for m in SIZES:
            for rank in range(m):
                boxes = [share(row.shape, rank, m) for row in rows]
                wants = [Want(i, box) for i, box in enumerate(boxes) if box is not None]
                worst[n, m, rank] = read_share(rows, lengths, wants)
    assert max(worst.values()) <= 1.05, max(worst.items(), key=lambda item: item[1])
    # Where nothing has changed, nothing is read around what is wanted.
    assert max(worst[n, n, rank] for n in SIZES for rank in range(n)) < 1.001


def test_some_leaves_of_a_gigabyte_are_read_without_the_others() -> None:
    shapes = transformer(768, 8, 50_257)
    layout = plan_layout([(name, prod(shape) * ITEM) for name, shape in shapes.items()])
    assert 10**9 < layout.total_bytes < 1.5 * 10**9
    places = zip(shapes.values(), layout.places, strict=True)
    rows = [ArrayRow("torch", "float32", shape, *place) for shape, place in places]
    for pattern in ("model/*", "model/h/3/*", "*/exp_avg", "*/wte*", "model/*/weight"):
        wants = [Want(i) for i, name in enumerate(shapes) if fnmatch(name, pattern)]
        assert wants and read_share(rows, layout.lengths, wants) <= 1.05, pattern


def test_columns_are_read_with_the_rows_that_they_run_through() -> None:
    # What blocks cannot help: the guide says so.
    shape = (1024, 1024)
    rows: list[Row] = [ArrayRow("torch", "float32", shape, 0, 0)]
    lengths = [prod(shape) * ITEM]
    shares = [
        read_share(rows, lengths, [Want(0, Box((0, 1024 * rank // m), (1024, 1024 // m)))])
        for m, rank in product((2, 4), (0, 1))
    ]
    assert shares == [2, 2, 4, 4]
