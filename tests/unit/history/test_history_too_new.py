"""Commits of a newer format: not damaged, not stepped over in silence, believed by signature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer
from holdfast.errors import NoGoodCheckpoint, RolledBack, StoreTooNew
from holdfast.format import commit as commit_format
from holdfast.format import envelope
from holdfast.format.names import RunKeys
from holdfast.history.chain import head_of
from holdfast.records import commits
from holdfast.security.authenticity import Authenticity
from holdfast.security.ed25519 import LocalKey
from holdfast.store.local import LocalStore

ANNA, EVE = LocalKey.from_seed(b"a" * 32), LocalKey.from_seed(b"e" * 32)
POLICY = holdfast.trust.policy(holdfast.trust.key(ANNA.public_key, name="anna"))
RUN = "r"


def save(path: Path, step: int, by: LocalKey | None = ANNA, **more: Any) -> None:
    tree = {"w": np.full(100, step)}
    holdfast.save(holdfast.Store(path, sign=by), tree, run=RUN, step=step, rng=False, **more)


def make_newer(path: Path, by: LocalKey | None = ANNA, **changes: object) -> None:
    """Let the newest commit be one of format 2, as a later version of holdfast might write it."""
    store = LocalStore(path)
    seq = commits.sequence_numbers(store, RUN)[-1]
    opened = commits.read_commit(store, RUN, seq).envelope
    assert opened is not None
    predicate = {**opened.payload["predicate"], "format": 2, **changes}  # type: ignore[dict-item]
    payload = {**opened.payload, "predicate": predicate}
    sign = Authenticity((by,)).sign if by is not None else None
    store.put(RunKeys(RUN).commit(seq), envelope.wrap(commit_format.PAYLOAD_TYPE, payload, sign))


def fill(path: Path, by: LocalKey | None = ANNA, **changes: object) -> None:
    save(path, 1, metrics={"loss": 0.5})
    save(path, 2, metrics={"loss": 0.4}, tag="mine")
    save(path, 3, metrics={"loss": 0.3}, tag="newest")
    make_newer(path, by, **changes)


@pytest.mark.parametrize("trust", [None, POLICY])
@pytest.mark.parametrize("what", ["latest", "best:loss", "3", "newest"])
def test_a_ref_that_may_mean_it_says_to_upgrade(tmp_path: Path, what: str, trust: Any) -> None:
    fill(tmp_path)
    store = holdfast.Store(tmp_path, trust=trust)
    for ask in (store.info, store.leaves, lambda ref: holdfast.load(store, ref), store.remove):
        with pytest.raises(StoreTooNew, match="upgrade") as caught:
            ask(f"{RUN}@{what}")
        assert "damaged" not in str(caught.value)
    assert store.info(f"{RUN}@2").step == 2 == store.info(f"{RUN}@mine").step
    ckpt = Checkpointer(store, {"w": np.zeros(100)}, run=RUN, rng=False)
    with ckpt, pytest.raises(StoreTooNew):
        ckpt.restore()


def test_one_that_is_not_trusted_is_stepped_over_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Else whoever can add a commit could block the run for all who ask for trust."""
    for number, (by, changes) in enumerate([(None, {}), (EVE, {}), (ANNA, {"run": "other"})]):
        path = tmp_path / str(number)
        fill(path, by, **changes)
        store = holdfast.Store(path, trust=POLICY)
        caplog.clear()
        assert holdfast.load(store, f"{RUN}@latest")["w"][0] == 2
        assert "newer format, and not trusted" in caplog.text and "damaged" not in caplog.text
        caplog.clear()
        assert holdfast.load(store, f"{RUN}@best:loss")["w"][0] == 2
        assert "newer format, and not trusted" in caplog.text
        [check] = [c for c in store.verify().checkpoints if not c.ok]
        assert check.untrusted and not check.too_new
        state = {"w": np.zeros(100, np.int64)}
        with Checkpointer(store, state, run=RUN, rng=False) as ckpt:
            restored = ckpt.restore()
        assert restored is not None and restored.info.step == 2 and len(restored.stepped_over) == 1


def test_a_head_that_is_too_new_is_no_roll_back(tmp_path: Path) -> None:
    fill(tmp_path)
    head = head_of(LocalStore(tmp_path), RUN, POLICY)
    assert head.seq == 3
    store = holdfast.Store(tmp_path, trust=holdfast.trust.policy(*POLICY.keys, heads={RUN: head}))
    assert store.head(RUN) == head
    with pytest.raises(StoreTooNew):
        store.info(f"{RUN}@latest")
    report = store.verify()
    assert not report.problems
    assert [c.too_new for c in report.checkpoints] == [False, False, True]
    (tmp_path / RunKeys(RUN).commit(3)).unlink()
    with pytest.raises(RolledBack):
        holdfast.load(store, f"{RUN}@2")


ODD = [
    {"previous": "told in another way"},
    {"previous": {"seq": -1, "blake3": "x"}, "created_ns": 10**40},
    {"previous": None, "created_ns": "yesterday"},
]


@pytest.mark.parametrize("changes", [{}, *ODD])
def test_who_goes_on_behind_it_keeps_the_chain(tmp_path: Path, changes: dict[str, Any]) -> None:
    fill(tmp_path, **changes)
    head = head_of(LocalStore(tmp_path), RUN, POLICY)
    save(tmp_path, 4)
    store = holdfast.Store(tmp_path, trust=holdfast.trust.policy(*POLICY.keys, heads={RUN: head}))
    assert store.info(f"{RUN}@latest").step == 4
    assert not store.verify().problems


def test_where_all_are_too_new(tmp_path: Path) -> None:
    save(tmp_path, 1)
    make_newer(tmp_path)
    for trust in (None, POLICY):
        with pytest.raises(StoreTooNew):
            holdfast.Store(tmp_path, trust=trust).info(f"{RUN}@latest")
    save(tmp_path / "eve", 1)
    make_newer(tmp_path / "eve", EVE)
    with pytest.raises(NoGoodCheckpoint, match="not trusted"):
        holdfast.load(holdfast.Store(tmp_path / "eve", trust=POLICY), f"{RUN}@latest")


def test_a_damaged_newest_one_is_told_when_the_latest_is_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    path = tmp_path / RunKeys(RUN).commit(2)
    path.write_bytes(path.read_bytes()[:-5])
    assert holdfast.Store(tmp_path).info(f"{RUN}@latest").step == 1
    assert "latest means step 1" in caplog.text and "cannot be read" in caplog.text
