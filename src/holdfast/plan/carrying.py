"""Which chunks a save writes again although they are stored, so that old packs can go.

A pack stays while any of its chunks is named. A few kilobytes that never change, such as the state
of a generator that is not used, would hold hundreds of megabytes of chunks that did.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

# Of what a save writes anyway, this much more may be written again for the sake of old packs.
_SHARE = 20
_LEAST_BYTES = 1 << 20
# A pack of which so much is named is kept.
_WANTED_SHARE = 0.5
# Chunks as small as this are written each time, where they are next to nothing of the state.
_TINY_BYTES = 16 << 10
_TINY_SHARE = 100


@dataclass(frozen=True, slots=True)
class CarriedPack:
    """A pack whose own checkpoint is gone: its bytes, and the lengths of chunks still named."""

    nbytes: int
    live: Mapping[bytes, int]

    @property
    def live_share(self) -> float:
        """The share of its bytes that is still named."""
        return sum(self.live.values()) / max(1, self.nbytes)


def chunks_to_move(packs: Iterable[CarriedPack], written_bytes: int) -> set[bytes]:
    """Return the digests of chunks that are better written again, so that their packs can go.

    Args:
        packs: Packs whose own checkpoints are gone.
        written_bytes: What the last save wrote; the price is a twentieth of it, or 1 MiB.

    >>> old = [CarriedPack(1 << 30, {b"a": 5000}), CarriedPack(1 << 30, {b"b": 900 << 20})]
    >>> chunks_to_move(old, 1 << 30)
    {b'a'}
    """
    left = max(_LEAST_BYTES, written_bytes // _SHARE)
    chosen = set()
    # What frees most for what it costs comes first; a pack may take several saves to go.
    for pack in sorted(packs, key=lambda p: p.live_share):
        if pack.live_share >= _WANTED_SHARE:
            break
        for digest, length in sorted(pack.live.items(), key=lambda item: (item[1], item[0])):
            if length <= left:
                chosen.add(digest)
                left -= length
    return chosen


def repeated_bytes(lengths: Collection[int]) -> int:
    """Return up to which length chunks are written again at every save, 0 for none.

    Args:
        lengths: Bytes of all chunks of a checkpoint.

    >>> repeated_bytes([8_000_000, 12_000]), repeated_bytes([9000, 12_000])
    (16384, 0)
    """
    tiny = sum(length for length in lengths if length <= _TINY_BYTES)
    return _TINY_BYTES if tiny * _TINY_SHARE < sum(lengths) else 0
