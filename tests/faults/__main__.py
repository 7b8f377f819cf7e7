"""``python -m faults``: run the matrix, print it, and end with 1 if any cell is bad."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from faults import report
from faults.effort import FULL, SMALL
from faults.matrix import NAMES, Result, run


def main() -> int:
    args = _arguments()
    console = Console(width=None if sys.stdout.isatty() else 180)

    def note(result: Result) -> None:
        verdict = "good" if result.is_good else "BAD"
        count = f"{len(result.trials)} trials, " if result.trials else ""
        console.print(f"{result.name}: {count}{result.seconds:.0f} s, {verdict}")

    effort = SMALL if args.small else FULL
    results = run(args.only or NAMES, effort, jobs=args.jobs, note=note)
    report.show(results, console)
    if args.json:
        args.json.write_text(json.dumps(report.as_json(results), indent=1) + "\n")
    if args.write:
        report.write(results, args.write)
    return 0 if all(result.is_good for result in results) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--small", action="store_true", help="what a minute allows")
    parser.add_argument("--only", action="append", choices=NAMES, help="one family of faults")
    parser.add_argument("--jobs", type=int, default=len(NAMES), help="families at a time")
    parser.add_argument("--json", type=Path, help="a file for the result")
    parser.add_argument("--write", type=Path, help="a page with a marked block to be rewritten")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
