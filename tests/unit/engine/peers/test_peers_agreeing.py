"""Hosts that start agree on what there is, whatever each of them has lost or missed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

import holdfast
from holdfast.engine.peers.agreeing import Held, agree, fill_up, from_message, held_by, to_message
from holdfast.engine.run_writer import RunWriter
from holdfast.records import commits
from holdfast.store.contract import ObjectStore
from unit.engine.peers.neighbours import RUN, neighbours
from unit.engine.two_ranks import state_of, written


def steps(store: ObjectStore) -> list[int]:
    return [c.step for c in commits.good_commits(store, RUN)]


def test_a_host_that_comes_back_empty_gets_all_records(tmp_path: Path) -> None:
    with neighbours(tmp_path, ["a", "b"]) as stores:
        for step in (1, 2):
            holdfast.save(stores["a"], {"w": np.arange(step)}, run=RUN, step=step)
        holdfast.Store(stores["a"]).tag("r@1", "good")
    with neighbours(tmp_path, ["c", "b"]) as stores:
        held = {name: held_by(store, RUN) for name, store in stores.items()}
        assert held == {name: from_message(to_message(has)) for name, has in held.items()}
        fill_up(stores["c"], RUN, held["c"], agree(held))
        assert steps(stores["c"]) == [1, 2]
        assert holdfast.Store(tmp_path / "c").info("r@good").step == 1
        assert holdfast.load(stores["c"], "r@latest")["w"].tolist() == [0, 1]


def test_of_two_under_one_number_the_later_counts(tmp_path: Path) -> None:
    with neighbours(tmp_path, ["a", "b"]) as stores:
        holdfast.save(stores["a"].local, {"w": 1}, run=RUN, step=1)
        holdfast.save(stores["b"].local, {"w": 2}, run=RUN, step=7)
        held = {name: held_by(store, RUN) for name, store in stores.items()}
        found = agree(held)
        assert [(seq, host) for seq, _, host in found.beaten] == [(1, "a")]
        for name, store in stores.items():
            fill_up(store, RUN, held[name], found)
        assert [steps(store) for store in stores.values()] == [[7], [7]]
        assert holdfast.load(stores["a"], "r@latest")["w"] == 2


def test_what_more_hosts_have_counts_whatever_the_clocks_say() -> None:
    stale, others = Held({3: ("aa", 90)}, ()), Held({3: ("bb", 50)}, ())
    found = agree({"a": stale, "b": others, "c": others})
    assert found.commits == {3: ("bb", "b")} and found.beaten == [(3, "aa", "a")]


def test_a_damaged_record_is_got_from_who_has_it_whole(tmp_path: Path) -> None:
    with neighbours(tmp_path, ["a", "b"]) as stores:
        holdfast.save(stores["a"], {"w": 1}, run=RUN, step=1)
        path = tmp_path / "a" / "runs" / RUN / "commits" / "000000000001"
        path.write_bytes(path.read_bytes()[:50])
        held = {name: held_by(store, RUN) for name, store in stores.items()}
        fill_up(stores["a"], RUN, held["a"], agree(held))
        assert steps(stores["a"]) == [1]


def test_what_rank_0_had_not_committed_when_its_host_was_lost_is(tmp_path: Path) -> None:
    with neighbours(tmp_path, ["a", "b"]) as stores:
        written([stores["a"], stores["b"]], 4)
    shutil.rmtree(tmp_path / "a")
    with neighbours(tmp_path, ["a", "b"]) as stores:
        held = {name: held_by(store, RUN) for name, store in stores.items()}
        assert held["b"].drafts == {f"{4:032x}": 2} and held["a"].drafts == {}
        assert from_message(to_message(held["b"])) == held["b"]
        fill_up(stores["a"], RUN, held["a"], agree(held))
        writer = RunWriter(stores["a"], RUN)
        writer.open(os.getpid())
        writer.close()
        for name, store in stores.items():
            assert steps(store.local) == [4], name
            assert (holdfast.load(store, "r@4")["w"] == state_of(4)["w"]).all()
