"""Pickles that lie behind one another in a stream: followed, and judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from holdfast.errors import PickleMalformed
from holdfast.security.array_headers import read_header
from holdfast.security.joblib_arrays import WRAPPER, skip_array
from holdfast.security.pickle_machine import AfterBuild, Program, follow
from holdfast.security.pickle_verdicts import Finding, Level, judge, level_of

_LEGACY_TORCH = 0x1950A86A20F9469CFC6C
_LEGACY_PICKLES = 5
_MAX_PICKLES = 10_000


@dataclass(frozen=True, slots=True)
class PickleScan:
    """One pickle in a file: where it is, and what loading it would have done.

    ``error`` says why it could not be followed to its end, in words, or is None.
    """

    name: str
    findings: tuple[Finding, ...]
    error: str | None = None

    @property
    def level(self) -> Level:
        """How bad it is; one that could not be followed to its end is never safe."""
        level = level_of(self.findings)
        return "unknown" if level == "safe" and self.error is not None else level


def scan_array(file: BinaryIO, name: str) -> list[PickleScan]:
    """Return the pickle of an array of objects; other arrays have none."""
    try:
        _, _, dtype = read_header(file)
    except ValueError as error:
        return [PickleScan(name, (), f"It is no array file: {error}.")]
    return scan_pickles(file, name, is_one=True) if dtype.hasobject else []


def scan_pickles(file: BinaryIO, name: str, *, is_one: bool = False) -> list[PickleScan]:
    """Return all pickles that lie behind one another from where the file is.

    Args:
        file: The file.
        name: What to call them.
        is_one: Loaders take all of it for pickles: what cannot be followed is told.
    """
    scans: list[PickleScan] = []
    legacy = False
    while len(scans) < _MAX_PICKLES and not (legacy and len(scans) == _LEGACY_PICKLES):
        begin = file.tell()
        first = file.read(1)
        if not first:
            break
        file.seek(begin)
        title = name if not scans else f"{name}, pickle {len(scans) + 1}"
        program, trouble = _followed(file, skip_array)
        findings = tuple(judge(program))
        if trouble is not None:
            # Of what is behind a pickle, and does nothing as one, nobody will take it for one; but
            # of PyTorch's files some have several.
            if findings or legacy or is_one or (not scans and first == b"\x80"):
                scans.append(PickleScan(title, findings, trouble))
            break
        legacy = legacy or (not scans and program.result == _LEGACY_TORCH)
        scans.append(PickleScan(title, findings or _in_arrays(file, begin, program)))
    if len(scans) == _MAX_PICKLES:
        scans.append(PickleScan(name, (), "It has more pickles than were looked at."))
    return scans


def _followed(file: BinaryIO, after_build: AfterBuild | None = None) -> tuple[Program, str | None]:
    """Follow a pickle as far as it goes; return why it could not be followed to its end."""
    try:
        return follow(file, after_build), None
    except PickleMalformed as error:
        partial = error.facts["program"]
        assert isinstance(partial, Program)
        return partial, error.message


def _in_arrays(file: BinaryIO, begin: int, program: Program) -> tuple[Finding, ...]:
    """Return what a pickle of joblib's would do for who does not load it by joblib.

    To any other loader the bytes of its arrays are opcodes.
    """
    if all(found != WRAPPER for found, _ in program.imports):
        return ()
    end = file.tell()
    file.seek(begin)
    plain, _ = _followed(file)
    file.seek(end)
    return tuple(judge(plain))
