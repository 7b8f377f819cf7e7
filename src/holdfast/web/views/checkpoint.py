"""One checkpoint: what it is, where it was made, and its leaves."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from holdfast.errors import DataError
from holdfast.format.lineage import Origin
from holdfast.history.info import LeafInfo
from holdfast.state import environment
from holdfast.state.paths import matches
from holdfast.web.history import history_of, leaves_of, ref_of
from holdfast.web.site import Site, page, site_of
from holdfast.web.views.query import required, slice_of

PAGE_ROWS = 200


def checkpoint(request: Request) -> Response:
    """Show a checkpoint; of one that is not trusted only what its commit says."""
    site, ref = site_of(request), required(request, "ref")
    info = site.store.info(ref)
    is_refused = info.trust is not None and not info.trust.trusted
    pattern = request.query_params.get("filter", "")
    leaves: list[LeafInfo] = []
    damage = ""
    if not is_refused:
        try:
            leaves = _chosen(leaves_of(site, info), pattern)
        except DataError as error:
            # What its commit says is good all the same.
            damage = error.message
    part = slice_of(request, len(leaves), PAGE_ROWS)
    around = history_of(site, info.run).checkpoints
    place = next((i for i, found in enumerate(around) if found.id == info.id), -1)
    return page(
        request,
        "checkpoint.html",
        info=info,
        is_refused=is_refused,
        damage=damage,
        is_forked_here=_is_here(site, info.forked_from),
        is_resumed_here=_is_here(site, info.resumed_from),
        ref=ref_of(site, info),
        before=ref_of(site, around[place - 1]) if place > 0 else None,
        after=ref_of(site, around[place + 1]) if 0 <= place < len(around) - 1 else None,
        differs_here=environment.differences_here(info.environment),
        leaves=leaves[part.begin : part.end],
        n_matching=len(leaves),
        pattern=pattern,
        part=part,
    )


def _is_here(site: Site, origin: Origin | None) -> bool:
    """Return whether a checkpoint that training began at is in this store still."""
    if origin is None or not site.store.place.is_there or origin.run not in site.store.runs():
        return False
    return any(info.id == origin.id for info in history_of(site, origin.run).checkpoints)


def _chosen(leaves: list[LeafInfo], pattern: str) -> list[LeafInfo]:
    """Return the leaves whose path matches a glob pattern, or has a text in it."""
    if not pattern:
        return leaves
    if any(character in pattern for character in "*?["):
        return [leaf for leaf in leaves if matches(pattern, leaf.path)]
    return [leaf for leaf in leaves if pattern.lower() in leaf.path.lower()]
