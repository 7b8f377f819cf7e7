"""The matrix as tables for people, as JSON, and as a page of the documentation."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from faults.flips import CUT, FLIP
from faults.matrix import PEERS, Result
from faults.outcomes import Cell, Outcome, cells
from faults.peers.compared import OUTCOMES, Compared
from faults.scenario import NAMES

BEGIN, END = "<!-- faults:begin -->", "<!-- faults:end -->"
_SHORT = {Outcome.RESUMED: "resumed", Outcome.REFUSED: "refused", Outcome.DONE: "done"}
_PEER_WORDS = {
    "intact": "loaded, unharmed",
    "refused": "refused",
    "silent": "let through silently",
    "crashed": "crashed the process",
    "stuck": "never ended",
}


def cell_text(cell: Cell | None) -> str:
    """Return the outcomes of a cell with their counts, what is bad in capitals.

    >>> cell_text(Cell({Outcome.DONE: 2, Outcome.SILENT: 1}))
    '2 done, 1 SILENTLY DIFFERENT'
    """
    if cell is None:
        return ""
    ordered = [outcome for outcome in Outcome if outcome in cell.counts]
    return ", ".join(f"{cell.counts[o]} {_SHORT.get(o, o.value.upper())}" for o in ordered)


def peer_counts(peer: Compared) -> list[str]:
    return [str(peer.counts.get(outcome, 0)) for outcome in OUTCOMES]


def summary(results: Sequence[Result]) -> str:
    """Return one sentence on all of it."""
    trials = [trial for result in results for trial in result.trials]
    counts = Counter(trial.outcome for trial in trials)
    told = ", ".join(f"{counts[o]:,} {o.value}" for o in Outcome if counts[o] or o in _ALWAYS)
    return f"{len(trials):,} trials: {told}."


# What must be none is said also where it is none.
_ALWAYS = (Outcome.SILENT, Outcome.LOST)


def system() -> str:
    """Say what kind of system this is, and nothing about which."""
    release = ".".join(platform.release().split(".")[:2])
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "torch"))
    return (
        f"{platform.system()} {release}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, {packages}; ext4 and XFS on loop devices, tmpfs"
    )


def notes(results: Sequence[Result]) -> Iterator[str]:
    """Yield what was not done, and why."""
    for result in results:
        if result.missing:
            yield f"NOT ALL FAULTS WERE MADE ({result.name}): {result.missing}"
        for peer in result.peers:
            if peer.absent:
                yield f"NOT COMPARED: {peer.tool}: {peer.absent}"


# --- for people ---


def show(results: Sequence[Result], console: Console) -> None:
    """Print the tables, what is bad, and the sum."""
    table = Table("fault", *NAMES, title="operation × fault → outcome", show_lines=True)
    for fault, row in _matrix(results):
        table.add_row(fault, *(_coloured(row.get(name)) for name in NAMES))
    if table.row_count:
        console.print(table)
    peers = [peer for result in results for peer in result.peers if peer.counts]
    if peers:
        console.print(_peer_table(peers))
    for result in results:
        for trial in result.bad:
            console.print(f"[red]{trial.fault}, {trial.operation}: {trial.outcome.value}[/red]")
            console.print(f"  {trial.where}\n  {trial.told}", markup=False)
        if result.broken:
            console.print(result.broken, markup=False)
    for note in notes(results):
        console.print(f"[yellow]{note}[/yellow]")
    console.print(summary(results))


def _matrix(results: Sequence[Result]) -> list[tuple[str, dict[str, Cell]]]:
    rows = cells(trial for result in results for trial in result.trials)
    # The kinds of files come in any order: first what was flipped, then what was cut.
    ends = (FLIP, CUT)
    return sorted(rows.items(), key=lambda row: (row[0].startswith(ends), row[0].startswith(CUT)))


def _coloured(cell: Cell | None) -> str:
    colour = "" if cell is None or cell.is_good else "[bold red]"
    return colour + cell_text(cell)


def _peer_table(peers: Sequence[Compared]) -> Table:
    table = Table("the same damage", *(_PEER_WORDS[outcome] for outcome in OUTCOMES))
    for peer in peers:
        table.add_row(f"{peer.tool} {peer.version}", *peer_counts(peer))
    return table


# --- for machines ---


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    return {
        "system": system(),
        "good": all(result.is_good for result in results),
        "matrix": {
            fault: {
                operation: {outcome.name.lower(): n for outcome, n in cell.counts.items()}
                for operation, cell in row.items()
            }
            for fault, row in _matrix(results)
        },
        "peers": {
            peer.tool: {"version": peer.version, **peer.counts}
            for result in results
            for peer in result.peers
        },
        "bad": [
            {"fault": t.fault, "operation": t.operation, "outcome": t.outcome.name.lower(),
             "where": t.where, "told": t.told}
            for result in results
            for t in result.bad
        ],
        "broken": [result.broken for result in results if result.broken],
        "not_made": list(notes(results)),
        "seconds": {result.name: round(result.seconds, 1) for result in results},
    }  # fmt: skip


# --- for the documentation ---


def write(results: Sequence[Result], page: Path) -> None:
    """Put the tables into the marked block of a page."""
    text = page.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{markdown(results)}\n{END}{after}")


def markdown(results: Sequence[Result]) -> str:
    lines = [f"{system()}. {summary(results)}", ""]
    lines += [_row("fault", *NAMES), "|---" * (len(NAMES) + 1) + "|"]
    for fault, row in _matrix(results):
        lines.append(_row(fault, *(cell_text(row.get(name)) for name in NAMES)))
    peers = [peer for result in results if result.name == PEERS for peer in result.peers]
    if peers:
        lines += ["", _row("the same damage", *(_PEER_WORDS[o] for o in OUTCOMES))]
        lines.append("|---" + "|--:" * len(OUTCOMES) + "|")
    for peer in peers:
        name = f"{peer.tool} {peer.version}".strip()
        counts = peer_counts(peer) if peer.counts else ["not compared"]
        lines.append(_row(name, *counts, *[""] * (len(OUTCOMES) - len(counts))))
    return "\n".join(lines)


def _row(*texts: str) -> str:
    return f"| {' | '.join(texts)} |"
