"""Arrays of which a process holds a part: what it holds, who holds the same, who writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from holdfast.errors import UnsupportedLeaf
from holdfast.format.boxes import Box, whole


class Piece(NamedTuple):
    """A box of an array that this process holds.

    Attributes:
        box: Where it lies in the whole array.
        value: An array of its shape; None where there is only to be one.
        holders: The ranks that hold this same box, rising.
    """

    box: Box
    value: Any
    holders: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """What this process holds of an array.

    Attributes:
        shape: Of the whole array.
        pieces: What it holds; there may be nothing. Pieces of the same holders come in the same
            order on all of them.
        like: An array that says framework and dtype.
    """

    shape: tuple[int, ...]
    pieces: Sequence[Piece]
    like: Any


_kinds: list[tuple[Callable[[object], bool], Callable[[Any, str], Held]]] = []
_in_play: list[Callable[[], bool]] = []


def register_held(
    applies: Callable[[object], bool],
    held: Callable[[Any, str], Held],
    in_play: Callable[[], bool],
) -> None:
    """Make a framework's arrays that lie on several ranks known.

    Args:
        applies: Says whether a value is one.
        held: Gives what this process holds of one, whose path it is given.
        in_play: Says whether there can be any in this process.
    """
    _kinds.append((applies, held))
    _in_play.append(in_play)


def is_in_play() -> bool:
    """Say whether there can be arrays in this process that lie on several ranks."""
    return any(there_can_be() for there_can_be in _in_play)


def held_of(value: object, path: str = "") -> Held | None:
    """Return what this process holds of an array that lies on several ranks, None of another.

    What an object of a framework gives as its state may have such descriptions in the place of
    arrays.

    Raises:
        UnsupportedLeaf: It lies in a way that has no boxes; the message names the path.
    """
    if isinstance(value, Held):
        return value
    return next((held(value, path) for applies, held in _kinds if applies(value)), None)


def all_of(value: Any, path: str) -> Any:
    """Return an array as it lies here, if all of it does.

    Raises:
        UnsupportedLeaf: Other ranks hold some of it.
    """
    held = held_of(value, path)
    if held is None:
        return value
    if [piece.box for piece in held.pieces] == [whole(held.shape)]:
        return held.pieces[0].value
    what = "is held by several ranks, and this one saves by itself"
    raise UnsupportedLeaf(
        f"{path!r} {what}. Nothing was saved. Make a Checkpointer on every rank, without "
        f"ranks=None; or leave it out: skip={path!r}.",
        path=path,
        what=what,
    )


_own_kinds: list[Callable[[object], bool]] = []


def register_per_rank(applies: Callable[[object], bool]) -> None:
    """Say of a kind of object that each rank has its own: a position in the data, say."""
    _own_kinds.append(applies)


def is_per_rank(value: object) -> bool:
    """Say whether an object is of a kind of which each rank has its own."""
    return any(applies(value) for applies in _own_kinds)


@dataclass(frozen=True, slots=True)
class Sharing:
    """How a state is saved by several ranks together.

    Attributes:
        rank: This one.
        world_size: How many there are.
        writer_of: Tells, of bytes and the ranks that hold them, which of them writes them.
        is_own: Says of a path whether each rank has its own value there.
        piece_bytes: Larger pieces that several hold are cut, to be shared out evenly.
    """

    rank: int
    world_size: int
    writer_of: Callable[[int, tuple[int, ...]], int]
    is_own: Callable[[str], bool]
    piece_bytes: int
