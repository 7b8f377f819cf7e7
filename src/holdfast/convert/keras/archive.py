"""A ``.keras`` archive: a zip of the configuration and a weights file, stored, not compressed."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.convert.contract import FilePlan
from holdfast.convert.zip_plan import Array, Member, Segment, length_of, plan_zip


def plan_archive(members: Sequence[Member]) -> FilePlan:
    """Return the archive of members as one planned file."""
    plan = plan_zip(members)
    return FilePlan("", plan.nbytes, (), plan.arrays, "crc32", plan.pieces)


def segments_of(plan: FilePlan, nbytes_of_row: Sequence[int]) -> list[Segment]:
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
