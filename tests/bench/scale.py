"""What a save of many thousand ranks asks of each and of rank 0: ``make scale``.

One process plays some ranks, one after the other, with the code that real ones run: flatten, plan,
part, and what rank 0 does with parts. Each case has a process of its own, so that its memory can
be told. Times are of the processor; the store is a model, whose numbers are said. With
``--write FILE`` the tables of a page are put anew.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

BEGIN, END = "<!-- scale-{0}:begin -->", "<!-- scale-{0}:end -->"
KINDS = ("ddp", "hsdp", "fsdp", "fsdp+tp")
WORLDS = (16, 256, 4096, 16_384)
N_LEAVES = 100_000
# Ranks whose parts are read for the reckoning of a commit.
SAMPLES = 3

# The store: what Amazon says of S3 (see docs/scale.md), and a network of a gigabyte a second.
LATENCY_S = 0.1
GETS_PER_S = 5_500
PUTS_PER_S = 3_500
KEYS_PER_LIST = 1_000
NETWORK_BYTES_PER_S = 1e9
READERS = 32


@dataclass(frozen=True)
class Planned:
    """What planning took on one rank: seconds of the processor, bytes of memory on top."""

    kind: str
    world: int
    rank: int
    n_leaves: int
    cpu_s: float
    peak_bytes: int
    n_boxes: int
    part_bytes: int
    # The second time: what is reckoned once for a mesh is known.
    again_s: float


@dataclass(frozen=True)
class Committed:
    """What rank 0 does with the parts of all: reckoned from those of some."""

    kind: str
    world: int
    n_leaves: int
    part_bytes: float
    part_cpu_s: float
    first_cpu_s: float
    peak_bytes: int


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def _forget_peak() -> int:
    """Begin to look at the peak of memory anew; return what is used now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _peak_bytes()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def planned(kind: str, world: int, rank: int, n_leaves: int) -> Planned:
    from bench import simulated_ranks as ranks
    from holdfast.format.schema import PartMessage

    ranks.register()
    ranks.plan(ranks.state_of(kind, world, rank, 30), world, rank)
    state = ranks.state_of(kind, world, rank, n_leaves)
    before = _forget_peak()
    begin = time.process_time()
    job = ranks.plan(state, world, rank)
    cpu_s = time.process_time() - begin
    peak = _peak_bytes() - before
    data = ranks.part(job)
    begin = time.process_time()
    ranks.plan(state, world, rank)
    again_s = time.process_time() - begin
    n_boxes = len(PartMessage.FromString(data).boxes.array)
    return Planned(kind, world, rank, n_leaves, cpu_s, peak, n_boxes, len(data), again_s)


def committed(kind: str, world: int, n_leaves: int) -> Committed:
    from bench import simulated_ranks as ranks
    from holdfast.engine.part_sums import PartSums, parse

    ranks.register()
    chosen = [0, *(1 + i * (world - 2) // (SAMPLES - 1) for i in range(SAMPLES))]
    data = []
    for rank in chosen:
        state = ranks.state_of(kind, world, rank, n_leaves)
        data.append(ranks.part(ranks.plan(state, world, rank)))
    before = _forget_peak()
    begin = time.process_time()
    sums = PartSums(parse(data[0], "rank 0"), "simulated")
    first_cpu_s = time.process_time() - begin
    others = data[1:]
    begin = time.process_time()
    for content in others:
        message = parse(content, "a part")
        assert sums.is_of_this_state(message)
        sums.add(message)
    part_cpu_s = (time.process_time() - begin) / len(others)
    mean = sum(map(len, others)) / len(others)
    peak = _peak_bytes() - before
    return Committed(kind, world, n_leaves, mean, part_cpu_s, first_cpu_s, peak)


def _alone(what: str, *arguments: object) -> dict[str, Any]:
    """Return what a process of its own finds."""
    command = [sys.executable, __file__, what, *map(str, arguments)]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def planning_table(found: list[Planned]) -> str:
    lines = [
        "| layout | ranks | arrays | planning, s | again, s | memory, MB | boxes | part, kB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found:
        lines.append(
            f"| {row.kind} | {row.world:,} | {row.n_leaves:,} | {row.cpu_s:.2f} | "
            f"{row.again_s:.2f} | {row.peak_bytes / 1e6:.0f} | {row.n_boxes:,} | "
            f"{row.part_bytes / 1e3:,.0f} |"
        )
    return "\n".join(lines)


def commit_table(found: list[Committed]) -> str:
    lines = [
        "| layout | ranks | arrays | parts, GB | lists | gets | processor, s | waiting, s |"
        " bytes, s | memory, MB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found:
        n, total = row.world, row.world * row.part_bytes
        waiting = max(n / READERS * LATENCY_S, n / GETS_PER_S)
        cpu_s = row.first_cpu_s + n * row.part_cpu_s
        lists, seconds = -(-n // KEYS_PER_LIST), total / NETWORK_BYTES_PER_S
        lines.append(
            f"| {row.kind} | {n:,} | {row.n_leaves:,} | {total / 1e9:.2f} | {lists} | {n:,} | "
            f"{cpu_s:.0f} | {waiting:.0f} | {seconds:.0f} | {row.peak_bytes / 1e6:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1:2] == ["planned"]:
        kind, world, rank, n_leaves = sys.argv[2:]
        print(json.dumps(asdict(planned(kind, int(world), int(rank), int(n_leaves)))))
        return
    if sys.argv[1:2] == ["committed"]:
        kind, world, n_leaves = sys.argv[2:]
        print(json.dumps(asdict(committed(kind, int(world), int(n_leaves)))))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leaves", type=int, default=N_LEAVES)
    parser.add_argument("--worlds", type=int, nargs="+", default=WORLDS)
    parser.add_argument("--kinds", nargs="+", default=KINDS)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    plans = [
        Planned(**_alone("planned", kind, world, world // 4, options.leaves))
        for kind in options.kinds
        for world in options.worlds
    ]
    print(planning_table(plans))
    commits = [
        Committed(**_alone("committed", kind, max(options.worlds), options.leaves))
        for kind in options.kinds
    ]
    print(commit_table(commits))
    if options.json:
        told = {"plans": [asdict(p) for p in plans], "commits": [asdict(c) for c in commits]}
        options.json.write_text(json.dumps(told, indent=1))
    if options.write:
        from pages import put_between

        tables = {"plans": planning_table(plans), "commits": commit_table(commits)}
        for name, text in tables.items():
            put_between(options.write, BEGIN.format(name), END.format(name), text)


if __name__ == "__main__":
    main()
