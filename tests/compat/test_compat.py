"""What any release has written is read, verified, listed and built on by this version."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import saved_states as saved
from in_words import described
from write_stores import PASSPHRASE, WRITERS
from written_stores import STORES, Written, releases

import holdfast
from holdfast import Checkpointer, Store, keep


def read_back(store: Store, expected: dict[str, dict[str, object]]) -> None:
    for ref, what in expected.items():
        assert described(holdfast.load(store, ref, verify="full")) == what["state"]


def test_this_version_has_written_its_stores() -> None:
    assert set(releases()[holdfast.__version__]) == {writer.__name__ for writer in WRITERS}


def test_every_checkpoint_is_what_was_saved(written: Written) -> None:
    read_back(written.store, written.expected)


def test_every_byte_is_verified(written: Written) -> None:
    report = written.store.verify()
    assert report.ok, report.problems
    assert {check.ref for check in report.checkpoints} == set(written.expected)
    assert report.checked_bytes > 1000


def test_logs_tell_what_was_told(written: Written) -> None:
    (run,) = written.store.runs()
    found = {info.ref: info for info in written.store.log(run)}
    assert list(found) == list(written.expected)
    for ref, expected in written.expected.items():
        info = found[ref]
        assert info.metrics == expected["metrics"]
        assert info.environment["host"] == "kelp"
        assert list(info.tags) == expected.get("tags", [])
        assert list(info.notes) == expected.get("notes", [])
        assert info.values == expected.get("values", {})
        assert bool(info.signed_by) == (written.name == "signed")
        assert len(written.store.leaves(ref)) == info.n_leaves


def test_checkpoints_can_be_copied_to_a_store_of_this_version(
    written: Written, tmp_path: Path
) -> None:
    other = Store(tmp_path / "other")
    for ref in written.expected:
        written.store.copy(ref, other)
    assert other.verify().ok
    read_back(other, written.expected)


def test_new_checkpoints_stand_on_old_ones_and_stay_when_those_go(
    written: Written, tmp_path: Path
) -> None:
    if written.name == "bundle":
        with pytest.raises(holdfast.errors.HoldfastError):
            holdfast.save(written.store, saved.everything(9), run="run", step=9)
        return
    state, store = saved.everything(9), writable(written, tmp_path)
    compress = written.name if written.name in ("planes", "delta") else "none"
    info = holdfast.save(store, state, run="run", step=9, compress=compress)
    old = [commit for commit in store.log("run") if commit.step != 9]
    assert info.seq == old[-1].seq + 1
    read_back(store, written.expected)
    store.prune("run", keep.last(1))
    assert "run@9" in [found.ref for found in store.log("run")]
    assert store.verify().ok
    assert described(holdfast.load(store, "run@9")) == described(state)


def writable(written: Written, tmp_path: Path) -> Store:
    """Return the store such that it can be saved to: the key of what was signed is not kept."""
    if written.name != "signed":
        return written.store
    new = tmp_path / "new.pem"
    holdfast.signing.new_key_file(new)
    trusted = [written.folder / "signer.pem.pub", f"{new}.pub"]
    policy = holdfast.trust.policy(*map(holdfast.trust.key, trusted))
    return Store(written.store, sign=holdfast.signing.key_file(new), trust=policy)


@pytest.fixture(params=list(releases()))
def release(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of a release, copied."""
    return Path(shutil.copytree(STORES / request.param, tmp_path / request.param))


def test_a_training_run_goes_on(release: Path) -> None:
    expected = releases()[release.name]["training"]
    newest = list(expected)[-1]
    objects = saved.training()
    with Checkpointer(release / "training", objects, run="run") as ckpt:
        restored = ckpt.restore()
        assert restored is not None and restored.ref == newest
        assert described(saved.state_of(objects)) == expected[newest]["state"]
        assert saved.generator() == expected[newest]["generator"]
        step = ckpt.next_step
        loss = saved.train(objects)
        ckpt.step(step, metrics={"loss": loss})
        ckpt.save(step).wait()
    store = Store(release / "training")
    read_back(store, expected)
    losses = [told["metrics"]["loss"] for told in expected.values()]
    assert np.array_equal(store.curves("run")["loss"].values, [*losses, loss])


def test_a_passphrase_opens_what_was_sealed_with_it(release: Path) -> None:
    store = Store(release / "encrypted", keys=holdfast.keys.passphrase(PASSPHRASE))
    read_back(store, releases()[release.name]["encrypted"])
    with pytest.raises(holdfast.errors.HoldfastError):
        Store(release / "encrypted", keys=holdfast.keys.passphrase("another")).runs()


def test_the_command_reads_them(release: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", "--store", str(release / "plain"), "verify"],
        env={k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "run@1" in done.stdout and "run@2" in done.stdout
