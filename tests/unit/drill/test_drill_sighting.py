"""What is seen from outside: when there was something to go on from."""

from __future__ import annotations

from pathlib import Path

from holdfast.drill.sighting import Watcher
from holdfast.drill.work_folder import RunFolder


def test_a_run_is_ready_once_each_file_that_is_saved_again_was_saved_once(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    lines: list[str] = []
    watcher = Watcher(RunFolder(tmp_path, {}), tmp_path / "told", lambda: lines)

    def step(*names: str) -> None:
        lines.append("step")
        for name in names:
            (work / name).write_text(name * len(lines))
        watcher.look(force=True)

    step("start.pt", "best.pt")
    step("best.pt")
    step("best.pt", "step-7.pt")
    # From here on there is one of each; the first one of all is saved only once.
    step("step-14.pt")
    step("best.pt")
    step("final.pt")
    # A long life, of which all that was the beginning.
    watcher._began_s -= 60.0
    seen = watcher.sighting(())
    assert (seen.first_lines, seen.first_writes, seen.n_writes) == (3, 5, 8)


def test_of_files_that_are_saved_once_the_first_counts(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    lines = ["one"]
    watcher = Watcher(RunFolder(tmp_path, {}), tmp_path / "told", lambda: lines)
    assert watcher.sighting(()).first_s == 0.0
    (tmp_path / "work/last.pt").write_text("x")
    watcher.look(force=True)
    lines.append("two")
    (tmp_path / "work/other.npz").write_text("x")
    watcher.look(force=True)
    assert watcher.sighting(()).first_lines == 1
