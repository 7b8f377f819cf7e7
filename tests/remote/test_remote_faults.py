"""Saves to a server that cuts, refuses, forgets and delays: committed, or clearly failed."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer, every, keep
from holdfast.errors import HoldfastError, NoSpace, StoreUnavailable
from holdfast.store.remote import RemoteStore
from remote.trouble import (
    AFTERWARDS,
    CUT,
    ERROR,
    FULL,
    HALF,
    KINDS,
    LOST,
    NOTHING,
    Trouble,
    between,
)


def is_creation(method: str, headers: dict[str, str]) -> bool:
    return method == "PUT" and "if-none-match" in headers


@pytest.mark.parametrize("kind", [LOST, CUT, ERROR])
def test_commits_whose_answer_is_lost_are_made_once(
    kind: str, server: str, bucket: str, settings: dict[str, str]
) -> None:
    seen: set[str] = set()

    def plan(method: str, path: str, headers: dict[str, str]) -> str:
        # The first try of each creation of a commit.
        if not is_creation(method, headers) or "/commits/" not in path or path in seen:
            return NOTHING
        seen.add(path)
        return kind

    trouble = Trouble(plan)
    with between(server, trouble) as address:
        store = RemoteStore(f"s3://{bucket}/x", settings | {"endpoint": address}, retry_s=20)
        state = {"w": np.zeros(100_000)}
        with Checkpointer(store, state, run="r", save=every(steps=1)) as ckpt:
            for step in range(3):
                state["w"] += 1
                ckpt.step(step)
                ckpt.wait()
    assert [what for what, _, _ in trouble.done].count(kind) == 3
    plain = RemoteStore(f"s3://{bucket}/x", settings)
    assert [info.step for info in holdfast.Store(plain).log("r")] == [0, 1, 2]
    assert holdfast.Store(plain).verify().ok


@pytest.mark.parametrize(
    "part", ["/.probe/", "uploadId", "/writer.lock", "holdfast.json", "/pins/"]
)
@pytest.mark.parametrize("kind", [LOST, CUT])
def test_one_lost_answer_fails_no_save(
    kind: str, part: str, server: str, bucket: str, settings: dict[str, str]
) -> None:
    seen: set[str] = set()

    def plan(method: str, path: str, headers: dict[str, str]) -> str:
        if method not in ("PUT", "POST") or part not in path or path in seen:
            return NOTHING
        seen.add(path)
        return kind

    trouble = Trouble(plan)
    wanted = np.random.default_rng(0).standard_normal(3_000_000)
    with between(server, trouble) as address:
        store = RemoteStore(f"s3://{bucket}/x", settings | {"endpoint": address}, retry_s=20)
        holdfast.save(store, {"w": wanted}, run="r", step=1)
    assert trouble.done
    plain = RemoteStore(f"s3://{bucket}/x", settings)
    assert np.array_equal(holdfast.load(plain, "r@1")["w"], wanted)


def test_a_full_bucket_is_told_and_can_be_pruned(
    server: str, bucket: str, settings: dict[str, str]
) -> None:
    plain = RemoteStore(f"s3://{bucket}/x", settings)
    for step in range(3):
        holdfast.save(plain, {"w": np.full(100_000, step)}, run="r", step=step)

    def plan(method: str, path: str, headers: dict[str, str]) -> str:
        return FULL if method == "PUT" else NOTHING

    with between(server, Trouble(plan)) as address:
        store = RemoteStore(f"s3://{bucket}/x", settings | {"endpoint": address}, retry_s=5)
        with pytest.raises(NoSpace, match="no room left"):
            holdfast.save(store, {"w": np.zeros(100_000)}, run="r", step=3)
        held = sum(info.size for info in plain.list("runs/r/packs/"))
        holdfast.Store(store).prune("r", keep.last(1))
    found = holdfast.Store(plain)
    assert [info.step for info in found.log("r")] == [2] and found.verify().ok
    assert sum(info.size for info in plain.list("runs/r/packs/")) < held


@pytest.mark.parametrize("seed", range(2))
def test_whatever_goes_wrong_it_is_committed_or_clearly_failed(
    seed: int, server: str, bucket: str, settings: dict[str, str]
) -> None:
    chance = random.Random(seed)

    def plan(method: str, path: str, headers: dict[str, str]) -> str:
        return chance.choice(KINDS) if chance.random() < 0.15 else NOTHING

    trouble = Trouble(plan)
    durable: list[int] = []
    with between(server, trouble) as address:
        # Little patience, so that some fail.
        store = RemoteStore(f"s3://{bucket}/x", settings | {"endpoint": address}, retry_s=1)
        for step in range(6):
            try:
                holdfast.save(store, {"w": np.full(200_000, step)}, run="r", step=step)
                durable.append(step)
            except HoldfastError:
                pass
    assert trouble.done
    plain = holdfast.Store(RemoteStore(f"s3://{bucket}/x", settings))
    found = [info.step for info in plain.log("r")]
    assert set(durable) <= set(found)
    assert not found or plain.verify().ok
    for step in found:
        assert np.array_equal(holdfast.load(plain, f"r@{step}")["w"], np.full(200_000, step))


def test_a_commit_that_is_carried_out_late_is_whole(
    server: str, bucket: str, settings: dict[str, str]
) -> None:
    def plan(method: str, path: str, headers: dict[str, str]) -> str:
        return AFTERWARDS if method == "PUT" and "/commits/" in path else NOTHING

    with between(server, Trouble(plan)) as address:
        store = RemoteStore(f"s3://{bucket}/x", settings | {"endpoint": address}, retry_s=0.5)
        with pytest.raises(StoreUnavailable):
            holdfast.save(store, {"w": np.arange(200_000)}, run="r", step=1)
    plain = holdfast.Store(RemoteStore(f"s3://{bucket}/x", settings))
    deadline = time.monotonic() + 60
    while "r" not in plain.runs() or not plain.log("r"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert plain.verify().ok and np.array_equal(
        holdfast.load(plain, "r@1")["w"], np.arange(200_000)
    )


def test_answers_that_are_cut_short_are_asked_for_again(
    server: str, bucket: str, settings: dict[str, str]
) -> None:
    wanted = np.random.default_rng(0).standard_normal(400_000)
    holdfast.save(RemoteStore(f"s3://{bucket}/x", settings), {"w": wanted}, run="r", step=1)
    seen: set[str] = set()

    def plan(method: str, path: str, headers: dict[str, str]) -> str:
        is_first = method == "GET" and path not in seen
        seen.add(path)
        return HALF if is_first else NOTHING

    trouble = Trouble(plan)
    with between(server, trouble) as address:
        store = RemoteStore(f"s3://{bucket}/x", settings | {"endpoint": address}, retry_s=20)
        assert np.array_equal(holdfast.load(store, "r@1")["w"], wanted)
    assert trouble.done


def test_a_server_that_forgets_conditions_is_found_out(
    server: str, bucket: str, settings: dict[str, str]
) -> None:
    with between(server, Trouble(forgets_conditions=True)) as address:
        store = RemoteStore(f"s3://{bucket}/x", settings | {"endpoint": address}, retry_s=5)
        with pytest.raises(StoreUnavailable, match="ignores the condition"):
            holdfast.save(store, {"w": np.zeros(3)}, run="r", step=1)
        assert list(RemoteStore(f"s3://{bucket}/x", settings).list("")) == []
