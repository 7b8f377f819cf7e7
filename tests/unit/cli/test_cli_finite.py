"""What the command line tells of checkpoints with NaN or infinities."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import holdfast


def test_log_and_show_tell(tmp_path: Path, here) -> None:
    for step, bad in ((1, 0), (2, 3)):
        w = np.ones(300, np.float32)
        w[:bad] = np.inf
        holdfast.save(tmp_path, {"w": w}, run="run", step=step, check_finite=True)
    shown = here("show", "run@2", store=tmp_path)
    assert shown.status == 0 and "3 values NaN or infinite" in shown.out
    assert "all arrays that were looked at are finite" in here("show", "run@1", store=tmp_path).out
    assert "3 NaN/inf" in here("log", "run", store=tmp_path).out
    listed = json.loads(here("log", "run", "--json", store=tmp_path).out)["checkpoints"]
    assert [checkpoint["not_finite"] for checkpoint in listed] == [3, 0]
