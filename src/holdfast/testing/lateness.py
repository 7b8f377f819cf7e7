"""What a store shows that is not up to date: effects that have happened and are not seen yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from holdfast.store.contract import ObjectInfo


@dataclass(frozen=True, slots=True)
class Before:
    """What is shown of an object meanwhile: its old bytes, or that it is not there (None).

    ``until`` is the number of the call from which on it is seen as it is.
    """

    data: bytes | None
    until: int
    modified_s: float = 0.0


class Lateness:
    """The objects that are shown as they were. Not thread-safe: the store's lock guards it."""

    def __init__(self) -> None:
        self._before: dict[str, Before] = {}
        self._clock = 0

    def tick(self) -> None:
        """Count a call of the store."""
        self._clock += 1
        due = [key for key, before in self._before.items() if before.until <= self._clock]
        for key in due:
            del self._before[key]

    def hold_back(self, key: str, data: bytes | None, calls: int) -> None:
        """Show an object as it was for some more calls; one that is held back already still so."""
        if key in self._before:
            data = self._before[key].data
        self._before[key] = Before(data, self._clock + calls)

    def settle(self) -> None:
        """Show everything as it is."""
        self._before.clear()

    def shown(self, key: str) -> Before | None:
        """Return what is shown in the place of an object, or None where it is seen as it is."""
        return self._before.get(key)

    def listing(self, prefix: str, real: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
        """Yield what a listing shows, sorted by key."""
        return iter(merged(prefix, real, self._before))


def merged(
    prefix: str, real: Iterable[ObjectInfo], before: Mapping[str, Before]
) -> list[ObjectInfo]:
    """Return a listing in which some objects are as they were."""
    found = {info.key: info for info in real if info.key not in before}
    for key, old in before.items():
        if key.startswith(prefix) and old.data is not None:
            found[key] = ObjectInfo(key, len(old.data), old.modified_s)
    return sorted(found.values(), key=lambda info: info.key)
