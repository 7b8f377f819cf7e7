"""copy, as a command on a real store."""

from __future__ import annotations

import json

import numpy as np

import holdfast


def test_to_a_folder_and_into_one_file(here, store, tmp_path):
    assert here("copy", "gpt@latest", str(tmp_path / "there"), store=store).status == 0
    there = here("log", "gpt", "--json", store=tmp_path / "there")
    assert len(json.loads(there.out)["checkpoints"]) == 1
    file = tmp_path / "one.holdfast"
    ran = here("copy", "gpt@latest", str(file), "--json", store=store)
    assert ran.status == 0 and json.loads(ran.out)["store"] == str(file)
    assert here("verify", store=file).status == 0
    again = here("copy", "gpt@latest", str(file), store=store)
    assert again.status == 2 and "already" in again.err


def test_a_tag_of_an_earlier_save_of_a_step_is_what_is_copied(here, tmp_path):
    for value in (1, 2):
        tag = "good" if value == 1 else None
        holdfast.save(tmp_path / "ckpts", {"w": np.full(9, value)}, run="r", step=5, tag=tag)
    ran = here("copy", "r@good", str(tmp_path / "there"), store=tmp_path / "ckpts")
    assert ran.status == 0 and "r@5" in ran.out
    assert holdfast.load(tmp_path / "there", "r@good")["w"][0] == 1


def test_wrong_input(here, store, tmp_path):
    assert here("copy", "gpt@none", str(tmp_path / "there"), store=store).status == 2
    assert not (tmp_path / "there").exists()
    assert here("copy", "gpt@latest", str(store), store=store).status == 2
    assert here("copy", "gpt@latest", "ftp://x/y", store=store).status == 2
    assert here("copy", "gpt@latest", str(tmp_path / "no" / "x.holdfast"), store=store).status == 3
