"""Ranks that begin find out which hosts there are, and where each host's keeper answers."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, final

from holdfast.distributed.hosts import Hosts, Peers, machine_name, own_address
from holdfast.distributed.ranks import Group
from holdfast.engine.handle import error_of_kind
from holdfast.errors import EnvironmentTrouble, HoldfastError, UsageError

_T = TypeVar("_T")
_WAITING_CALLS = 1024


@final
@dataclass(frozen=True, slots=True)
class Met:
    """What all ranks know once they have met.

    Attributes:
        hosts: Who is where.
        addresses: Where the keeper of each host answers.
        listening: On the first rank of a host, where its keeper shall answer.
    """

    hosts: Hosts
    addresses: Mapping[str, tuple[str, int]]
    listening: socket.socket | None


def meet(group: Group, folder: str, peers: Peers) -> Met:
    """Find out which hosts there are; every rank must.

    Args:
        group: The ranks.
        folder: Where the store of this host is.
        peers: What was asked for.

    Raises:
        UsageError: Ranks of one host have different folders, or two hosts have the same one.
    """
    there = os.stat(folder)
    machine = machine_name()
    said: Sequence[Mapping[str, Any]] = group.gather(
        {
            "host": peers.host or machine,
            "machine": machine,
            "folder": [machine, there.st_dev, there.st_ino],
            "copies": peers.copies,
        }
    )
    _check_folders([(str(one["host"]), tuple(one["folder"])) for one in said])
    copies = max(int(one["copies"]) for one in said)
    hosts = Hosts(tuple(str(one["host"]) for one in said), group.rank, copies)
    address = peers.address or own_address([str(one["machine"]) for one in said])
    listening: socket.socket | None = None

    def listen() -> list[Any]:
        nonlocal listening
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listening = socket.create_server((address, 0), family=family, backlog=_WAITING_CALLS)
        return [address, listening.getsockname()[1]]

    heard = together(group, lambda: listen() if hosts.is_leader else None)
    answers = group.gather(heard)
    found = {name: answers[hosts.leader(name)] for name in hosts.names}
    return Met(hosts, {name: (str(at[0]), int(at[1])) for name, at in found.items()}, listening)


def together(group: Group, work: Callable[[], _T]) -> _T:
    """Do something on every rank; where one cannot, none goes on.

    Raises:
        HoldfastError: This rank could not, or another one, which is named.
    """
    failed: HoldfastError | None = None
    found: list[_T] = []
    try:
        found.append(work())
    except OSError as error:
        failed = EnvironmentTrouble(f"{type(error).__name__}: {error}")
    except HoldfastError as error:
        failed = error
    said = {"kind": failed.kind, "text": failed.message} if failed is not None else None
    answers = group.gather(said)
    if failed is not None:
        raise failed
    for rank, answer in enumerate(answers):
        if answer is not None:
            text = f"Rank {rank} could not begin: {answer['text']}"
            raise error_of_kind(str(answer["kind"]), text, {})
    return found[0]


def _check_folders(said: Sequence[tuple[str, tuple[object, ...]]]) -> None:
    """Refuse folders that cannot be what they are said to be: one for each host, and no more."""
    of_host: dict[str, tuple[int, tuple[object, ...]]] = {}
    of_folder: dict[tuple[object, ...], tuple[int, str]] = {}
    for rank, (host, folder) in enumerate(said):
        first, known = of_host.setdefault(host, (rank, folder))
        if known != folder:
            raise UsageError(
                f"Ranks {first} and {rank} are both on host {host!r}, but their folders are not "
                "the same one. Ranks of a host share its store; where they are on different "
                "machines or disks, tell them apart: Peers(host=…). Nothing was saved."
            )
        first, other = of_folder.setdefault(folder, (rank, host))
        if other != host:
            raise UsageError(
                f"Ranks {first} and {rank} are said to be on different hosts, {other!r} and "
                f"{host!r}, but have the same folder: copies would be lost with it. Give each "
                "host a folder on a disk of its own, or leave peers= out. Nothing was saved."
            )
