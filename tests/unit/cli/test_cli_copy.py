"""copy, as a command on a real store."""

from __future__ import annotations

import json


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


def test_wrong_input(here, store, tmp_path):
    assert here("copy", "gpt@none", str(tmp_path / "there"), store=store).status == 2
    assert not (tmp_path / "there").exists()
    assert here("copy", "gpt@latest", str(store), store=store).status == 2
    assert here("copy", "gpt@latest", "ftp://x/y", store=store).status == 2
    assert here("copy", "gpt@latest", str(tmp_path / "no" / "x.holdfast"), store=store).status == 3
