"""``holdfast scan``: look into someone's pickle checkpoint without running it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options, output
from holdfast.cli.numbers import plural
from holdfast.cli.tables import Styled
from holdfast.errors import DataError, NotFound

if TYPE_CHECKING:
    from holdfast.security.pickle_files import FileScan, PickleScan

EXAMPLE = "holdfast scan downloads/model.pth"

_STYLES = {"safe": "green", "unknown": "yellow", "dangerous": "bold red"}
_MEANING = {
    "safe": "It builds arrays and plain values, and nothing else.",
    "unknown": "Loading it runs code of the packages named. Load it only if you trust who made it.",
    "dangerous": "Do not load it.",
}


def scan(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Checkpoints of others: .pth, .pt, .ckpt, .bin, .pkl, .joblib, .npy, .npz, "
            ".distcp, .metadata, compressed or not.",
            show_default=False,
        ),
    ],
    as_json: options.Json = False,
) -> int:
    """Say what loading a pickle would have done; nothing of it is run.

    The exit status is 0 if all files are safe and 1 if one is not: what is not on the list of what
    builds arrays and plain values counts as not safe.
    """
    from holdfast.security.pickle_files import scan_file

    for path in files:
        if not path.is_file():
            raise NotFound(f"There is no file {str(path)!r}. Nothing was scanned.", path=str(path))
    found = [scan_file(path) for path in files]
    if as_json:
        output.result_json({"files": [_as_json(item) for item in found]})
    else:
        for item in found:
            _show(item)
    return 0 if all(item.level == "safe" for item in found) else DataError.exit_code


def _show(found: FileScan) -> None:
    pickles = plural(len(found.pickles), "pickle")
    output.say(
        Styled(found.level, _STYLES[found.level]), "  ", f"{found.path}: {found.kind}, {pickles}"
    )
    for pickle in found.pickles:
        _show_pickle(pickle)
    output.say("  ", _meaning(found))


def _meaning(found: FileScan) -> str:
    if found.level == "unknown" and not any(pickle.findings for pickle in found.pickles):
        return "What it would do is not known. Do not load it."
    return _MEANING[found.level]


def _show_pickle(pickle: PickleScan) -> None:
    told: set[str] = set()
    for finding in pickle.findings:
        if finding.what not in told:
            told.add(finding.what)
            style = _STYLES[finding.level]
            where = f"{pickle.name}, byte {finding.position}: "
            output.say("  ", Styled(finding.level, style), "  ", where, finding.what)
    if pickle.error is not None:
        output.say(
            "  ", Styled("unknown", _STYLES["unknown"]), "  ", f"{pickle.name}: ", pickle.error
        )


def _as_json(found: FileScan) -> dict[str, object]:
    return {
        "path": found.path,
        "kind": found.kind,
        "level": found.level,
        "pickles": [
            {
                "name": pickle.name,
                "level": pickle.level,
                "error": pickle.error,
                "findings": [
                    {"level": f.level, "what": f.what, "position": f.position}
                    for f in pickle.findings
                ],
            }
            for pickle in found.pickles
        ],
    }
