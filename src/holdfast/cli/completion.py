"""What a shell offers for RUN and REF when Tab is pressed: what is in the store that was named.

Nothing is asked, nothing is said: where the store cannot be read by what was named, or lies in a
bucket, which takes too long, there is nothing to offer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import typer

from holdfast.cli import secrets
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.repository import Store

# Shells evaluate parts of what is offered, and names in a store may be hostile.
_HARMLESS = re.compile(r"[\w@.:+=,%/-]+")
_MOST_STEPS = 1000


def runs(context: typer.Context, incomplete: str) -> list[str]:
    """Return the runs that begin so."""
    return _offered(context, incomplete, lambda store: store.runs())


def refs(context: typer.Context, incomplete: str) -> list[str]:
    """Return the refs that begin so; ``RUN@`` first, where several runs do."""
    return _offered(context, incomplete, lambda store: _refs(store, incomplete))


def runs_and_refs(context: typer.Context, incomplete: str) -> list[str]:
    """Return the runs and, behind an ``@``, the refs that begin so."""
    return (refs if "@" in incomplete else runs)(context, incomplete)


def _offered(
    context: typer.Context, incomplete: str, names: Callable[[Store], Iterable[str]]
) -> list[str]:
    try:
        store = _store(context)
        found = names(store) if store is not None else ()
        return [n for n in found if n.startswith(incomplete) and _HARMLESS.fullmatch(n)]
    except (HoldfastError, OSError):
        return []


def _store(context: typer.Context) -> Store | None:
    from holdfast.repository import Store

    # Before Enter is pressed no command has run, so that nothing but what was parsed is known.
    named = context.find_root().params
    location = named.get("store")
    if not location or "://" in location:
        return None
    store = Store(location)
    if not store.is_encrypted:
        return store
    keys = secrets.keys_of(named.get("identity"), named.get("passphrase_file"))
    keys = keys or secrets.configured(location)
    return Store(location, keys=keys) if keys else None


def _refs(store: Store, incomplete: str) -> list[str]:
    run, at, _ = incomplete.partition("@")
    if at:
        return _refs_of(store, run)
    found = [name for name in store.runs() if name.startswith(run)]
    return _refs_of(store, found[0]) if len(found) == 1 else [f"{name}@" for name in found]


def _refs_of(store: Store, run: str) -> list[str]:
    from holdfast.history.telling import metric_names

    infos = store.log(run)[::-1]
    tags = [tag for info in infos for tag in info.tags]
    bests = [f"best:{name}" for name in metric_names(infos)]
    steps = [str(info.step) for info in infos[:_MOST_STEPS]]
    return [f"{run}@{name}" for name in ("latest", *tags, *bests, *steps)] if infos else []
