"""Real stores, made with the package."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_running import Ran, environment, files, flip_byte

from holdfast.cli import main, output


@pytest.fixture(autouse=True)
def fresh_consoles():
    """The consoles write to what stdout and stderr are in this test."""
    output.stdout.cache_clear()
    output.stderr.cache_clear()


@pytest.fixture
def here(monkeypatch, capsys):
    """Runs the command in this process: quicker, where nothing depends on its being another."""

    def run(*arguments: object, store: Path | None = None, **env: str) -> Ran:
        fresh = environment(HOLDFAST_STORE=None if store is None else str(store), **env)
        for name in os.environ.keys() - fresh.keys():
            monkeypatch.delenv(name)
        for name, value in fresh.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["holdfast", *map(str, arguments)])
        output.stdout.cache_clear()
        output.stderr.cache_clear()
        handlers = list(logging.getLogger("holdfast").handlers)
        capsys.readouterr()
        try:
            status = main()
        finally:
            logging.getLogger("holdfast").handlers = handlers
        said = capsys.readouterr()
        return Ran(status, said.out, said.err)

    return run


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two runs; nobody changes it."""
    import holdfast as package

    store = tmp_path_factory.mktemp("cli") / "ckpts"
    random = np.random.default_rng(0)
    state = {
        "model": {"weight": random.random((64, 32), "f4"), "bias": np.zeros(32, "f4")},
        "lr": 0.5,
        "note": "[red]plain[/red]",
    }
    losses = {100: 0.9, 200: 0.4, 300: float("nan"), 400: 0.6}
    for step, loss in losses.items():
        state["model"]["weight"] = state["model"]["weight"] + 1
        metrics = {"val_loss": loss, "accuracy": step / 1000}
        tag = "best_model_v1" if step == 200 else None
        package.save(store, state, run="gpt", step=step, metrics=metrics, tag=tag)
    package.save(store, {"w": np.arange(5)}, run="probe", step=7)
    return store


@pytest.fixture
def store(pristine: Path, tmp_path: Path) -> Path:
    """A store of one's own, to change."""
    return Path(shutil.copytree(pristine, tmp_path / "ckpts"))


@pytest.fixture
def damaged(store: Path) -> Path:
    """A store in which one byte of gpt@400's own weight is flipped."""
    import holdfast as package

    weight = package.load(store, "gpt@400")["model"]["weight"].tobytes()
    [pack] = [file for file in files(store) if weight in file.read_bytes()]
    flip_byte(pack, pack.read_bytes().index(weight) + 100)
    return store
