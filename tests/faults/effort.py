"""How much is tried: all of it, or what a minute allows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """How many trials of each kind there are.

    Attributes:
        every: Of the effects of an operation, one of so many is struck.
        flips: Bits flipped in a store that is then restored from.
        flips_elsewhere: Bits flipped before each of the other operations.
        peer_flips: Bits flipped in the checkpoint of each peer.
        calls: System calls struck by strace, of each operation at most.
        persister_calls: System calls of the persister that are struck.
        crash_states: States after a power cut that are replayed, at most.
    """

    every: int
    flips: int
    flips_elsewhere: int
    peer_flips: int
    calls: int
    persister_calls: int
    crash_states: int


FULL = Effort(
    every=1,
    flips=10_000,
    flips_elsewhere=150,
    peer_flips=1_000,
    calls=10_000,
    persister_calls=33,
    crash_states=100_000,
)
SMALL = Effort(
    every=17,
    flips=250,
    flips_elsewhere=9,
    peer_flips=20,
    calls=4,
    persister_calls=1,
    crash_states=25,
)
