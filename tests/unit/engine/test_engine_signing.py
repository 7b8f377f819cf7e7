"""Signing across the two processes: keys that travel, signers that stay, trainers that die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer
from holdfast.errors import SigningFailed
from holdfast.security.ed25519 import LocalKey, key_id

KEY = LocalKey.from_seed(b"k" * 32)


class Own:
    """A signer that stays in the trainer, and notes where it was asked."""

    def __init__(self) -> None:
        self.public_key = KEY.public_key
        self.asked: list[int] = []
        self.is_out_of_order = False

    def sign(self, message: bytes) -> bytes:
        self.asked.append(os.getpid())
        if self.is_out_of_order:
            raise TimeoutError("the token was pulled out")
        return KEY.sign(message)


def committed(path: Path) -> list[holdfast.CheckpointInfo]:
    found: list[holdfast.CheckpointInfo] = holdfast.Store(path).log("r")
    return found


def test_both_kinds_of_signers_sign_in_training(store_path: Path) -> None:
    own, other = Own(), LocalKey.from_seed(b"o" * 32)
    store = holdfast.Store(store_path, sign=[own, other])
    with Checkpointer(store, {"w": np.zeros(10)}, run="r") as ckpt:
        info = ckpt.save(1).wait()
        ckpt.save(2).wait()
    ids = sorted(key_id(key) for key in (own.public_key, other.public_key))
    assert list(info.signed_by) == ids
    assert [list(found.signed_by) for found in committed(store_path)] == [ids, ids]
    assert own.asked == [os.getpid()] * 2
    events = (store_path / "runs/r/events.jsonl").read_text().split("\n")
    saved = [e for e in map(json.loads, filter(None, events)) if e["event"] == "saved"]
    assert [event["signed_by"] for event in saved] == [ids, ids]


def test_the_persister_is_told_no_secret_where_others_can_read_it(store_path: Path) -> None:
    store = holdfast.Store(store_path, sign=KEY)
    with Checkpointer(store, {"w": np.zeros(10)}, run="r") as ckpt:
        ckpt.save(1).wait()
        pid = ckpt._saver.client.pid
        for name in ("cmdline", "environ"):
            shown = Path(f"/proc/{pid}/{name}").read_bytes()
            assert shown
            for secret in (KEY.seed, KEY.seed.hex().encode()):
                assert secret not in shown
    for path in store_path.rglob("*"):
        if path.is_file():
            assert KEY.seed.hex().encode() not in path.read_bytes()


def test_a_signer_that_fails_is_told_and_training_goes_on(store_path: Path) -> None:
    own = Own()
    store = holdfast.Store(store_path, sign=own)
    with Checkpointer(store, {"w": np.zeros(10)}, run="r") as ckpt:
        own.is_out_of_order = True
        with pytest.raises(SigningFailed, match="the token was pulled out"):
            ckpt.save(1).wait()
        ckpt.save(1)
        ckpt._saver.wait()
        with pytest.raises(SigningFailed):  # As any failed save that nobody waited for.
            ckpt.step(2)
        own.is_out_of_order = False
        ckpt.save(2).wait()
    assert [(info.step, len(info.signed_by)) for info in committed(store_path)] == [(2, 1)]


TRAINER = """
    import os, sys, time
    import holdfast, numpy as np
    from holdfast.security.ed25519 import LocalKey

    class Asleep:
        public_key = LocalKey.from_seed(b"k" * 32).public_key
        def sign(self, message):
            print("asked", flush=True)
            time.sleep(600)

    signers = [LocalKey.from_seed(b"f" * 32)] if "file" in sys.argv else []
    signers += [Asleep()] if "own" in sys.argv else []
    store = holdfast.Store(sys.argv[1], sign=signers)
    ckpt = holdfast.Checkpointer(store, {"w": np.zeros(10)}, run="r")
    if "fork" in sys.argv and not (child := os.fork()):
        time.sleep(600)  # It holds the trainer's end of the channel open.
    print(child if "fork" in sys.argv else 0, flush=True)
    ckpt.save(1)
    if "own" not in sys.argv:
        print("saved", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize(
    "kinds", [["own"], ["own", "fork"], ["file", "own"], ["file"]], ids="+".join
)
def test_the_trainer_dies_before_it_has_signed(store_path: Path, kinds: list[str]) -> None:
    trainer: subprocess.Popen[str] = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(TRAINER), str(store_path), *kinds],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert trainer.stdout is not None
    with trainer:
        child = int(trainer.stdout.readline())
        assert trainer.stdout.readline().strip() in ("asked", "saved")
        trainer.send_signal(signal.SIGKILL)
    expected = [key_id(LocalKey.from_seed(b"f" * 32).public_key)] if "file" in kinds else []
    info = _wait_for_commit(store_path)
    if child:
        os.kill(child, signal.SIGKILL)
    assert list(info.signed_by) == expected
    # It can be signed afterwards, once somebody has looked at it.
    assert len(holdfast.Store(store_path, sign=KEY).sign("r@1").signed_by) == len(expected) + 1


def _wait_for_commit(path: Path) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if list(path.glob("runs/r/commits/0*")):
            return committed(path)[0]
        time.sleep(0.02)
    raise AssertionError("the persister did not commit")


def test_another_persister_signs_as_the_first_did(store_path: Path) -> None:
    own = Own()
    with Checkpointer(holdfast.Store(store_path, sign=own), {"w": np.zeros(10)}, run="r") as ckpt:
        ckpt.save(1).wait()
        os.kill(ckpt._saver.client.pid, signal.SIGKILL)
        ckpt.save(2).wait()
    assert [len(info.signed_by) for info in committed(store_path)] == [1, 1]
    assert holdfast.Store(store_path).verify().ok
