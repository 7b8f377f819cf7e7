"""Which planes of a chunk to squeeze, and whether at all: found out by trying on samples of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from holdfast.chunks.codecs import planes
from holdfast.chunks.codecs.entropy import Squeeze, squeeze
from holdfast.plan.elements import Elements

# What saves less than this of a chunk is not worth the time of who reads it.
MIN_GAIN: Final = 0.05
# What saves less than this of a plane is not worth the time of who writes it.
_MIN_PLANE_GAIN: Final = 0.03
# The way that is several times as slow must save so much more of a plane to be taken.
_MIN_STRINGS_GAIN: Final = 0.06
_SAMPLE: Final = 8 << 10
_SAMPLES: Final = 4


@dataclass(frozen=True, slots=True)
class Planes:
    """How a chunk is put into planes: width of an element in bytes, and what is done with each."""

    width: int
    rotated: bool
    squeezes: tuple[Squeeze, ...]


def choose(data: memoryview, elements: Elements) -> Planes | None:
    """Return how to store a chunk in fewer bytes, or None where it gains next to nothing.

    Args:
        data: The chunk.
        elements: What most of it consists of.
    """
    sample = _sample(data, elements.width)
    if not sample.nbytes:
        return None
    squeezes, saved = [], 0
    for plane in _planes(sample, elements):
        how, gain = _best(plane)
        squeezes.append(how)
        saved += gain
    if saved < MIN_GAIN * sample.nbytes:
        return None
    return Planes(elements.width, elements.is_float, tuple(squeezes))


def encode(data: memoryview, how: Planes, into: memoryview) -> int | None:
    """Fill into with a chunk; return how many bytes that took, or None where it gains too little.

    Args:
        data: The chunk.
        how: From ``choose``, for this chunk or one like it.
        into: Memory of ``planes.head_bytes`` and the chunk's length, at least.
    """
    nbytes = planes.encode(data, how.width, how.rotated, how.squeezes, into)
    return nbytes if nbytes <= (1 - MIN_GAIN) * data.nbytes else None


def _sample(data: memoryview, width: int) -> memoryview:
    """Return some stretches of a chunk, spread evenly over it; all of it where it is small."""
    count = data.nbytes // width
    if count <= _SAMPLES * _SAMPLE:
        return data[: count * width]
    numbers = np.frombuffer(data, f"<u{width}", count)
    step = count // _SAMPLES
    begins = range((step - _SAMPLE) // 2, count - _SAMPLE, step)
    return np.concatenate([numbers[b : b + _SAMPLE] for b in begins]).data.cast("B")


def _planes(sample: memoryview, elements: Elements) -> list[memoryview]:
    count = sample.nbytes // elements.width
    raw = (Squeeze.RAW,) * elements.width
    # A sample is shorter than a block, so that each plane is in one piece.
    out = memoryview(bytearray(planes.head_bytes(sample.nbytes, elements.width) + sample.nbytes))
    planes.encode(sample, elements.width, elements.is_float, raw, out)
    begin = planes.head_bytes(sample.nbytes, elements.width)
    return [out[begin + i * count : begin + (i + 1) * count] for i in range(elements.width)]


def _best(plane: memoryview) -> tuple[Squeeze, int]:
    """Return how to store a plane, and the bytes that saves."""
    by_frequency = plane.nbytes - len(squeeze(plane, Squeeze.FREQUENCY))
    # The slow way is tried on a part only.
    part = plane[:_SAMPLE]
    by_strings = len(squeeze(part, Squeeze.FREQUENCY)) - len(squeeze(part, Squeeze.STRINGS))
    if by_strings > _MIN_STRINGS_GAIN * part.nbytes:
        return Squeeze.STRINGS, by_frequency + by_strings * plane.nbytes // part.nbytes
    if by_frequency > _MIN_PLANE_GAIN * plane.nbytes:
        return Squeeze.FREQUENCY, by_frequency
    return Squeeze.RAW, 0
