"""Keras on each of its backends, in a process for each; the checks are in keras_checks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from absent import needs_package

needs_package("keras")

# HOLDFAST_FRAMEWORKS=full asks every backend everything, and kills fit in more places.
FULL = os.environ.get("HOLDFAST_FRAMEWORKS") == "full"
SHORT = ["fit_goes_on_in_the_middle_of_an_epoch", "another_backend_can_take_it"]
CHECKS = Path(__file__).with_name("keras_checks.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all backends: a checkpoint of the first is for the others."""
    return tmp_path_factory.mktemp("keras")


@pytest.mark.parametrize("backend", ["jax", "torch", "tensorflow"])
def test_everything_holds_on(backend: str, folder: Path) -> None:
    needs_package(backend)
    env = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
        "OMP_NUM_THREADS": "1",
        # The same model is made again and again, and compiling takes JAX most of the time.
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    names = [] if FULL or backend == "jax" else SHORT
    command = [sys.executable, str(CHECKS), str(folder / backend), *names]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.count("good:") == (len(names) or 14)
