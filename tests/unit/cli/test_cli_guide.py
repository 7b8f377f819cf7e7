"""Every bash block of the guide runs, top to bottom, in one shell."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from cli_running import COMMAND, environment

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "command-line.md"


def test_the_guide_runs(tmp_path):
    blocks = re.findall(r"^```bash\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 8
    variables = environment()
    variables["PATH"] = f"{COMMAND.parent}:{variables['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "probe@400 {'val_loss': 0.55}" in done.stdout
