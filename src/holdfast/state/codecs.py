"""Codecs for values that are neither arrays nor plain: how a class becomes a tree and returns."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.errors import UsageError
from holdfast.state.numpy_generators import (
    generator_tree,
    new_generator,
    new_random_state,
    set_generator,
)


@dataclass(frozen=True, slots=True)
class Codec:
    """How values of one class are saved.

    ``encode`` gives a tree of supported values, ``decode`` makes a new value of such a tree,
    and ``update``, where given, puts a tree into a value that stands. ``variant``, where given,
    is the key of the tree in which saved and standing value must agree. ``cheap`` values are
    encoded after every step, for when the next one is interrupted. Of an ``alike`` value that
    cannot change, the saved leaves are bound to the tree of the one that stands: they must be of
    its shape, and come to lie where it lies.
    """

    cls: type
    name: str
    encode: Callable[[Any], object]
    decode: Callable[[Any], object]
    update: Callable[[Any, Any], None] | None = None
    variant: str | None = None
    cheap: bool = False
    alike: bool = False


_by_class: dict[type, Codec] = {}
_by_name: dict[str, Codec] = {}


def register_codec(
    cls: type,
    encode: Callable[[Any], object],
    decode: Callable[[Any], object],
    *,
    name: str | None = None,
    update: Callable[[Any, Any], None] | None = None,
    variant: str | None = None,
    cheap: bool = False,
    alike: bool = False,
) -> None:
    """Teach holdfast to save and load values of a class.

    Args:
        cls: The class; its subclasses are not meant.
        encode: Takes a value, returns a tree of values that holdfast knows.
        decode: Takes such a tree, returns a value.
        name: What the format calls the class, ``module:qualname`` if not given. Keep it stable.
        update: Takes a standing value and a tree; puts the tree into the value.
        variant: Key of the tree in which saved and standing value must agree for an update.
        cheap: Encoding may be done after every step. A value that changes within a step, as a
            generator does, is then saved as it was at the end of the last whole one.
        alike: A value that stands in the place of a saved one says which shape and device the new
            one must have.

    Raises:
        UsageError: Another class has that name; it is no class, or they are no functions.

    >>> from fractions import Fraction
    >>> register_codec(Fraction, lambda f: [f.numerator, f.denominator], lambda t: Fraction(*t))
    """
    if not isinstance(cls, type) or not callable(encode) or not callable(decode):
        raise UsageError(
            "register_codec takes a class and two functions, not "
            f"{cls!r}, {encode!r} and {decode!r}."
        )
    label = name if name is not None else f"{cls.__module__}:{cls.__qualname__}"
    known = _by_name.get(label)
    if known is not None and known.cls is not cls and not _same_definition(known.cls, cls):
        raise UsageError(f"A codec named {label!r} is registered for {known.cls!r} already.")
    codec = Codec(cls, label, encode, decode, update, variant, cheap, alike)
    _by_class[cls] = codec
    _by_name[label] = codec


def codec_of(cls: type) -> Codec | None:
    """Return the codec of exactly that class, or None."""
    return _by_class.get(cls)


def codec_named(name: str) -> Codec | None:
    """Return the codec that the format knows by that name, or None."""
    return _by_name.get(name)


def codec_count() -> int:
    """Return how many codecs are registered; it only grows."""
    return len(_by_class)


def _same_definition(a: type, b: type) -> bool:
    # A module that was reloaded, or a notebook cell that ran twice, makes the same class anew.
    return (a.__module__, a.__qualname__) == (b.__module__, b.__qualname__)


def python_random_tree(state: tuple[Any, ...]) -> dict[str, object]:
    """Return ``random.getstate()`` as a small tree: 625 words become one array."""
    version, words, gauss = state
    return {"version": version, "words": np.array(words, np.uint32), "gauss": gauss}


def python_random_state(tree: dict[str, Any]) -> tuple[Any, ...]:
    """Return what ``random.setstate()`` takes."""
    return (tree["version"], tuple(int(word) for word in tree["words"]), tree["gauss"])


def _new_random(tree: dict[str, Any]) -> random.Random:
    generator = random.Random()
    generator.setstate(python_random_state(tree))
    return generator


register_codec(
    random.Random,
    lambda generator: python_random_tree(generator.getstate()),
    _new_random,
    name="random:Random",
    update=lambda generator, tree: generator.setstate(python_random_state(tree)),
    cheap=True,
)
register_codec(
    Counter,
    lambda counter: [[key, count] for key, count in counter.items()],
    lambda pairs: Counter(dict(pairs)),
    name="collections:Counter",
)
register_codec(
    deque,
    lambda queue: {"items": list(queue), "maxlen": queue.maxlen},
    lambda tree: deque(tree["items"], tree["maxlen"]),
    name="collections:deque",
)
register_codec(
    np.random.Generator,
    generator_tree,
    new_generator,
    name="numpy.random:Generator",
    update=set_generator,
    variant="bit_generator",
    cheap=True,
)
register_codec(
    np.random.RandomState,
    lambda generator: generator.get_state(legacy=False),
    new_random_state,
    name="numpy.random:RandomState",
    update=lambda generator, state: generator.set_state(state),
    variant="bit_generator",
    cheap=True,
)
