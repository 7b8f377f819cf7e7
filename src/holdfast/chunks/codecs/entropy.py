"""One run of bytes as one Zstandard frame, and back; what is in memory is bounded beforehand.

Bytes of exponents hardly ever repeat in longer strings, but some are far more frequent than others.
With a table of 64 places and matches of seven bytes Zstandard finds next to none, looks for them
next to never, and is left with its Huffman coder: several times as fast as its first level, and
better, since matches of a few bytes cost more than they save here. Where strings do repeat (zeros,
counters, text), the first level is the better one. Readers need not know which one it was.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from holdfast.chunks.codecs.errors import Undecodable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# As long as a block of Zstandard's may be: longer frames gain nothing.
BLOCK_BYTES: Final = 128 << 10
# What a frame may look back on, 128 KiB, which bounds what a reader needs besides.
_READER: Final[Mapping[int, int]] = {zstd.DecompressionParameter.window_log_max: 17}
_Set = zstd.CompressionParameter


class Squeeze(IntEnum):
    """How a plane is stored: as it is, by the frequency of its bytes, or by strings that repeat."""

    RAW = 0
    FREQUENCY = 1
    STRINGS = 2


_BY_FREQUENCY: Final[Mapping[int, int]] = {
    _Set.strategy: zstd.Strategy.fast,
    # A code table for each 32 KiB: weights of one layer are not those of the next.
    _Set.window_log: 15,
    _Set.hash_log: 6,
    _Set.chain_log: 6,
    _Set.search_log: 1,
    _Set.min_match: 7,
    # Anything else would turn the Huffman coder off.
    _Set.target_length: 0,
}
_BY_STRINGS: Final[Mapping[int, int]] = {_Set.compression_level: 1}
_held = threading.local()


def squeeze(data: memoryview, how: Squeeze) -> bytes:
    """Return data as one frame that tells its length."""
    found: bytes = _compressor(how).compress(data, zstd.ZstdCompressor.FLUSH_FRAME)
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
        if zstd.get_frame_info(frame).decompressed_size != nbytes:
            raise Undecodable("a plane has another length than its block")
        reader = zstd.ZstdDecompressor(options=_READER)
        # What a frame tells need not be so: the limit bounds the memory, whoever reads it.
        found: bytes = reader.decompress(frame, max_length=nbytes)
    except zstd.ZstdError as error:
        raise Undecodable(f"a plane is no whole frame: {error}") from error
    if not reader.eof or reader.unused_data:
        raise Undecodable("a plane is no whole frame, or more than one")
    if len(found) != nbytes:
        raise Undecodable("a plane has another length than its block")
    return found


def _compressor(how: Squeeze) -> zstd.ZstdCompressor:
    # They may not be used by two threads at a time.
    found: dict[Squeeze, zstd.ZstdCompressor] = _held.__dict__.setdefault("compressors", {})
    if how not in found:
        options = _BY_STRINGS if how is Squeeze.STRINGS else _BY_FREQUENCY
        found[how] = zstd.ZstdCompressor(options=options)
    return found[how]
