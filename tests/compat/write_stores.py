"""Writes the stores of this version, for every later version to read: ``make compat``.

Each release has a folder ``stores/VERSION``, written once, by that release. This refuses to write
into one that is there; ``--again`` does, as long as the version is not released. CONTRIBUTING.md
says when to run it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import saved_states as saved
from in_words import described

import holdfast
from holdfast import Checkpointer, Store, every
from holdfast.oneshot import Compress

STORES = Path(__file__).with_name("stores")
PASSPHRASE = "a key for the tests, and for nothing else"
STEPS = (1, 2)
Expected = dict[str, dict[str, Any]]


def plain(folder: Path) -> Expected:
    """Checkpoints of a run, and what can be beside them."""
    store = Store(folder / "plain")
    expected = _steps(store, config={"rate": 0.1, "layers": [1, 2]}, dataset="sha256:00")
    store.tag("run@2", "best model")
    store.tag("run@1", "model_v1", fixed=True)
    store.note("run@1", "the first", {"checked": True})
    store.note("run", "a run")
    expected["run@1"] |= {"tags": ["model_v1"], "notes": ["the first"], "values": {"checked": True}}
    expected["run@2"] |= {"tags": ["best model"]}
    return expected


def planes(folder: Path) -> Expected:
    """Arrays in byte planes: format 2."""
    return _steps(Store(folder / "planes"), compress="planes")


def delta(folder: Path) -> Expected:
    """Arrays as differences from the checkpoint before."""
    return _steps(Store(folder / "delta"), compress="delta")


def encrypted(folder: Path) -> Expected:
    """Sealed for a passphrase and for the holder of an identity."""
    holdfast.keys.new_identity(folder / "test.key")
    identity = holdfast.keys.identity(folder / "test.key")
    holders = [identity, holdfast.keys.passphrase(PASSPHRASE)]
    return _steps(Store(folder / "encrypted", keys=holders), compress="planes")


def signed(folder: Path) -> Expected:
    """Signed; only the public key is kept."""
    key = folder / "signer.pem"
    holdfast.signing.new_key_file(key)
    expected = _steps(Store(folder / "signed", sign=holdfast.signing.key_file(key)))
    key.unlink()
    return expected


def bundle(folder: Path) -> Expected:
    """One checkpoint as one file."""
    with tempfile.TemporaryDirectory() as elsewhere:
        expected = _steps(Store(elsewhere))
        Store(elsewhere).copy("run@2", str(folder / "bundle.holdfast"))
    return {"run@2": expected["run@2"]}


def training(folder: Path) -> Expected:
    """A run of PyTorch's objects, with the metrics of every step."""
    objects = saved.training()
    expected = {}
    with Checkpointer(folder / "training", objects, run="run", save=every(steps=1)) as ckpt:
        for step in STEPS:
            metrics = {"loss": saved.train(objects)}
            ckpt.step(step, metrics=metrics)
            expected[f"run@{step}"] = _expected(saved.state_of(objects), metrics)
            expected[f"run@{step}"]["generator"] = saved.generator()
    return expected


WRITERS: tuple[Callable[[Path], Expected], ...] = (
    *(plain, planes, delta, encrypted, signed, bundle, training),
)


def _steps(store: Store, compress: Compress = "none", **more: Any) -> Expected:
    expected = {}
    for step in STEPS:
        state, metrics = saved.everything(step), {"loss": 1.0 / step, "worst": float("inf")}
        holdfast.save(
            store, state, run="run", step=step, metrics=metrics, compress=compress, **more
        )
        expected[f"run@{step}"] = _expected(state, metrics)
    return expected


def _expected(state: dict[str, Any], metrics: dict[str, float]) -> dict[str, Any]:
    return {"metrics": metrics, "state": described(state)}


@contextlib.contextmanager
def _nowhere() -> Iterator[None]:
    """Tell checkpoints nothing of the machine that they are made on."""
    before, host, argv = Path.cwd(), socket.gethostname, sys.orig_argv
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # No repository is here.
        socket.gethostname = lambda: "kelp"
        sys.orig_argv = ["python", "train.py"]
        try:
            yield
        finally:
            socket.gethostname, sys.orig_argv = host, argv
            os.chdir(before)


def write(folder: Path) -> None:
    """Write all stores into a folder, with what is to be read from them."""
    with _nowhere():
        expected = {writer.__name__: writer(folder) for writer in WRITERS}
    for path in _left_out(folder):
        path.unlink()
    text = json.dumps(expected, indent=1, ensure_ascii=False, sort_keys=True)
    (folder / "expected.json").write_text(f"{text}\n", encoding="utf-8")


def _left_out(folder: Path) -> list[Path]:
    """Return what names this machine and its processes, and caches, of which one is enough."""
    catalogs = [path for path in folder.glob("*/catalog.sqlite") if path.parent.name != "plain"]
    return [*folder.rglob("writer.lock"), *catalogs]


def main() -> None:
    folder = STORES / holdfast.__version__
    if folder.exists() and sys.argv[1:] != ["--again"]:
        raise SystemExit(f"{folder} is there. What a release has written stays as it is.")
    with tempfile.TemporaryDirectory() as new:
        write(Path(new))
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(new, folder)


if __name__ == "__main__":
    main()
