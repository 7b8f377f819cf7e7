"""Whether a process was seen to open a checkpoint: what counts as that, and what is let alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# A hook of the interpreter cannot be taken off again: a process of its own.
PROGRAM = """
import os, sys
from holdfast.drill.witness import file_eyes
class Writer:
    def write(self, kind, **facts):
        print(kind, flush=True)
file_eyes.on_opens([os.path.realpath("a.pt")], Writer())
try:
    {does}
except (OSError, ValueError):
    print("refused")
"""


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("open('a.pt', 'rb')", "l"),
        ("os.open('a.pt', os.O_RDONLY)", "l"),
        ("open('link.pt', 'rb'); open('a.pt')", "l"),
        ("open('a.pt', 'wb')", ""),
        ("open('b.pt', 'rb')", ""),
        ("open(os.open('b.pt', os.O_RDONLY))", ""),
        # What the script does wrong is told as without anybody watching.
        ("open('a\\0.pt')", "refused"),
        ("open('none.pt')", "refused"),
    ],
)
def test_what_is_opened(tmp_path: Path, does: str, says: str) -> None:
    for name in ("a.pt", "b.pt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "link.pt").symlink_to("a.pt")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(does=does)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == says
