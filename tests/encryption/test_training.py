"""Training with an encrypted store dies and resumes as with any other: bit for bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from absent import needs_package
from holdfast import Store, load
from holdfast.demo.compare import compare
from holdfast.security.keys import Identity

needs_package("torch")
SCRIPT = Path(__file__).parents[1] / "resume" / "resumable_training.py"


def train(store: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--store", str(store), "--steps", "12", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_resumed_after_a_kill_it_ends_where_it_would_have_ended(
    tmp_path: Path, me: Identity, key_files: dict[str, Path]
) -> None:
    assert train(tmp_path / "plain").returncode == 0
    sealed = ["--identity", str(key_files["me"])]
    killed = train(tmp_path / "sealed", *sealed, "--die-after", "5")
    assert killed.returncode == -9, killed.stderr
    resumed = train(tmp_path / "sealed", *sealed)
    assert resumed.returncode == 0, resumed.stderr
    assert "RESTORED 5" in resumed.stdout
    store = Store(tmp_path / "sealed", keys=me)
    expected, found = load(tmp_path / "plain", "r@final"), load(store, "r@final")
    generators = [state["own"].pop("rng").bit_generator.state for state in (expected, found)]
    assert compare(found, expected).differences == [] and generators[0] == generators[1]
    assert store.verify().ok
