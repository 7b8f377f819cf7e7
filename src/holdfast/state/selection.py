"""Choices of leaves that depend on what a state consists of, for ``only=``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Role(Enum):
    """What an entry of a state is for."""

    MODEL = "model"
    OPTIMIZER = "optimizer"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry at the root of a state; ``value`` is the live object, None where there is none."""

    name: str
    role: Role
    value: object = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """A choice as glob patterns on leaf paths, as ``only=`` and ``skip=`` take them."""

    only: tuple[str, ...] | None
    skip: tuple[str, ...] = ()


class Selection(ABC):
    """A choice of leaves that is made once it is known what the state consists of.

    ``base`` is the ref of a checkpoint that has what is left out; None where none is named.
    """

    base: str | None = None

    @abstractmethod
    def chosen(self, entries: Sequence[Entry]) -> Chosen:
        """Return the choice for a state with these entries."""
