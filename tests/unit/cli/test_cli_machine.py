"""What is found out about the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.cli import machine


def test_looking_leaves_nothing_behind(tmp_path):
    facts = {fact.name: fact.value for fact in machine.look(tmp_path)}
    assert list(tmp_path.iterdir()) == []
    assert facts["folder"] == str(tmp_path)
    assert facts["writable"] is True
    assert isinstance(facts["direct_io"], bool)
    assert facts["free_bytes"] > 0
    assert facts["memory_bytes"] > 0
    assert facts["cpus"] >= 1


def test_a_folder_to_come_is_judged_by_the_nearest_above(tmp_path):
    assert machine.nearest_folder(tmp_path / "not" / "yet") == tmp_path
    file = tmp_path / "file"
    file.touch()
    assert machine.nearest_folder(file) == tmp_path


def test_versions_are_found_without_importing():
    facts = machine.package_facts(["numpy", "no-such-package"])
    assert facts[0].value is not None
    assert facts[1].value is None


def test_a_folder_that_refuses_files_is_a_problem(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(machine.tempfile, "TemporaryFile", refuse)
    [writable] = [fact for fact in machine.folder_facts(tmp_path) if fact.name == "writable"]
    assert writable.value is False
    assert "cannot be written there: Permission denied" in writable.problem


@pytest.mark.skipif(not Path("/proc/mounts").exists(), reason="Linux only")
def test_the_file_system_has_a_name(tmp_path):
    assert machine.file_system(tmp_path)


def test_direct_io_that_is_refused_is_no_error(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "write", refuse)
    assert machine.direct_io_usable(tmp_path) is False
    assert list(tmp_path.iterdir()) == []
