"""A store with copies on other hosts: what is lost here is there, and nothing strange gets in."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import holdfast
from holdfast.engine.peers.mending import explained, mend, ranks_gone
from holdfast.engine.peers.peered_store import PeeredStore
from holdfast.engine.peers.refilling import Refilling
from holdfast.errors import ChunkMissing, DataError, PeersUnavailable, UsageError
from holdfast.format.names import RunKeys
from holdfast.records import commits
from holdfast.store.contract import list_everywhere
from holdfast.testing.store_contract import CHECKS, Check
from unit.engine.peers.neighbours import RUN, neighbours


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_is_a_store_like_others(check: Check, tmp_path: Path) -> None:
    with neighbours(tmp_path, ["a", "b"]) as stores:
        check(stores["a"])


def saved(store: PeeredStore, step: int = 1) -> np.ndarray:
    values = np.random.default_rng(step).random(70_000)
    # Without states of random numbers, which do not change: later saves would need the first pack.
    holdfast.save(store, {"w": values}, run=RUN, step=step, rng=False)
    return values


def packs(folder: Path) -> list[Path]:
    return sorted((folder / "runs" / RUN / "packs").glob("*"))


def until(is_so: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.005)


def test_packs_lie_on_as_many_others_as_are_asked_for_and_records_on_all(tmp_path: Path) -> None:
    with neighbours(tmp_path, list("abcd"), copies=2) as stores:
        saved(stores["b"])
        assert [len(packs(tmp_path / name)) for name in "abcd"] == [0, 1, 1, 1] or [
            len(packs(tmp_path / name)) for name in "abcd"
        ] == [1, 1, 0, 1]
        for name in "abcd":
            assert [c.step for c in commits.good_commits(stores[name].local, RUN)] == [1]
            assert len(list((tmp_path / name / "runs" / RUN / "parts").iterdir())) == 1


def test_what_is_gone_here_is_read_from_another_host_and_kept(tmp_path: Path) -> None:
    with neighbours(tmp_path, ["a", "b"]) as stores:
        values = saved(stores["a"])
        [pack] = packs(tmp_path / "a")
        pack.unlink()
        assert (holdfast.load(stores["a"], "r@latest")["w"] == values).all()
        assert packs(tmp_path / "a") == [pack]
        packs(tmp_path / "b")[0].unlink()
        assert (holdfast.load(stores["a"], "r@latest")["w"] == values).all()


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)


def test_a_damaged_copy_is_found_and_another_taken(tmp_path: Path) -> None:
    with neighbours(tmp_path, list("abc"), copies=2) as stores:
        values = saved(stores["a"])
        packs(tmp_path / "a")[0].unlink()
        first = stores["a"].holders[0].name
        damage(packs(tmp_path / first)[0])
        with pytest.raises(DataError):
            holdfast.load(stores["a"], "r@latest")
        [record] = commits.good_commits(stores["a"], RUN)
        assert mend(stores["a"], record)
        assert (holdfast.load(stores["a"], "r@latest")["w"] == values).all()
        assert not mend(stores["a"], record)


def test_a_damaged_part_is_got_from_another_host(tmp_path: Path) -> None:
    with neighbours(tmp_path, ["a", "b"]) as stores:
        values = saved(stores["a"])
        damage(next((tmp_path / "a" / "runs" / RUN / "parts").iterdir()))
        [record] = commits.good_commits(stores["a"], RUN)
        assert mend(stores["a"], record)
        assert (holdfast.load(stores["a"], "r@latest")["w"] == values).all()


def test_what_is_nowhere_is_told_by_rank(tmp_path: Path) -> None:
    with neighbours(tmp_path, list("abc")) as stores:
        saved(stores["a"])
        [record] = commits.good_commits(stores["a"], RUN)
        assert ranks_gone(stores["c"], record) == []
        for name in "abc":
            for pack in packs(tmp_path / name):
                pack.unlink()
        assert ranks_gone(stores["c"], record) == [0]
        with pytest.raises(ChunkMissing) as caught:
            holdfast.load(stores["c"], "r@1")
        told = explained(stores["c"], record, caught.value)
        assert "rank(s) 0 of 1" in str(told) and told.facts["ranks"] == "0"


def test_copies_that_are_missing_are_made_again(tmp_path: Path) -> None:
    with neighbours(tmp_path, list("abc"), copies=2) as stores:
        saved(stores["a"])
        for name in "ac":
            packs(tmp_path / name)[0].unlink()
        Refilling(stores["a"], RUN, 0, 1).close()  # May end before it has begun.
        refilling = Refilling(stores["a"], RUN, 0, 1)
        until(lambda: all(len(packs(tmp_path / name)) == 1 for name in "abc"))
        refilling.close()
        contents = {packs(tmp_path / name)[0].read_bytes() for name in "abc"}
        assert len(contents) == 1


def test_a_save_that_refers_to_old_packs_gives_their_copies_too(tmp_path: Path) -> None:
    with neighbours(tmp_path, ["a", "b"]) as stores:
        frozen, values = np.arange(90_000.0), np.zeros(9)
        holdfast.save(stores["a"], {"f": frozen, "w": values}, run=RUN, step=1)
        packs(tmp_path / "b")[0].unlink()
        holdfast.save(stores["a"], {"f": frozen, "w": values + 1}, run=RUN, step=2)
        assert [p.name for p in packs(tmp_path / "b")] == [p.name for p in packs(tmp_path / "a")]
        assert len(packs(tmp_path / "b")) == 2


def test_what_is_removed_goes_on_all_hosts(tmp_path: Path) -> None:
    with neighbours(tmp_path, ["a", "b"]) as stores:
        saved(stores["a"], 1)
        values = saved(stores["a"], 2)
        holdfast.Store(stores["a"]).remove("r@1")
        assert [c.step for c in commits.good_commits(stores["b"].local, RUN)] == [2]
        until(lambda: len(packs(tmp_path / "b")) == 1)  # Its keeper does so by itself.
        assert (holdfast.load(stores["b"], "r@latest")["w"] == values).all()


def test_why_a_save_was_given_up_is_told_on_all_hosts(tmp_path: Path) -> None:
    with neighbours(tmp_path, ["a", "b", "c"]) as stores:
        key = RunKeys(RUN).given_up("ab" * 16)
        stores["a"].put(key, b"{}")
        assert [store.get(key) for store in stores.values()] == [b"{}"] * 3
        stores["a"].delete([key])
        assert not any(store.exists(key) for store in stores.values())


def test_tags_lie_on_all_hosts(tmp_path: Path) -> None:
    with neighbours(tmp_path, ["a", "b"]) as stores:
        saved(stores["a"])
        holdfast.Store(stores["a"]).tag("r@1", "good")
        assert holdfast.Store(tmp_path / "b").info("r@good").step == 1
        holdfast.Store(stores["a"]).untag("r", "good")
        assert list((tmp_path / "b" / "runs" / RUN / "tags").iterdir()) == []


def test_where_a_copy_cannot_be_put_nothing_is_committed(tmp_path: Path) -> None:
    with neighbours(tmp_path, ["a", "b"]) as stores:
        store = stores["a"]
        store.peers[0]._address = ("127.0.0.1", 1)
        with pytest.raises(PeersUnavailable, match="'b'"):
            saved(store)
        assert commits.good_commits(store.local, RUN) == []
        assert packs(tmp_path / "a") == []


HOSTILE = [
    "holdfast.json",
    "../outside",
    "runs/r/packs/../../../outside",
    "runs/other/packs/" + "0" * 32 + "-00000",
    "runs/r/writer.lock",
    "runs/r/events.jsonl",
    "runs/r/tags/..",
    "runs/r/tags/a/b",
    "runs/r/commits/000000000001/x",
    "runs/r/commits/" + "9" * 300,
    "/etc/passwd",
    "",
]


@pytest.mark.parametrize("key", HOSTILE)
def test_keys_that_are_not_another_hosts_to_name_are_refused(tmp_path: Path, key: str) -> None:
    with neighbours(tmp_path, ["a", "b"]) as stores:
        peer = stores["a"].peers[0]
        before = sorted(path for path in tmp_path.rglob("*"))
        for ask in (
            lambda: peer.put(key, b"x"),
            lambda: peer.put_new(key, b"x"),
            lambda: peer.put_hint(key, b"x"),
            lambda: peer.get(key),
            lambda: peer.exists(key),
            lambda: peer.lacks({key: 1}),
            lambda: peer.list(key),
            lambda: peer.delete([key]),
            lambda: peer.delete_hint(key),
        ):
            with pytest.raises(UsageError, match="not another host's to"):
                ask()
        assert sorted(path for path in tmp_path.rglob("*")) == before


def test_what_any_host_has_is_listed(tmp_path: Path) -> None:
    with neighbours(tmp_path, list("abc")) as stores:
        saved(stores["b"])
        prefix = stores["a"].allowed.keys.packs
        assert len(list(list_everywhere(stores["a"], prefix))) == 1
        assert list(list_everywhere(stores["a"].local, prefix)) == []


def test_another_process_opens_it_by_its_recipe(tmp_path: Path) -> None:
    from holdfast.store import recipe as recipes

    with neighbours(tmp_path, ["a", "b"]) as stores:
        message = json.loads(json.dumps(recipes.to_message(stores["a"].recipe())))
        again = recipes.reopen(message)
        values = saved(again)
        again.hang_up()
        assert (holdfast.load(stores["b"], "r@latest")["w"] == values).all()
        assert "5e5e" not in repr(stores["a"].recipe())
