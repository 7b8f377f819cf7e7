"""What makes the script's processes tell of themselves: a ``sitecustomize`` on their path.

The folder of a life has the hook itself, what it was told to do, and what came of it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from holdfast.drill import witness
from holdfast.drill.strikes import AtEffect, AtRow, Strike
from holdfast.drill.trace import Trace, parse_trace
from holdfast.testing import effects as store_effects

_HOOK = '''\
"""Lets the drill watch this process; then whatever else is called so has its turn."""
import json, os, sys
_here = os.path.dirname(os.path.abspath(__file__))
try:
    import _holdfast_witness
    with open(os.path.join(_here, "config.json")) as _file:
        _holdfast_witness.attend(json.load(_file))
except Exception as _error:
    print("holdfast drill: this process is not watched:", repr(_error), file=sys.stderr)
sys.path[:] = [p for p in sys.path if os.path.abspath(p) != _here]
_self = sys.modules.pop("sitecustomize", None)
try:
    import sitecustomize
except ImportError:
    # Who imports this one looks for it there.
    sys.modules["sitecustomize"] = _self
'''


def install(
    told: Path,
    environment: Mapping[str, str],
    *,
    strike: Strike | None,
    wait_for: list[str],
    store: Path | None,
) -> dict[str, str]:
    """Put the hook into a life's folder; return the variables with which processes find it.

    Args:
        told: The folder.
        environment: The variables without it.
        strike: What happens to the life, and when.
        wait_for: Patterns of paths; a process strikes itself once there is one.
        store: A store whose effects are counted or struck.
    """
    hook = told / "hook"
    package = Path(witness.__file__).parent
    shutil.copytree(
        package, hook / "_holdfast_witness", ignore=shutil.ignore_patterns("__pycache__")
    )
    (hook / "sitecustomize.py").write_text(_HOOK)
    (told / "trace").mkdir()
    config = {
        "trace": str(told / "trace"),
        "strike": _at_row(strike, wait_for, told),
        "effects": None if store is None else _at_effects(strike, store, told),
    }
    (hook / "config.json").write_text(json.dumps(config))
    paths = [str(hook), environment.get("PYTHONPATH", "")]
    return {**environment, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _at_row(strike: Strike | None, wait_for: list[str], told: Path) -> dict[str, Any] | None:
    if not isinstance(strike, AtRow):
        return None
    return {
        "kind": strike.kind,
        "row": strike.row,
        "signal": int(strike.signal),
        "delay_s": strike.delay_s,
        "everyone": strike.everyone,
        "wait_for": wait_for,
        "done": str(told / "struck"),
    }


def _at_effects(strike: Strike | None, store: Path, told: Path) -> dict[str, Any]:
    planned = None
    if isinstance(strike, AtEffect):
        planned = asdict(store_effects.Strike(strike.at, strike.kill, everyone=True))
    return {"folder": str(store), "log": str(told / "effects"), "strike": planned}


def has_struck(told: Path) -> bool:
    """Say whether a process has struck itself."""
    return (told / "struck").exists()


def effects_of(told: Path) -> tuple[str, ...]:
    """Return the names of the effects on the store that were counted."""
    return tuple(store_effects.EffectLog(str(told / "effects")).effects())


def trace_of(told: Path) -> Trace:
    """Return what the processes have written so far; an empty trace where nobody watches."""
    files = sorted((told / "trace").glob("*.jsonl")) if (told / "trace").is_dir() else []
    return parse_trace(path.read_text(errors="replace").splitlines() for path in files)
