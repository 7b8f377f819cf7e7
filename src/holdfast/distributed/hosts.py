"""The hosts on which the ranks of a run are: which ranks share one, and who is where."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from holdfast.errors import UsageError
from holdfast.plan.placement import copies_on
from holdfast.store.running import boot_id

MAX_NAME_BYTES = 200


@final
@dataclass(frozen=True, slots=True)
class Peers:
    """Each host keeps what its ranks save on a disk of its own, with copies on other hosts.

    Losing as many hosts as there are copies, disks and memory included, loses no checkpoint.

    Args:
        copies: On how many other hosts there are copies of each rank's part. Where there are not
            so many hosts, there are fewer copies, which is told in a warning.
        host: What this host is called, the same on all of its ranks and on no other host; those
            of one host share the folder of the store. None: the machine's own name, so that
            containers of one machine count as one host.
        address: By which the other hosts reach this one. None: the one that the machine itself
            would take to speak to others; where all are on one machine, they speak within it.

    Raises:
        UsageError: An argument is not possible.
    """

    copies: int = 1
    host: str | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.copies, bool) or not isinstance(self.copies, int) or self.copies < 1:
            raise UsageError(f"Peers(copies={self.copies!r}): a whole number from 1 is needed.")
        for name, value in (("host", self.host), ("address", self.address)):
            if value is not None and not _is_word(value):
                raise UsageError(f"Peers({name}={value!r}): a text without spaces is needed.")


def _is_word(value: object) -> bool:
    return (
        isinstance(value, str)
        and value.isprintable()
        and bool(value)
        and not any(c.isspace() for c in value)
        and len(value.encode()) <= MAX_NAME_BYTES
    )


@final
@dataclass(frozen=True, slots=True)
class Hosts:
    """Who is where.

    Attributes:
        of_rank: The host of each rank.
        rank: Which rank this is.
        copies: How many copies are wanted.
    """

    of_rank: tuple[str, ...]
    rank: int
    copies: int

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, each once, by their first rank."""
        return tuple(dict.fromkeys(self.of_rank))

    @property
    def home(self) -> str:
        """The one that this rank is on."""
        return self.of_rank[self.rank]

    @property
    def others(self) -> tuple[str, ...]:
        """All but this rank's."""
        return tuple(name for name in self.names if name != self.home)

    @property
    def with_copies(self) -> tuple[str, ...]:
        """Those that hold copies of what this rank writes."""
        return copies_on(self.of_rank, self.copies)[self.home]

    @property
    def is_leader(self) -> bool:
        """Whether this rank is the first of its host, which acts for it."""
        return self.leader(self.home) == self.rank

    def leader(self, host: str) -> int:
        """Return the first rank of a host."""
        return self.of_rank.index(host)


def machine_name() -> str:
    """Return what names this machine: its boot, which containers on it share; or its host name."""
    return boot_id() or socket.gethostname()


def own_address(machines: Sequence[str]) -> str:
    """Return the address by which the other hosts reach this one.

    Args:
        machines: The machine of each rank.
    """
    if len(set(machines)) == 1:
        return "127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing: it has the system choose the interface towards others.
            probe.connect(("10.255.255.255", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostbyname(socket.gethostname())
