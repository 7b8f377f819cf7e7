"""Saved by N ranks, restored by M, whatever way the model lies over them, to the last bit."""

from __future__ import annotations

import re
import subprocess
import sysconfig
from pathlib import Path

import pytest
from safetensors.numpy import load_file

import holdfast
from distributed.launching import IS_FULL, Job, run
from distributed.training import is_tried, kinds

SIZES = (1, 2, 3, 4, 8) if IS_FULL else (1, 2, 4)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores that each world size has saved into, one for each kind of model."""
    folder = tmp_path_factory.mktemp("worlds")
    for n in SIZES:
        run("worlds.py", n, folder / f"logs-{n}", "save", folder)
    return folder


@pytest.fixture(scope="module", params=SIZES)
def restored(
    request: pytest.FixtureRequest, saved: Path, tmp_path_factory: pytest.TempPathFactory
) -> Job:
    """What each rank said when so many have restored all of it."""
    folder = tmp_path_factory.mktemp("restored")
    some = [] if IS_FULL else ["some"]
    return run("worlds.py", request.param, folder, "restore", saved, *some)


def test_what_n_ranks_save_m_ranks_restore(restored: Job) -> None:
    m = len(restored.logs)
    names = [f"{kind}-{n}" for n in SIZES for kind in kinds(n)]
    pairs = [(name, kind) for name in names for kind in kinds(m)]
    chosen = [pair for pair in pairs if IS_FULL or is_tried(*pair)]
    for rank in range(m):
        assert restored.said(rank).count("restored ") == len(chosen)
    assert {kind for _, kind in chosen} == set(kinds(m))
    assert {name for name, _ in chosen} == set(names)


def test_each_rank_reads_the_bytes_of_its_boxes_and_hardly_more(restored: Job) -> None:
    for rank in range(len(restored.logs)):
        told = re.findall(r"^read (\S+) (\d+) (\d+)$", restored.said(rank), re.MULTILINE)
        assert [name for name, *_ in told] == [f"wide-{n}" for n in SIZES]
        for name, read, boxes in told:
            assert int(read) <= 1.05 * int(boxes), (name, rank, int(read) / int(boxes))


@pytest.mark.parametrize("name", ["ddp-2", "fsdp-4", "2d-4"])
def test_one_process_sees_it_whole(saved: Path, tmp_path: Path, name: str) -> None:
    store, n = holdfast.Store(saved / name), int(name.partition("-")[2])
    info = store.info("r@final")
    leaves = {leaf.path: leaf for leaf in store.leaves("r@final")}
    assert leaves["model/up.weight"].shape == (30, 12)
    assert info.n_leaves == len(leaves)
    arrays = [leaf for leaf in leaves.values() if leaf.dtype is not None]
    own = sum(leaf.nbytes for leaf in arrays if leaf.path.startswith("@rng"))
    assert info.state_bytes == sum(leaf.nbytes for leaf in arrays) + (n - 1) * own
    assert store.verify().ok
    tree = holdfast.load(saved / name, "r@final")
    assert tuple(tree["model"]["up.weight"].shape) == (30, 12)
    assert tree["own"]["rank"] == 0
    diff = store.diff("r@2", "r@4")
    assert {t.path for t in diff.tensors if t.is_changed} >= {"model/up.weight", "model/down.bias"}


def test_replicas_are_written_once_and_shared_out(saved: Path) -> None:
    store = holdfast.Store(saved / "ddp-4")
    info = store.info("r@final")
    alone = holdfast.Store(saved / "ddp-1").info("r@final")
    own = sum(leaf.nbytes for leaf in store.leaves("r@final") if leaf.path.startswith("@rng"))
    # Four times the generators, once all else.
    assert info.state_bytes == alone.state_bytes + 3 * own
    # What is saved twice is stored once: the first save has written the packs.
    first = store.info("r@2")
    packs = list((saved / "ddp-4" / "runs" / "r" / "packs").glob(f"{first.id}-*"))
    assert {pack.name[33:] for pack in packs} == {"00000", "100000", "200000", "300000"}


def test_a_copy_is_whole_and_restores_on_ranks(saved: Path, tmp_path: Path) -> None:
    store = holdfast.Store(saved / "fsdp-2")
    copied = store.copy("r@final", tmp_path / "copies" / "fsdp-2")
    other = holdfast.Store(tmp_path / "copies" / "fsdp-2")
    assert other.verify().ok
    assert store.diff("r@final", copied.ref, other=other).is_same_state
    (tmp_path / "copies" / "fsdp-2.json").write_text((saved / "fsdp-2.json").read_text())
    run("worlds.py", 2, tmp_path / "logs", "restore", tmp_path / "copies")


def test_it_is_exported_whole(saved: Path, tmp_path: Path) -> None:
    command = Path(sysconfig.get_path("scripts")) / "holdfast"
    target = tmp_path / "model.safetensors"
    arguments = ["--store", saved / "2d-4", "export", "r@final", target]
    arguments += ["--format", "safetensors", "--only", "model/**"]
    subprocess.run([str(command), *map(str, arguments)], check=True, timeout=120)
    tree = holdfast.load(saved / "2d-4", "r@final", only="model/**")
    found = load_file(target)
    assert (found["model/up.weight"] == tree["model"]["up.weight"].numpy()).all()


def test_a_mesh_of_jax_takes_what_ranks_of_torch_have_saved(saved: Path, tmp_path: Path) -> None:
    job = run("jax_worlds.py", 2, tmp_path, saved, "torch")
    told = re.findall(r"^from torch (\S+)$", job.said(1), re.MULTILINE)
    assert {"fsdp-2", "tp-2", "ddp-2"} <= set(told)
