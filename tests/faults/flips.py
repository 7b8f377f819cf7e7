"""Damage to files: a bit flipped, or the end cut off; where, is chosen by a seeded generator."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FLIP, CUT = "flipped bit", "cut file"
# One in so many is a cut, the others are flips.
_CUTS = 8


@dataclass(frozen=True, slots=True)
class Damage:
    """What is done to a file: a bit flipped at an offset, or the file cut there."""

    name: str
    at: int
    mask: int = 0

    @property
    def how(self) -> str:
        return FLIP if self.mask else CUT

    def apply(self, path: Path, data: bytes) -> None:
        """Damage a file as a disk does, which leaves no new time of change."""
        found = path.stat()
        if not self.mask:
            path.write_bytes(data[: self.at])
        else:
            with open(path, "r+b", buffering=0) as file:
                file.seek(self.at)
                file.write(bytes([data[self.at] ^ self.mask]))
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))

    def __str__(self) -> str:
        what = f"bit {self.mask.bit_length() - 1} of byte {self.at}" if self.mask else self.at
        return f"{self.how} in {self.name}, at {what}"


def by_kind(
    files: Mapping[str, bytes], kind_of: Callable[[str], str], source: random.Random, count: int
) -> Iterator[Damage]:
    """Yield so many damages, the kinds of files in turn: records are struck as often as data."""
    kinds: dict[str, list[str]] = {}
    for name in sorted(name for name, data in files.items() if data):
        kinds.setdefault(kind_of(name), []).append(name)
    for number in range(count):
        name = source.choice(kinds[sorted(kinds)[number % len(kinds)]])
        yield _somewhere(name, files[name], source)


def by_bytes(files: Mapping[str, bytes], source: random.Random, count: int) -> Iterator[Damage]:
    """Yield so many damages, any byte of all files as likely, in turn with any file as likely."""
    names = sorted(name for name, data in files.items() if data)
    sizes = [len(files[name]) for name in names]
    for number in range(count):
        name = source.choices(names, sizes)[0] if number % 2 else source.choice(names)
        yield _somewhere(name, files[name], source)


def _somewhere(name: str, data: bytes, source: random.Random) -> Damage:
    mask = 0 if source.randrange(_CUTS) == 0 else 1 << source.randrange(8)
    return Damage(name, source.randrange(len(data)), mask)
