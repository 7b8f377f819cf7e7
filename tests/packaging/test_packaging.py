"""What is handed out: what is in it, what it brings along, whether it works once installed."""

from __future__ import annotations

import os
import re
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from installing import FULL, ROOT, Installed, build, install, run

import holdfast

MB = 1_000_000

# Saves, loads and verifies, from a folder in which no source of holdfast's is.
ROUND_TRIP = """
import numpy as np, holdfast
state = {"w": np.linspace(-1, 1, 5000, dtype="f4"), "step": 3, "name": "probe"}
key = holdfast.signing.new_key_file("signer.pem")
policy = holdfast.trust.policy(holdfast.trust.key(key.public_key))
for store in ("ckpts", holdfast.Store("signed", sign=key, trust=policy)):
    holdfast.save(store, state, run="probe", step=3, metrics={"loss": 0.5}, compress="planes")
    tree = holdfast.load(store, "probe@best:loss", verify="full")
    assert tree["w"].tobytes() == state["w"].tobytes() and tree["name"] == "probe", tree
    assert holdfast.Store(store).verify().ok
with holdfast.Checkpointer("ckpts", state, run="train", save=holdfast.every(steps=1)) as ckpt:
    ckpt.step(1, metrics={"loss": 0.25})
print(holdfast.__file__)
"""


# --- what is in it ---


def sources() -> dict[str, bytes]:
    files = (ROOT / "src").rglob("*")
    return {
        path.relative_to(ROOT / "src").as_posix(): path.read_bytes()
        for path in files
        if path.is_file() and "__pycache__" not in path.parts
    }


def content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    found = {k: v for k, v in content(wheel).items() if ".dist-info/" not in k}
    assert found == sources()
    assert {"holdfast/py.typed", "holdfast/format/manifest.binpb"} <= set(found)
    assert wheel.name.endswith("-py3-none-any.whl")


def test_the_tree_gives_the_same_wheel_as_the_sdist(wheel: Path, tmp_path: Path) -> None:
    (again,) = build(tmp_path, "--wheel").iterdir()
    assert content(again) == content(wheel)


def test_the_sdist_has_what_is_needed_to_build_test_and_cite_and_nothing_made(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    texts = {"LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
    assert texts | {"CITATION.cff", "Makefile", "pyproject.toml", ".ci/run"} <= names
    assert {f"src/{name}" for name in sources()} <= names
    assert {"tests/compat/test_compat.py", "docs/spec/v1.md", "examples/pytorch.py"} <= names
    made = re.compile(r"(^|/)(\.venv|dist|build|__pycache__|\.\w+_cache|\.hypothesis|\.git)/")
    assert [name for name in names if made.search(name)] == []


def test_an_index_would_take_them(built: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir())


# --- what it brings along ---


def test_it_is_small_besides_numpy(installed: Installed) -> None:
    sizes = {name: nbytes(found) for name, found in installed.distributions().items()}
    assert sizes["holdfast"] > MB and sizes["numpy"] > MB, "sizes are not told right"
    sizes.pop("numpy")
    assert sum(sizes.values()) < 60 * MB, sizes


def nbytes(distribution: metadata.Distribution) -> int:
    """Return what the files of a distribution take, byte code included."""
    paths = [Path(str(file.locate())) for file in distribution.files or ()]
    return sum(path.stat().st_size for path in paths if path.is_file())


def test_nothing_of_an_extra_is_installed(installed: Installed) -> None:
    names = set(installed.distributions())
    asked = installed.distributions()["holdfast"].requires or []
    extra = {name_of(one) for one in asked if "extra ==" in one}
    core = {name_of(one) for one in asked if "extra ==" not in one}
    assert {"torch", "tensorflow", "jax", "h5py"} <= extra
    assert (extra - core) & names == set()


def name_of(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found
    return found[0].lower()


# --- whether it works ---


def test_the_command_tells_its_version(installed: Installed) -> None:
    assert installed.holdfast("--version") == f"holdfast {holdfast.__version__}"
    assert installed.distributions()["holdfast"].version == holdfast.__version__


def test_it_is_typed(installed: Installed) -> None:
    files = installed.distributions()["holdfast"].files or ()
    assert "holdfast/py.typed" in {file.as_posix() for file in files}


def round_trip(installed: Installed, folder: Path) -> None:
    where = installed.python(ROUND_TRIP, cwd=folder)
    assert Path(where).is_relative_to(installed.folder), "it was not the installed one"
    store = ("--store", folder / "ckpts")
    assert "probe@3" in installed.holdfast(*store, "verify")
    assert "train" in installed.holdfast(*store, "log")
    assert all("Example" in installed.holdfast(*words, "--help") for words in ((), ("verify",)))
    installed.holdfast(*store, "export", "probe@3", folder / "probe.npz", "--format", "npz")
    installed.holdfast(*store, "import", folder / "probe.npz", "--run", "again")
    loaded = "import holdfast; print(holdfast.load('ckpts', 'again@latest')['w'].sum().item())"
    assert abs(float(installed.python(loaded, cwd=folder))) < 1e-3


def test_saves_loads_and_verifies(installed: Installed, tmp_path: Path) -> None:
    round_trip(installed, tmp_path)


def test_what_needs_an_extra_says_which(installed: Installed, tmp_path: Path) -> None:
    code = """
import holdfast
for store in (
    lambda: holdfast.Store("sealed", keys=holdfast.keys.passphrase("a passphrase")),
    lambda: holdfast.RemoteStore("s3://bucket/prefix"),
):
    try:
        holdfast.save(store(), {"a": 1}, run="r", step=1)
    except holdfast.errors.HoldfastError as error:
        print(error)
"""
    said = installed.python(code, cwd=tmp_path)
    assert re.findall(r"holdfast\[\w+\]", said) == ["holdfast[encryption]", "holdfast[remote]"]


def test_importing_takes_less_than_importing_numpy(installed: Installed) -> None:
    def seconds(module: str) -> float:
        timed = f"import time; a = time.perf_counter(); import {module}"
        return float(installed.python(f"{timed}; print(time.perf_counter() - a)"))

    tries = [(seconds("holdfast"), seconds("numpy")) for _ in range(5)]
    assert min(ours for ours, _ in tries) < min(theirs for _, theirs in tries), tries


@pytest.mark.skipif(not FULL, reason="make packaging installs the oldest dependencies as well")
def test_the_oldest_dependencies_will_do(wheel: Path, tmp_path: Path) -> None:
    (said,) = (text for name, text in content(wheel).items() if name.endswith("/METADATA"))
    asked = re.findall(r"^Requires-Dist: ((?!.*extra ==).+)$", said.decode(), re.M)
    oldest = [re.sub(r">=([\w.]+)(,<[\w.]+)?", r"==\1", one) for one in asked]
    assert all("==" in one for one in oldest)
    limits = tmp_path / "oldest.txt"
    limits.write_text("\n".join(oldest))
    env = install(sys.executable, tmp_path / "env", str(wheel), "--constraint", os.fspath(limits))
    found = env.distributions()["numpy"].version
    assert f"numpy=={found}".startswith(next(one for one in oldest if "numpy" in one))
    round_trip(env, tmp_path)
