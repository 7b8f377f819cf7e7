"""What goes over the network, and how often."""

from __future__ import annotations

import re

import numpy as np
import pytest

import holdfast
from holdfast.store.remote import RemoteStore
from remote.trouble import NOTHING, Trouble, between


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_a_load_in_place_fetches_once(
    sealed: bool, server: str, bucket: str, settings: dict[str, str]
) -> None:
    fetched: list[int] = []

    def plan(method: str, path: str, headers: dict[str, str]) -> str:
        if method == "GET" and "/packs/" in path:
            begin, end = re.fullmatch(r"bytes=(\d+)-(\d+)", headers["range"]).groups()  # type: ignore[union-attr]
            fetched.append(int(end) + 1 - int(begin))
        return NOTHING

    keys = holdfast.keys.passphrase("a long passphrase") if sealed else None
    wanted = np.random.default_rng(0).standard_normal(2_000_000)
    plain = RemoteStore(f"s3://{bucket}/x", settings)
    holdfast.save(holdfast.Store(plain, keys=keys), {"w": wanted}, run="r", step=1)
    target = {"w": np.zeros(2_000_000)}
    with between(server, Trouble(plan)) as address:
        store = RemoteStore(f"s3://{bucket}/x", settings | {"endpoint": address}, retry_s=20)
        holdfast.load(holdfast.Store(store, keys=keys), "r@1", into=target)
    assert np.array_equal(target["w"], wanted)
    # The first stretch of a pack comes along when it is opened.
    assert wanted.nbytes <= sum(fetched) <= wanted.nbytes + (2 << 20)
