"""Which hosts hold copies of what a host writes: decided by all alike, with no message. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def copies_on(hosts: Sequence[str], copies: int) -> Mapping[str, tuple[str, ...]]:
    """Return, for each host, the hosts that hold copies of what its ranks write.

    Never the host itself. All ranks of a host have their copies on the same hosts: the fewer sets
    of hosts there are that hold one thing between them, the fewer ways there are to lose it with
    several hosts. The hosts lie on a ring, and a host's copies as far apart on it as they can be,
    since neighbours often share a rack and its power. So each host holds copies of equally many.

    Args:
        hosts: The host of each rank, in the order of ranks.
        copies: How many there shall be of each thing besides the first; fewer hosts hold fewer.

    >>> copies_on(["a", "a", "b", "b", "c", "d"], 1)
    {'a': ('c',), 'b': ('d',), 'c': ('a',), 'd': ('b',)}
    >>> copies_on(["a", "b"], 2)
    {'a': ('b',), 'b': ('a',)}
    """
    ring = list(dict.fromkeys(hosts))
    there = min(copies, len(ring) - 1)
    stride = max(1, len(ring) // (there + 1))
    return {
        host: tuple(ring[(at + stride * nth) % len(ring)] for nth in range(1, there + 1))
        for at, host in enumerate(ring)
    }
