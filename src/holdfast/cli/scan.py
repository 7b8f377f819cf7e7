"""``holdfast scan``: look into someone's pickle checkpoint without running it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options, output
from holdfast.cli.tables import Styled
from holdfast.errors import DataError, NotFound
from holdfast.wording.numbers import plural

if TYPE_CHECKING:
    from holdfast.security.pickle_files import FileScan
    from holdfast.security.pickle_stream import PickleScan

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
            ".distcp, .metadata, compressed or not; or folders of them.",
            show_default=False,
        ),
    ],
    as_json: options.Json = False,
) -> int:
    """Say what loading a pickle would have done; nothing of it is run.

    The exit status is 0 if all files are safe and 1 if one is not: what is not on the list of what
    builds arrays and plain values counts as not safe. In a folder, files that are of no format that
    is known, and do not have the name of one, are passed over.
    """
    for path in files:
        if not path.is_file() and not path.is_dir():
            raise NotFound(f"There is no file {str(path)!r}. Nothing was scanned.", path=str(path))
    found: list[FileScan] = []
    passed_over: list[str] = []
    for item, is_passed_over in _scanned(files):
        if is_passed_over:
            passed_over.append(item.path)
        else:
            found.append(item)
            if not as_json:
                _show(item)
    if as_json:
        scans = [_as_json(item) for item in found]
        output.result_json({"files": scans, "passed_over": passed_over})
    elif any(path.is_dir() for path in files):
        _summarise(found, passed_over)
    return 0 if all(item.level == "safe" for item in found) else DataError.exit_code


def _scanned(paths: list[Path]) -> Iterator[tuple[FileScan, bool]]:
    """Yield what was found in each file, and whether it only happens to be in a folder."""
    from holdfast.security.pickle_files import NOTHING, is_named_like_one, scan_file

    for path in paths:
        for file in _files_in(path) if path.is_dir() else [path]:
            found = scan_file(file)
            yield found, file != path and found.kind == NOTHING and not is_named_like_one(file.name)


def _files_in(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, sorted; what links to a file counts, what links to a folder not.

    A link to a folder may lead round in a circle.
    """
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            if not entry.is_symlink():
                yield from _files_in(entry)
        elif entry.is_file():
            yield entry


def _summarise(found: list[FileScan], passed_over: list[str]) -> None:
    counts = Counter[str](item.level for item in found)
    told = [f"{counts[level]} {level}" for level in _STYLES if counts[level]]
    if passed_over:
        told.append(f"{len(passed_over)} passed over, of no format that is known")
    output.say(f"{plural(len(found) + len(passed_over), 'file')}: {', '.join(told) or 'nothing'}")


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
