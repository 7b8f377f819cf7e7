"""Do elements of an array share memory with one another? Then it cannot be filled in place."""

from __future__ import annotations

from collections.abc import Sequence

# Up to so many elements their places are counted one by one, where a look does not tell.
_COUNTED = 1 << 20


def shares_elements(shape: Sequence[int], strides: Sequence[int], itemsize: int = 1) -> bool:
    """Say whether two elements of an array lie in the same memory, or may.

    Args:
        shape: Its shape.
        strides: From one element to the next in each dimension.
        itemsize: The size of an element, in the same unit.

    >>> [shares_elements((3, 2), strides) for strides in ((2, 1), (0, 1), (1, 1))]
    [False, True, True]
    """
    dims = sorted((abs(step), n) for step, n in zip(strides, shape, strict=True) if n > 1)
    reach = itemsize
    for step, n in dims:
        if step < reach:
            return _counted_twice(dims, itemsize)
        reach += step * (n - 1)
    return False


def _counted_twice(dims: Sequence[tuple[int, int]], itemsize: int) -> bool:
    count = 1
    for step, n in dims:
        count *= n
        if not step or step % itemsize or count > _COUNTED:
            return True
    places = {0}
    for step, n in dims:
        places = {place + step * i for place in places for i in range(n)}
    return len(places) < count
