"""Stores as a writer sees them that is not alone: others act at any of its effects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.store.contract import ObjectStore
from holdfast.testing.fault_plan import EFFECTS


class Elsewhere:
    """A store that lets something happen right before the effect with a certain number, from 0.

    Args:
        inner: The store.
        at: Number of the effect.
        meanwhile: What happens.
        locks: Whether its locks are the store's; those of another machine are not.
    """

    def __init__(
        self, inner: ObjectStore, at: int, meanwhile: Callable[[], object], *, locks: bool
    ) -> None:
        self._inner = inner
        self._at = at
        self._meanwhile = meanwhile
        self._locks = locks
        self.effects: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._inner, name)
        if name == "open_lock" and not self._locks:
            return lambda key: _NoLock()
        return self._counted(name, real) if name in EFFECTS else real

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self.effects.append(name)
            if len(self.effects) - 1 == self._at:
                self._meanwhile()
            return real(*args)

        return call


class _NoLock:
    """A lock that nobody else knows of."""

    def acquire(self) -> bool:
        return True

    def note(self) -> bytes:
        return b""

    def write_note(self, note: bytes) -> None:
        pass

    def close(self) -> None:
        pass
