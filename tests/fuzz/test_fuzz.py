"""The kept corpus, replayed, and a bounded number of changes to it; ``make fuzz`` looks further."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from targets import TARGETS

from absent import needs_package

HERE = Path(__file__).parent
CHANGES = 150 * int(os.environ.get("HOLDFAST_FUZZ", "1"))
# What a parser may ask for whatever it is given, and for each byte of it.
FIXED_BYTES, BYTES_PER_BYTE = 12 << 20, 1000
_EXTREMES = (b"\x00", b"\xff", b"\x7f", b"\xff" * 4, b"\xff" * 8, bytes(8), b"\x7f" + b"\xff" * 7)


def inputs(name: str) -> list[bytes]:
    kept = HERE / "corpus" / name
    files = sorted(kept.iterdir()) if kept.is_dir() else []
    return [*TARGETS[name].seeds(), *(path.read_bytes() for path in files)]


def changed(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randint(0, len(made))
        match dice.randint(0, 5):
            case 0:
                made[at : at + 1] = bytes([dice.randint(0, 255)])
            case 1:
                piece = dice.choice(_EXTREMES)
                made[at : at + len(piece)] = piece
            case 2:
                del made[at : at + dice.randint(1, 16)]
            case 3:
                made[at:at] = made[at : at + dice.randint(1, 64)] * dice.randint(1, 4)
            case 4:
                other = dice.choice(others)
                begin = dice.randint(0, len(other))
                made[at:at] = other[begin : begin + dice.randint(1, 64)]
            case 5:
                if made:
                    made[at % len(made)] ^= 1 << dice.randint(0, 7)
    return bytes(made[: 1 << 16])


def check(name: str, data: bytes) -> None:
    tracemalloc.start()
    try:
        TARGETS[name].check(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < FIXED_BYTES + BYTES_PER_BYTE * len(data), f"{peak} bytes for {len(data)}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_what_is_kept_breaks_nothing(name: str) -> None:
    for data in inputs(name):
        check(name, data)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_what_is_near_to_it_breaks_nothing(name: str) -> None:
    dice = random.Random(name)
    known = inputs(name)
    for _ in range(CHANGES):
        data = changed(dice.choice(known), known, dice)
        try:
            check(name, data)
        except BaseException:
            print(f"the input was {data!r}")
            raise


def test_the_kept_corpus_is_small() -> None:
    files = [path for path in (HERE / "corpus").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 150_000


def test_the_fuzzer_runs() -> None:
    needs_package("atheris")
    command = [sys.executable, str(HERE / "run.py"), "--target", "policy", "--seconds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cov:" in done.stdout
