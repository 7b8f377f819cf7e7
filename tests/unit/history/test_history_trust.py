"""A store under a policy: nothing that is not trusted is used, and nobody is blocked in silence."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer, every, keep
from holdfast.convert import export
from holdfast.errors import NoGoodCheckpoint, RolledBack, Untrusted
from holdfast.records import commits
from holdfast.records.opening import open_store
from holdfast.security.ed25519 import LocalKey

ANNA, EVE = LocalKey.from_seed(b"a" * 32), LocalKey.from_seed(b"e" * 32)
POLICY = holdfast.trust.policy(holdfast.trust.key(ANNA.public_key, name="anna"))


def save(
    path: Path, step: int, by: LocalKey | None, value: int = 0, **options: Any
) -> holdfast.CheckpointInfo:
    info: holdfast.CheckpointInfo = holdfast.save(
        holdfast.Store(path, sign=by),
        {"w": np.full(100, value)},
        run="r",
        step=step,
        rng=False,
        **options,
    )
    return info


@pytest.fixture
def store(store_path: Path) -> holdfast.Store:
    """Two checkpoints of Anna's, then one that nobody has signed, then one of Eve's."""
    save(store_path, 1, ANNA, 1, metrics={"loss": 0.5})
    save(store_path, 2, ANNA, 2, metrics={"loss": 0.4}, tag="good")
    save(store_path, 2, None, 66, metrics={"loss": 0.1}, tag="evil")
    save(store_path, 3, EVE, 66, metrics={"loss": -1.0})
    return holdfast.Store(store_path, trust=POLICY)


@pytest.mark.parametrize(
    ("ref", "value"),
    [("r@latest", 2), ("r@2", 2), ("r@1", 1), ("r@best:loss", 2), ("r@best:loss:max", 1)],
)
def test_a_ref_means_what_is_trusted(
    store: holdfast.Store, ref: str, value: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "holdfast"):
        assert holdfast.load(store, ref)["w"][0] == value
    stepped_over = ref in ("r@latest", "r@2", "r@best:loss")
    assert ("not trusted" in caplog.text) == stepped_over
    assert holdfast.load(store.path, ref)["w"][0] == (66 if stepped_over else value)


def test_latest_names_what_it_steps_over(store: holdfast.Store) -> None:
    state = {"w": np.zeros(100, int)}
    restored = holdfast.load(store, "r@latest", into=state)
    assert restored.ref == "r@2" and restored.info.trust.signers == ("anna",)
    assert len(restored.stepped_over) == 2
    assert "not known" in restored.stepped_over[0] and "not signed" in restored.stepped_over[1]
    assert not any("damaged" in text for text in restored.stepped_over)


@pytest.mark.parametrize("ref", ["r@3", "r@evil"])
def test_what_names_nothing_trusted_is_refused(store: holdfast.Store, ref: str) -> None:
    state = {"w": np.zeros(100, int)}
    with pytest.raises(Untrusted):
        holdfast.load(store, ref, into=state)
    assert not state["w"].any()
    for use in (
        store.leaves,
        lambda r: store.tag(r, "x"),
        lambda r: store.copy(r, "elsewhere"),
        lambda r: export(store, r, "elsewhere", format="safetensors"),
    ):
        with pytest.raises(Untrusted):
            use(ref)
    assert store.info(ref).trust.trusted is False


def test_nothing_trusted_at_all_is_an_error_and_no_beginning(store_path: Path) -> None:
    save(store_path, 1, None)
    store = holdfast.Store(store_path, trust=POLICY)
    with pytest.raises(NoGoodCheckpoint, match="not trusted"):
        holdfast.load(store, "r@latest")
    begun = Checkpointer(store, {"w": np.zeros(100)}, run="r")
    with begun as ckpt, pytest.raises(NoGoodCheckpoint):
        ckpt.restore()
    for use in (lambda: holdfast.load(store, "r@1"), lambda: holdfast.load(store, "r@best:loss")):
        with pytest.raises((Untrusted, holdfast.errors.NotFound)):
            use()


def test_not_a_byte_of_a_part_is_read_of_what_is_not_trusted(
    store: holdfast.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.store.local import LocalStore

    read: list[str] = []
    as_ever = LocalStore.get

    def get(self: LocalStore, key: str) -> bytes:
        read.append(key)
        return as_ever(self, key)

    monkeypatch.setattr(LocalStore, "get", get)
    monkeypatch.setattr(LocalStore, "open", lambda self, key: pytest.fail(f"{key} was opened"))
    for ref in ("r@3", "r@evil"):
        with pytest.raises(Untrusted):
            holdfast.load(store, ref)
    checks = store.verify("r@3").checkpoints
    assert [check.untrusted for check in checks] == [True]
    assert read and not any("/parts/" in key for key in read)


def test_verify_and_log_say_who_is_trusted(store: holdfast.Store) -> None:
    report = store.verify()
    assert [(c.ref, c.ok, c.untrusted) for c in report.checkpoints] == [
        ("r@1", True, False),
        ("r@2", True, False),
        ("r@2", False, True),
        ("r@3", False, True),
    ]
    assert not report.ok and report.problems == ()
    assert [info.trust.trusted for info in store.log("r")] == [True, True, False, False]
    assert holdfast.Store(store.path).verify().ok
    assert [info.trust for info in holdfast.Store(store.path).log("r")] == [None] * 4


def test_retention_cannot_be_steered_by_who_adds_checkpoints(store: holdfast.Store) -> None:
    report = store.prune("r", keep.last(2))
    assert report.removed == []
    assert [info.step for info in store.log("r")] == [1, 2, 2, 3]
    store.prune("r", keep.best("loss"))
    assert [(info.step, info.trust.trusted) for info in store.log("r")] == [
        (2, True),
        (2, False),
        (3, False),
    ]
    store.remove("r@3")
    assert [info.step for info in store.log("r")] == [2, 2]


def test_training_goes_on_from_what_is_trusted_and_keeps_it(store: holdfast.Store) -> None:
    mine = holdfast.Store(store, sign=ANNA)
    w = np.zeros(100, int)
    with Checkpointer(mine, {"w": w}, run="r", save=every(steps=1), keep=keep.last(2)) as ckpt:
        restored = ckpt.restore()
        assert restored.step == 2 and w[0] == 2
        for step in range(ckpt.next_step, 6):
            w += 1
            handle = ckpt.step(step)
            if step == 3:
                handle.wait()
                first = commits.read_commit(open_store(store.path, create=False), "r", 5)
    infos = store.log("r")
    assert [(i.step, i.trust.trusted) for i in infos if i.trust.trusted] == [
        (2, True),  # It has a tag.
        (4, True),
        (5, True),
    ]
    assert [i.step for i in infos if not i.trust.trusted] == [2, 3]
    # What is not trusted is no link of the chain either.
    opened = open_store(store.path, create=False)
    assert [commits.read_commit(opened, "r", i.seq).previous.seq for i in infos[-2:]] == [5, 6]
    assert first.previous.seq == 2
    assert holdfast.load(store, "r@latest")["w"][0] == 5
    assert store.verify("r@5").ok


def test_a_store_is_not_believed_its_checksums_under_a_policy(tmp_path: Path) -> None:
    import base64
    import json

    case = json.loads((Path(__file__).parents[2] / "vectors/malformed.json").read_text())
    files = case["sound"] | case["cases"]["K-digest-wrong"]["files"]
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            text.encode() if isinstance(text, str) else base64.b64decode(text["base64"])
        )
    holdfast.load(tmp_path, "r@1")  # The checksum fits.
    trusting = holdfast.Store(tmp_path, trust=holdfast.trust.policy(unsigned="allow"))
    for use in (
        lambda: holdfast.load(trusting, "r@1"),
        lambda: export(trusting, "r@1", tmp_path / "x.safetensors", format="safetensors"),
    ):
        with pytest.raises(holdfast.errors.ChunkDamaged):
            use()
    assert not (tmp_path / "x.safetensors").exists()


def test_a_copy_is_signed_by_who_makes_it(store: holdfast.Store, tmp_path: Path) -> None:
    other = holdfast.Store(tmp_path / "other", sign=EVE)
    info = store.copy("r@2", other)
    assert info.signed_by == holdfast.Store(other.path).info("r@2").signed_by
    assert store.info("r@3").signed_by == info.signed_by
    with pytest.raises(Untrusted):
        holdfast.load(holdfast.Store(other.path, trust=POLICY), "r@2")


# --- a store that was set back ---


def test_a_head_shows_that_a_run_was_set_back(store_path: Path, tmp_path: Path) -> None:
    for step in (1, 2):
        save(store_path, step, ANNA, step)
    shutil.copytree(store_path, tmp_path / "old")
    save(store_path, 3, ANNA, 3)
    head = holdfast.Store(store_path, trust=POLICY).head("r")
    policy = holdfast.trust.policy(*POLICY.keys, heads={"r": head})
    now = holdfast.Store(store_path, trust=policy)
    assert holdfast.load(now, "r@latest")["w"][0] == 3
    save(store_path, 4, ANNA, 4)
    assert now.verify().ok and now.head("r").seq == 4

    old = holdfast.Store(tmp_path / "old", trust=policy)
    state = {"w": np.zeros(100, int)}
    for ref in ("r@latest", "r@2", "r@1"):
        with pytest.raises(RolledBack, match="set back"):
            holdfast.load(old, ref, into=state)
    with Checkpointer(old, state, run="r") as ckpt, pytest.raises(RolledBack):
        ckpt.restore()
    assert not state["w"].any()
    assert not old.verify().ok and not old.verify("r@2").ok
    # What is only looked at says so, too.
    said = old.history("r").set_back
    assert said is not None and "commit 3 was there before" in said
    assert [branch.summary.set_back for branch in old.lineage()] == [said]
    assert now.history("r").set_back is None and now.lineage()[0].summary.set_back is None
    verdict, before = old.info("r@2").trust, now.info("r@2").trust
    assert verdict is not None and not verdict.trusted and verdict.why == said
    assert before is not None and before.trusted
    assert "set back" in old.history("r")._repr_html_() and "set back" in old._repr_html_()
    shutil.rmtree(tmp_path / "old/runs/r")
    assert not old.verify().ok

    # What goes on from there, signed by the same key, is another history.
    shutil.rmtree(tmp_path / "old")
    shutil.copytree(store_path, tmp_path / "old")
    for seq in (3, 4):
        (tmp_path / f"old/runs/r/commits/{seq:012d}").unlink()
    for step in (3, 4, 5):
        save(tmp_path / "old", step, ANNA, 66)
    with pytest.raises(RolledBack, match="another one"):
        holdfast.load(old, "r@latest")
    (tmp_path / "old/runs/r/commits/000000000003").unlink()
    with pytest.raises(RolledBack, match="had never been"):
        holdfast.load(old, "r@latest")


def test_retention_does_not_break_the_chain(store_path: Path) -> None:
    heads = {}
    for step in range(1, 8):
        save(store_path, step, ANNA, step)
        heads[step] = holdfast.Store(store_path).head("r")
        holdfast.Store(store_path).prune("r", keep.last(2))
    for head in heads.values():
        policy = holdfast.trust.policy(*POLICY.keys, heads={"r": head})
        store = holdfast.Store(store_path, trust=policy)
        assert store.verify().ok
        assert holdfast.load(store, "r@latest")["w"][0] == 7


def test_a_record_that_was_put_in_place_of_another_shows(store_path: Path, tmp_path: Path) -> None:
    save(store_path, 1, ANNA, 1)
    shutil.copytree(store_path, tmp_path / "other")
    for path, value in ((store_path, 2), (tmp_path / "other", 66)):
        save(path, 2, ANNA, value)
    save(store_path, 3, ANNA, 3)
    assert holdfast.Store(store_path).verify().problems == ()
    for name in ("commits", "parts", "packs"):
        shutil.copytree(
            tmp_path / "other/runs/r" / name, store_path / "runs/r" / name, dirs_exist_ok=True
        )
    for store in (holdfast.Store(store_path), holdfast.Store(store_path, trust=POLICY)):
        [problem] = store.verify().problems
        assert "Commit 3" in problem and "another commit 2" in problem
