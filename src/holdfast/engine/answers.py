"""What the persister answers: that a save is durable, or why a store cannot be opened again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.engine.unfinished import Saved
from holdfast.errors import NotFound, StoreUnavailable
from holdfast.records.opening import open_store
from holdfast.store.contract import ObjectStore
from holdfast.store.recipe import reopen


def answer(saved: Saved, durable_s: float, not_finite_in: Sequence[str]) -> dict[str, Any]:
    """Return what the trainer is told of a save that is durable."""
    return {
        "say": "saved",
        "id": saved.record.id,
        "commit": saved.commit.decode(),
        "durable_s": durable_s,
        "tag_error": str(saved.tag_error) if saved.tag_error else None,
        "not_finite_in": not_finite_in,
    }


def opened(recipe: dict[str, Any], *, is_first: bool) -> ObjectStore:
    """Open the store; who comes after another makes none where it is gone."""
    try:
        return open_store(reopen(recipe), create=is_first)
    except NotFound as error:
        raise StoreUnavailable(
            f"{error.message} It was there before. Was it moved, or its disk unmounted? Bring it "
            "back and save again.",
            **error.facts,
        ) from error
