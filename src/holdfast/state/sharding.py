"""Arrays of which a process holds a part: what it holds, who holds the same, who writes it.

Nothing here may grow with the number of ranks: there may be tens of thousands of them, and a
hundred thousand arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple, final

from holdfast.errors import UnsupportedLeaf
from holdfast.format.boxes import Box, whole


class Piece(NamedTuple):
    """A box of an array that this process holds.

    Attributes:
        box: Where it lies in the whole array.
        value: An array of its shape; None where there is only to be one.
        holders: The ranks that hold this same box, rising; see ``rank_set``.
    """

    box: Box
    value: Any
    holders: Sequence[int]


@dataclass(frozen=True, slots=True)
class Held:
    """What this process holds of an array.

    Attributes:
        shape: Of the whole array.
        pieces: What it holds; there may be nothing. Pieces of the same holders come in the same
            order on all of them.
        like: An array that says framework and dtype; the value of a piece, if it can be.
        layout: How the array lies over the ranks, as text: the same on all of them where they
            agree on it. Empty where each rank holds all of it, or nobody says.
        is_assumed: That others hold the same is taken from where they stand, and nothing else
            says it: what they hold is compared at each save.
        is_of_first: The first of its holders writes it, however much it writes already: what the
            others have may differ, and gives way to that.
        identity: The same for two names of one array, where nothing of it lies here that would
            tell; None where nobody knows.
    """

    shape: tuple[int, ...]
    pieces: Sequence[Piece]
    like: Any
    layout: str = ""
    is_assumed: bool = False
    is_of_first: bool = False
    identity: Hashable | None = None


@final
class _Ranks(tuple[int, ...]):
    """Ranks whose hash is reckoned once: it is asked for with every array."""

    _known: int

    def __hash__(self) -> int:
        try:
            return self._known
        except AttributeError:
            self._known = super().__hash__()
            return self._known


def rank_set(ranks: Sequence[int]) -> Sequence[int]:
    """Return ranks, rising, in a form that is cheap to compare and to hash.

    Mostly they are evenly spaced, and then a range, whose size does not grow with them. Others are
    cheap as long as the same object is asked about again.

    >>> rank_set([1, 3, 5])
    range(1, 6, 2)
    """
    step = ranks[1] - ranks[0] if len(ranks) > 1 else 1
    even = range(ranks[0], ranks[-1] + 1, step)
    if len(even) == len(ranks) and all(a == b for a, b in zip(even, ranks, strict=True)):
        return even
    return _Ranks(ranks)


_Applies = Callable[[object], bool]
_Find = Callable[[Any, str], Held]
_by_class: list[tuple[_Applies, _Find]] = []
_by_value: list[tuple[_Applies, _Find]] = []
_in_play: list[Callable[[], bool]] = []
# By class: there are few, and a hundred thousand arrays of them.
_kind_of: dict[type, _Find | None] = {}


def register_held(
    applies: _Applies, held: _Find, in_play: Callable[[], bool], *, by_class: bool = True
) -> None:
    """Make a framework's arrays that lie on several ranks known.

    Args:
        applies: Says whether a value is one.
        held: Gives what this process holds of one, whose path it is given.
        in_play: Says whether there can be any in this process.
        by_class: It says the same of all values of a class.
    """
    (_by_class if by_class else _by_value).append((applies, held))
    _in_play.append(in_play)
    _kind_of.clear()


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
    cls = type(value)
    if cls not in _kind_of:
        _kind_of[cls] = _first(_by_class, value)
    held = _kind_of[cls] or _first(_by_value, value)
    return None if held is None else held(value, path)


def _first(kinds: Sequence[tuple[_Applies, _Find]], value: object) -> _Find | None:
    # No generator: this is asked of every leaf of every save.
    for applies, held in kinds:
        if applies(value):
            return held
    return None


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
    if not held.pieces and 0 in held.shape and tuple(held.like.shape) == held.shape:
        # All of nothing.
        return held.like
    what = "is held by several ranks, and this one saves by itself"
    raise UnsupportedLeaf(
        f"{path!r} {what}. Nothing was saved. Make a Checkpointer on every rank, without "
        f"ranks=None; or leave it out: skip={path!r}.",
        path=path,
        what=what,
    )


_led: list[tuple[_Applies, Callable[[Any], Collection[Any]]]] = []


def register_led(applies: _Applies, names: Callable[[Any], Collection[Any]]) -> None:
    """Say of what in an object's state all ranks go by what the first of them has.

    Args:
        applies: Says whether an object is of that kind.
        names: Gives the keys of such arrays in the state of one.
    """
    _led.append((applies, names))


def led_by_first(value: object, state: Any, world_size: int) -> Any:
    """Return the state of an object, in which what goes by the first rank is told to be so."""
    if not isinstance(state, dict):
        return state
    names = next((names(value) for applies, names in _led if applies(value)), ())
    everyone = range(world_size)
    held = {
        name: Held(shape, (Piece(whole(shape), array, everyone),), array, is_of_first=True)
        for name in names
        if (array := state.get(name)) is not None and held_of(array) is None
        for shape in [tuple(array.shape)]
    }
    if not held:
        return state
    # Its class and the order of its keys are written down, too.
    found = copy(state)
    found.update(held)
    return found


_own_kinds: list[Callable[[object], bool]] = []


def register_per_rank(applies: Callable[[object], bool]) -> None:
    """Say of a kind of object that each rank has its own: a position in the data, say."""
    _own_kinds.append(applies)


def is_per_rank(value: object) -> bool:
    """Say whether an object is of a kind of which each rank has its own."""
    return bool(_own_kinds) and any(applies(value) for applies in _own_kinds)


@dataclass(frozen=True, slots=True)
class Sharing:
    """How a state is saved by several ranks together.

    Attributes:
        rank: This one.
        world_size: How many there are.
        writer_of: Tells, of bytes and the ranks that hold them, which of them writes them.
        is_own: Says of a path whether each rank has its own value there.
        piece_bytes: Larger pieces that several hold are cut, to be shared out evenly.
        check_replicas: What several hold is digested, so that they can be compared.
        is_saved: It will be saved; if not, nothing is digested.
    """

    rank: int
    world_size: int
    writer_of: Callable[[int, Sequence[int]], int]
    is_own: Callable[[str], bool]
    piece_bytes: int
    check_replicas: bool = False
    is_saved: bool = True
