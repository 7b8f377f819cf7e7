"""JAX over several processes: saved by N, restored by M, on any mesh, to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import holdfast
from distributed.jax_states import SHAPES
from distributed.launching import IS_FULL, run

# All of them: make ranks. To start JAX takes some seconds for each process.
SAVE, RESTORE = ((1, 2, 3, 4, 8), (1, 2, 3, 4, 8)) if IS_FULL else ((2,), (2, 4))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores that so many processes have saved into."""
    folder = tmp_path_factory.mktemp("jax")
    for n in SAVE:
        run("jax_worlds.py", n, folder / f"logs-{n}", folder, "save")
    if not IS_FULL:
        job = run("jax_worlds.py", 1, folder / "logs-1", folder, "save", "restore")
        assert job.said(0).count("restored ") == 4
    return folder


@pytest.mark.parametrize("m", RESTORE)
def test_what_n_processes_save_m_processes_restore(saved: Path, tmp_path: Path, m: int) -> None:
    # And who waits in vain for a process that makes no Checkpointer is told.
    then = ("late",) if m == 2 else ()
    job = run("jax_worlds.py", m, tmp_path, saved, "restore", *then)
    n_stores = len(list(saved.glob("n-*")))
    for rank in range(m):
        assert job.said(rank).count("restored ") == 2 * n_stores
    if then:
        assert "refused Rank 0 of 2 waited in vain" in job.said(0)
        assert "ranks=None" in job.said(0)
        assert all("alone" in job.said(rank) for rank in range(m))


def test_one_process_sees_it_whole(saved: Path) -> None:
    store, alone = holdfast.Store(saved / "n-2"), holdfast.Store(saved / "n-1")
    leaves = {leaf.path: leaf for leaf in store.leaves("r@final")}
    for layout in ("1d", "2d"):
        for name, shape in SHAPES.items():
            assert leaves[f"{layout}/params/{name}"].shape == shape
    assert store.verify().ok
    diff = store.diff("r@final", "r@final", other=alone)
    changed = [t.path for t in diff.tensors if t.is_changed]
    assert all(path.startswith("@rng") for path in changed), changed
    # What several devices or processes hold was written once, but for each one's generators.
    generators = [leaf for leaf in leaves.values() if leaf.path.startswith("@rng")]
    own = sum(leaf.nbytes for leaf in generators if leaf.dtype)
    assert store.info("r@final").state_bytes == alone.info("r@final").state_bytes + own


def test_each_process_writes_its_share(saved: Path) -> None:
    info = holdfast.Store(saved / "n-2").info("r@1")
    packs = (saved / "n-2" / "runs" / "r" / "packs").glob(f"{info.id}-*")
    sizes = [pack.stat().st_size for pack in packs]
    assert len(sizes) == 2 and min(sizes) > 0.3 * max(sizes)


def test_tensors_of_pytorch_take_it(saved: Path) -> None:
    tree = holdfast.load(saved / "n-2", "r@final", only="2d/params/**")["2d"]["params"]
    params = {"w": torch.zeros(24, 16), "half": torch.zeros(24, 5, dtype=torch.bfloat16)}
    holdfast.load(
        saved / "n-2",
        "r@final",
        into={"2d": {"params": params}},
        only=[f"2d/params/{name}" for name in params],
    )
    assert np.array_equal(params["w"].numpy(), np.asarray(tree["w"]))
    assert np.array_equal(params["half"].float().numpy(), np.float32(tree["half"]))
