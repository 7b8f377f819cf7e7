"""Memory of an export does not grow with the checkpoint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import holdfast

MIB = 1 << 20
CHILD = """
import sys
from holdfast.convert import export
from holdfast.convert.registry import format_named
import holdfast, numpy as np

def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) << 10

store, out, format = sys.argv[1:]
holdfast.save(store, {"vars": {"0": np.ones(3, "f4")}}, run="warm", step=0, rng=False)
export(store, "warm@0", out + "-warm", format=format)
before = peak()
export(store, "r@0", out, format=format)
print(peak() - before)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store")
    # One array of 200 MiB and many of 2: neither the array nor all of them are ever held.
    tree = {str(i): np.full((MIB // 2,), i, "f4") for i in range(60)}
    tree["large"] = np.random.default_rng(0).random((50, MIB), "f4")
    holdfast.save(path, {"layers": {"vars": tree}}, run="r", step=0, rng=False)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is told by /proc")
@pytest.mark.parametrize("format", ["hdf5", "keras", "tensorflow", "orbax"])
def test_a_few_chunks_are_held(store: Path, tmp_path: Path, format: str) -> None:
    command = [sys.executable, "-c", CHILD, str(store), str(tmp_path / "o"), format]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # Four readers with a chunk of 32 MiB each, and what is around them.
    assert int(done.stdout) < 180 * MIB
