"""Recipes: how another process opens a store that this one has.

A recipe is plain JSON, so that it goes over the channel to the persister. It names a function to
be imported, which is safe as long as recipes are only ever handed to one's own child processes:
never write one into a store.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

from holdfast.errors import UsageError
from holdfast.store.contract import ObjectStore


@dataclass(frozen=True, slots=True)
class Recipe:
    """A function, as ``module:name``, that returns the store when called with the arguments.

    The arguments are values of JSON. They are not shown: those of an encrypted store are its keys.
    """

    opener: str
    arguments: Mapping[str, Any] = field(repr=False)


@runtime_checkable
class Reopenable(Protocol):
    """A store that other processes can open too."""

    def recipe(self) -> Recipe:
        """Return how."""
        ...


def recipe_of(store: ObjectStore) -> Recipe:
    """Return the recipe of a store.

    Raises:
        UsageError: It has none.
    """
    if not isinstance(store, Reopenable):
        raise UsageError(
            f"The store at {store.location!r} cannot be opened by another process, and a "
            "Checkpointer writes from one. Give it a folder, or a store that has a recipe() "
            "method (holdfast.store.recipe). Nothing was saved.",
            location=store.location,
        )
    return store.recipe()


def to_message(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as a dict of values of JSON."""
    return asdict(recipe)


def reopen(message: Mapping[str, Any]) -> ObjectStore:
    """Return the store that the dict of ``to_message`` tells of."""
    module, _, name = message["opener"].partition(":")
    store = getattr(importlib.import_module(module), name)(**message["arguments"])
    assert isinstance(store, ObjectStore)
    return store
