"""``holdfast scan``: a verdict for each file, of folders too, and the exit status of the worst."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from attacks import Attack, touch
from cli_running import holdfast


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A download: a good file, a bad one further down, one that is none, and a read-me."""
    made = tmp_path / "model"
    (made / "below").mkdir(parents=True)
    (made / "a.pkl").write_bytes(pickle.dumps([1]))
    (made / "below/b.bin").write_bytes(pickle.dumps(Attack(os.system, touch())))
    (made / "c.pt").write_text("hello")
    (made / "README.md").write_text("hello")
    (made / "circle").symlink_to(made)
    (made / "d.pkl").symlink_to(made / "a.pkl")
    return made


def test_a_folder_has_a_verdict_for_each_file(folder: Path) -> None:
    ran = holdfast("scan", folder)
    assert ran.status == 1
    lines = ran.out.splitlines()
    verdicts = [line.split()[:2] for line in lines if line.split()[1].startswith(str(folder))]
    assert verdicts == [
        ["safe", f"{folder}/a.pkl:"],
        ["dangerous", f"{folder}/below/b.bin:"],
        ["unknown", f"{folder}/c.pt:"],
        ["safe", f"{folder}/d.pkl:"],
    ]
    told = "2 safe, 1 unknown, 1 dangerous, 1 passed over, of no format that is known"
    assert lines[-1] == f"5 files: {told}"
    assert not Path("canary").exists()


def test_a_folder_of_good_files_is_good(folder: Path) -> None:
    (folder / "below/b.bin").unlink()
    (folder / "c.pt").unlink()
    ran = holdfast("scan", folder, "--json")
    assert ran.status == 0
    assert [item["level"] for item in ran.json["files"]] == ["safe", "safe"]
    assert ran.json["passed_over"] == [str(folder / "README.md")]


def test_what_is_named_is_never_passed_over(folder: Path) -> None:
    assert holdfast("scan", folder / "README.md").status == 1
    ran = holdfast("scan", folder / "none", "--json")
    assert (ran.status, ran.error["kind"]) == (2, "not-found")
