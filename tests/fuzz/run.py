"""Look for inputs that break a parser, guided by coverage, with atheris (libFuzzer for Python).

``python tests/fuzz/run.py`` runs all targets one after the other; ``--target NAME`` one of them.
What covers more is added to the kept corpus if ``--keep`` is given; what breaks something is
written to ``tests/fuzz/found`` and told.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
# The kept corpus of a target: what covers most, smallest first.
KEPT_BYTES = 8 << 10
KEPT_FILES = 40


def main() -> int:
    sys.path.insert(0, str(HERE))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", action="append", help="a target of targets.py; all by default")
    parser.add_argument("--seconds", type=int, default=20, help="for each target")
    parser.add_argument("--keep", action="store_true", help="add to the kept corpus what is new")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options, rest = parser.parse_known_args()
    if options.child:
        return fuzz(options.child, rest)
    from targets import TARGETS

    broken = [
        name
        for name in options.target or TARGETS
        if not _ended_well(name, options.seconds, keep=options.keep)
    ]
    print(f"{', '.join(broken)}: broken" if broken else "Nothing was found.")
    return 1 if broken else 0


def _ended_well(name: str, seconds: int, *, keep: bool) -> bool:
    from targets import TARGETS

    found = HERE / "found"
    found.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work, seeds = Path(folder, "work"), Path(folder, "seeds")
        work.mkdir()
        seeds.mkdir()
        for i, seed in enumerate(TARGETS[name].seeds()):
            (seeds / f"{i:03d}").write_bytes(seed)
        kept = HERE / "corpus" / name
        bounds = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048"]
        places = [str(work), str(seeds), *([str(kept)] if kept.is_dir() else [])]
        command = [sys.executable, __file__, "--child", name, *bounds, "-max_len=8192"]
        done = subprocess.run(
            [*command, f"-artifact_prefix={found}/{name}-", *places],
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        last = [line for line in done.stderr.splitlines() if "cov: " in line][-1:]
        print(f"{name}: {last[0] if last else 'did not run'}")
        if done.returncode:
            print(done.stdout[-1500:], done.stderr[-3000:], sep="\n")
        elif keep:
            _keep(kept, work)
    return done.returncode == 0


def _keep(kept: Path, work: Path) -> None:
    """Add the smallest of what covers more to the kept corpus, as far as there is room."""
    kept.mkdir(parents=True, exist_ok=True)
    room = KEPT_BYTES - sum(p.stat().st_size for p in kept.iterdir() if "seed" not in p.name)
    there = len(list(kept.iterdir()))
    for path in sorted(work.iterdir(), key=lambda p: (p.stat().st_size, p.name)):
        room -= path.stat().st_size
        if room < 0 or there >= KEPT_FILES:
            return
        (kept / path.name[:16]).write_bytes(path.read_bytes())
        there += 1


def fuzz(name: str, arguments: list[str]) -> int:
    """Run libFuzzer on one target; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["holdfast"], enable_loader_override=False):
        from targets import TARGETS
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name].check)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
