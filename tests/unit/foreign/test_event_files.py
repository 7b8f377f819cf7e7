"""Event files as they get into a folder: whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.errors import IncompleteWrite
from holdfast.foreign import event_files


def test_what_was_written_is_there_with_its_length(tmp_path: Path) -> None:
    records = [event_files.beginning(1.0), event_files.simple_event(3, 2.0, {"a": 0.5})]
    nbytes = event_files.write(tmp_path / "events", records)
    assert (tmp_path / "events").read_bytes() == b"".join(records)
    assert nbytes == (tmp_path / "events").stat().st_size


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path: Path) -> None:
    def records() -> Iterator[bytes]:
        yield b"1"
        raise OSError

    with pytest.raises(OSError):
        event_files.write(tmp_path / "events", records())
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_read_back_is_an_error_and_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A disk that swallows what it was given.
    monkeypatch.setattr(event_files.os, "fsync", lambda fd: os.truncate(fd, 0))
    with pytest.raises(IncompleteWrite, match="nothing is left"):
        event_files.write(tmp_path / "events", [b"1"])
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "events").write_bytes(b"1")
    with pytest.raises(FileExistsError):
        event_files.write(tmp_path / "events", [b"2"])
    assert (tmp_path / "events").read_bytes() == b"1"
