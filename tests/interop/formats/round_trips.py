"""A state saved and exported in one step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import holdfast
from holdfast.convert import export


def exported(folder: Path, state: dict[str, Any], name: str, format: str, **more: Any) -> Path:
    """Return where in a folder a state is in a format now; its store is ``s`` there."""
    holdfast.save(folder / "s", state, run="r", step=0, rng=False)
    export(folder / "s", "r@0", folder / name, format=format, **more)
    return folder / name
