"""Who is where, and what may be asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast
from holdfast.distributed.hosts import Hosts, machine_name, own_address
from holdfast.distributed.ranks import Ranks
from holdfast.engine.peers import starting
from holdfast.engine.peers.meeting import _check_folders
from holdfast.errors import UsageError
from holdfast.testing import MemoryStore


def test_hosts_know_their_ranks_and_who_leads() -> None:
    hosts = Hosts(("a", "a", "b", "c"), 1, 1)
    assert (hosts.names, hosts.home, hosts.others) == (("a", "b", "c"), "a", ("b", "c"))
    assert not hosts.is_leader and Hosts(hosts.of_rank, 2, 1).is_leader
    assert hosts.with_copies == ("b",)


@pytest.mark.parametrize(
    "arguments",
    [
        *({"copies": 0}, {"copies": True}, {"copies": 1.5}, {"host": ""}, {"host": "a b"}),
        *({"host": 7}, {"address": "a\n"}, {"host": "x" * 201}),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(arguments))):
        holdfast.Peers(**arguments)


def test_one_that_is_left_alone_goes_on_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    peers = holdfast.Peers(host="a")
    with holdfast.Checkpointer(tmp_path, {"w": 1}, run="r", rng=False, peers=peers) as ckpt:
        ckpt.save(1).wait()
    assert "makes no copies" in caplog.text
    assert holdfast.Store(tmp_path).info("r@latest").step == 1


def test_tiers_and_peers_are_refused_together(tmp_path: Path) -> None:
    both = {"peers": holdfast.Peers(), "tiers": [holdfast.tier.far(tmp_path / "far")]}
    with pytest.raises(UsageError, match="peers= and tiers= do not go together"):
        holdfast.Checkpointer(tmp_path / "near", {"w": 1}, run="r", **both)


def test_a_store_that_is_no_folder_of_the_hosts_own_is_refused() -> None:
    ranks = Ranks(None, "1c" * 16)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="each host's own"):
        starting.begin(MemoryStore(), "r", holdfast.Peers(), ranks)


def test_hosts_of_one_machine_speak_within_it() -> None:
    assert own_address(["m", "m"]) == "127.0.0.1"
    assert own_address(["m", "n"])
    assert machine_name() == machine_name()


def test_folders_that_cannot_be_what_they_are_said_to_be_are_refused() -> None:
    _check_folders([("a", (1,)), ("a", (1,)), ("b", (2,))])
    with pytest.raises(UsageError, match="Ranks 0 and 1 are both on host 'a'"):
        _check_folders([("a", (1,)), ("a", (2,))])
    with pytest.raises(UsageError, match="have the same folder"):
        _check_folders([("a", (1,)), ("b", (1,))])
