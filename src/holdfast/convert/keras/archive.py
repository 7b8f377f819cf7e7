"""A ``.keras`` archive planned: a zip of the configuration and a weights file, not compressed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from holdfast.convert.contract import FilePlan
from holdfast.convert.keras.unpacking import ASSETS, CONFIG, METADATA, WEIGHTS
from holdfast.convert.keras.weights import plan_weights
from holdfast.convert.naming import is_utf8
from holdfast.convert.selection import LONG_TEXTS, Selection
from holdfast.convert.zip_plan import (
    Array,
    Member,
    Segment,
    length_of,
    plan_zip,
    require_member_names,
)
from holdfast.errors import CannotConvert


def plan_archive(selection: Selection) -> FilePlan:
    """Return the archive that a saved model becomes.

    Raises:
        CannotConvert: It has no weights, or something of them has no place in weights files.
    """
    nbytes = [row.nbytes for row in selection.part.arrays]
    texts = _texts(selection)
    weights = _segments_of(plan_weights(_below(selection, "weights")), nbytes)
    assets = sorted(name for name in texts if name.startswith(ASSETS))
    require_member_names(assets)
    first = [Member(name, [texts[name]]) for name in (METADATA, CONFIG) if name in texts]
    last = [Member(name, [texts[name]]) for name in assets]
    return plan_zip([*first, Member(WEIGHTS, weights), *last]).as_file()


def _texts(selection: Selection) -> dict[str, Segment]:
    texts: dict[str, Segment] = {
        array.name: Array(array.row, array.array.nbytes)
        for array in selection.arrays
        if array.array.framework in LONG_TEXTS
    }
    for value in selection.values:
        if isinstance(value.value, bytes):
            texts[value.name] = value.value
        elif isinstance(value.value, str):
            texts[value.name] = _utf8(value.name, value.value)
    return texts


def _utf8(name: str, text: str) -> bytes:
    if not is_utf8(text):
        raise CannotConvert(
            f"The text {name!r} has no form in UTF-8, as a saved model has its texts. Nothing was "
            f"written. To leave it out: --skip {name!r}.",
            name=name,
        )
    return text.encode()


def _below(selection: Selection, key: str) -> Selection:
    """Return what of a selection is below a key of its root, named from there on."""
    root = selection.root
    while len(root.children) == 1 and root.children[0].key is None:
        root = root.children[0]
    found = [child for child in root.children if child.key == key]
    prefix = f"{key}/"
    arrays = [a for a in selection.arrays if a.name.startswith(prefix)]
    values = [v for v in selection.values if v.name.startswith(prefix)]
    if not found or not arrays:
        raise CannotConvert(
            f"A saved model needs its weights below {key!r}; there are none. Nothing was written.",
            name=key,
        )
    return replace(
        selection,
        root=found[0],
        arrays=[replace(a, name=a.name.removeprefix(prefix)) for a in arrays],
        values=[replace(v, name=v.name.removeprefix(prefix)) for v in values],
    )


def _segments_of(plan: FilePlan, nbytes_of_row: Sequence[int]) -> list[Segment]:
    """Return a planned file without late pieces as segments; between them are zeros."""
    placed: list[tuple[int, Segment]] = list(plan.pieces)
    placed += [(p.offset, Array(p.row, nbytes_of_row[p.row])) for p in plan.arrays]
    segments: list[Segment] = []
    at = 0
    for offset, segment in sorted(placed, key=lambda item: item[0]):
        if offset > at:
            segments.append(bytes(offset - at))
        segments.append(segment)
        at = offset + length_of(segment)
    if plan.nbytes > at:
        segments.append(bytes(plan.nbytes - at))
    return segments
