"""Calls that build plain values and arrays, and of a few bytes of a file more than any machine has.

What is built of bytes that are in the file is as large as the file. Some constructors take a number
in their place, or a range, and ``Fraction`` writes a power of ten out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from holdfast.security.pickle_machine import Call, Global

# What a file may ask for without having it, in bytes or in values.
MOST = 1 << 24

_BUILTINS = ("builtins", "__builtin__")
_OF_A_NUMBER = ("bytes", "bytearray")
_RANGES = ("range", "xrange")
_OF_A_SHAPE = ("ndarray", "Tensor")
_LONG_EXPONENT = re.compile(r"[eE]\+?0*[1-9]\d{4,}")


def asks_for_too_much(function: Global, args: Sequence[object]) -> bool:
    """Say whether a call of something that only builds values would take memory without bound.

    >>> asks_for_too_much(Global("builtins", "bytearray"), [10**12])
    True
    """
    if not args:
        return False
    if function.name == "Fraction":
        return any(map(_has_long_exponent, args))
    if function.module in _BUILTINS and function.name in _RANGES:
        return False  # A range is as small as its ends, whatever lies between them.
    return any(_values_of(arg) > MOST for arg in args) or _own_amount(function, args) > MOST


def _own_amount(function: Global, args: Sequence[object]) -> int:
    first = args[0]
    if function.module in _BUILTINS and function.name in _OF_A_NUMBER:
        return first if isinstance(first, int) else 0
    if function.name == "_reconstruct":
        return _product(args[1]) if len(args) > 1 else 0
    if function.name.endswith("Storage"):
        return first if isinstance(first, int) else 0
    if function.name in _OF_A_SHAPE:
        return _product(first if isinstance(first, list | tuple) else args)
    return 0


def _product(shape: object) -> int:
    lengths = list(shape) if isinstance(shape, list | tuple) else [shape]
    numbers = [abs(length) for length in lengths if isinstance(length, int)]
    if 0 in numbers or len(numbers) != len(lengths):
        return 0
    product = 1
    for number in numbers:
        product *= number
        if product > MOST:
            break  # The product of a million long numbers would take for ever itself.
    return product


def _values_of(value: object) -> int:
    """Return how many values a range has that would be gone through; 0 for what is none."""
    if not isinstance(value, Call) or not isinstance(value.function, Global):
        return 0
    function, ends = value.function, value.args
    if function.module not in _BUILTINS or function.name not in _RANGES:
        return 0
    numbers = [end for end in ends if isinstance(end, int)]
    if len(numbers) != len(ends):
        return 0
    try:
        found = range(*numbers)
    except (TypeError, ValueError):
        return 0
    # Not len(), which takes no number of more than a word.
    return max(0, (found.stop - found.start) // found.step)


def _has_long_exponent(value: object) -> bool:
    texts = value.args if isinstance(value, Call) else [value]
    return any(isinstance(text, str) and _LONG_EXPONENT.search(text) for text in texts)
