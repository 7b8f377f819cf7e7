"""FSDP1, by the names that it gives, to and from FSDP2; and stages of a pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import holdfast
from distributed.launching import Job, run

KINDS = ("flat", "named", "fsdp2")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Job]:
    """Where two ranks have saved each kind and restored it into each, and what they said."""
    folder = tmp_path_factory.mktemp("flattened")
    return folder, run("flattened.py", 2, folder / "logs", folder)


def test_each_kind_is_restored_into_each(ran: tuple[Path, Job]) -> None:
    _, job = ran
    for rank in (0, 1):
        for saved in KINDS:
            for kind in KINDS:
                assert f"restored {saved} as {kind}\n" in job.said(rank)


@pytest.mark.parametrize("kind", KINDS)
def test_one_process_has_it_whole(ran: tuple[Path, Job], kind: str) -> None:
    folder, _ = ran
    store = holdfast.Store(folder / "ckpts")
    assert store.verify().ok
    expected = torch.load(folder / "whole.pt", weights_only=True)[kind]
    tree = holdfast.load(store, "r@latest")[kind]
    for path, tensor in expected.items():
        top, _, name = path.partition("/")
        if top == "model":
            found = tree["model"][name]
        else:
            _, parameter, moment = name.split("/")
            found = tree["optimizer"]["state"][parameter][moment]
        assert torch.equal(found, tensor), path


def test_moments_of_flat_pieces_are_not_taken_for_copies(ran: tuple[Path, Job]) -> None:
    _, job = ran
    for rank in (0, 1):
        assert "refused 'optimizer' is the optimizer of a model that FullySharded" in job.said(rank)
        assert "get_state_dict" in job.said(rank)


def test_stages_of_a_pipeline_are_each_ranks_own(ran: tuple[Path, Job]) -> None:
    _, job = ran
    for rank in (0, 1):
        assert f"restored stage {rank}" in job.said(rank)
