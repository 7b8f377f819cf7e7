"""One run of bytes as one Zstandard frame, and back; what is in memory is bounded beforehand.

Bytes of exponents hardly ever repeat in longer strings, but some are far more frequent than others.
With a table of 64 places and matches of seven bytes Zstandard finds next to none, looks for them
next to never, and is left with its Huffman coder: several times as fast as its first level, and
better, since matches of a few bytes cost more than they save here. Where strings do repeat (zeros,
counters, text), the first level is the better one. Readers need not know which one it was.
"""

from __future__ import annotations

import threading
from enum import IntEnum
from typing import Final

import zstandard

from holdfast.chunks.codecs.errors import Undecodable

# As long as a block of Zstandard's may be: longer frames gain nothing.
BLOCK_BYTES: Final = 128 << 10
# What a frame may look back on, which bounds what a reader needs besides.
_MAX_WINDOW_BYTES: Final = 128 << 10
# A code table for each 32 KiB: weights of one layer are not those of the next.
_WINDOW_LOG: Final = 15


class Squeeze(IntEnum):
    """How a plane is stored: as it is, by the frequency of its bytes, or by strings that repeat."""

    RAW = 0
    FREQUENCY = 1
    STRINGS = 2


_held = threading.local()


def squeeze(data: memoryview, how: Squeeze) -> bytes:
    """Return data as one frame that tells its length."""
    found: bytes = _compressor(how).compress(data)
    return found


def expand(frame: memoryview, nbytes: int) -> bytes:
    """Return what is in a frame.

    Args:
        frame: The frame, and nothing else.
        nbytes: How long its content must be.

    Raises:
        Undecodable: It is no frame, or one of another length. No more memory than that was used.
    """
    try:
        # The length that a frame tells is what would be allocated.
        if zstandard.frame_content_size(frame) != nbytes:
            raise Undecodable("a plane has another length than its block")
        found: bytes = _decompressor().decompress(
            frame, max_output_size=nbytes, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise Undecodable(f"a plane is no whole frame: {error}") from error
    if len(found) != nbytes:
        raise Undecodable("a plane has another length than its block")
    return found


def _compressor(how: Squeeze) -> zstandard.ZstdCompressor:
    # They may not be used by two threads at a time.
    found: dict[Squeeze, zstandard.ZstdCompressor] = _held.__dict__.setdefault("compressors", {})
    if how not in found:
        if how is Squeeze.STRINGS:
            found[how] = zstandard.ZstdCompressor(level=1, write_checksum=False)
        else:
            parameters = zstandard.ZstdCompressionParameters(
                strategy=zstandard.STRATEGY_FAST,
                window_log=_WINDOW_LOG,
                hash_log=6,
                chain_log=6,
                search_log=1,
                min_match=7,
                # Anything else would turn the Huffman coder off.
                target_length=0,
            )
            found[how] = zstandard.ZstdCompressor(compression_params=parameters)
    return found[how]


def _decompressor() -> zstandard.ZstdDecompressor:
    found: zstandard.ZstdDecompressor | None = getattr(_held, "decompressor", None)
    if found is None:
        found = _held.decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    return found
