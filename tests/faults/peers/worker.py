"""Damages a tool's checkpoint again and again, and tells what each load gave.

``python -m faults.peers.worker TOOL FOLDER COUNT FIRST``. One line of JSON for each damage, before
and after it is loaded; a load that ends the process is known by the line that is missing.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from pathlib import Path

import numpy as np

from faults.flips import by_bytes
from faults.peers.tools import TOOLS, Arrays, Tool, state

INTACT, REFUSED, SILENT = "intact", "refused", "silent"


def main() -> None:
    name, folder, count, first = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
    tool = TOOLS[name][1]()
    pristine, struck = folder / "pristine", folder / "struck"
    if not pristine.exists():
        tool.save(pristine, state())
    files = {
        str(path.relative_to(pristine)): path.read_bytes()
        for path in pristine.rglob("*")
        if path.is_file()
    }
    shutil.rmtree(struck, ignore_errors=True)
    shutil.copytree(pristine, struck)
    assert outcome(tool, struck)[0] == INTACT, outcome(tool, struck)
    for number, damage in enumerate(by_bytes(files, random.Random(9), count)):
        if number < first:
            continue
        tell(number=number, where=str(damage))
        damage.apply(struck / damage.name, files[damage.name])
        found, told = outcome(tool, struck)
        (struck / damage.name).write_bytes(files[damage.name])
        tell(number=number, where=str(damage), outcome=found, told=told)


def outcome(tool: Tool, folder: Path) -> tuple[str, str]:
    """Load, and say what came of it."""
    try:
        loaded = tool.load(folder)
    # Whatever a tool raises: it has refused. PyO3 raises what is no Exception.
    except BaseException as error:
        return REFUSED, f"{type(error).__name__}: {error}"[:300]
    return (INTACT, "") if is_same(loaded, state()) else (SILENT, "")


def is_same(found: Arrays, expected: Arrays) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].dtype == array.dtype and np.array_equal(found[name], array, equal_nan=False)
        for name, array in expected.items()
    )


def tell(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
