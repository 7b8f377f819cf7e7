"""A foreign file followed in a process of its own, which may not have more than it needs.

That process has a bound on memory and processor time, and can write no file. What it gives back is
JSON, of which only arrays' places and plain values can be made.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys

from holdfast import errors
from holdfast.errors import DataError, ForeignRefused, HoldfastError, NotFound, StoreUnavailable
from holdfast.foreign import wire
from holdfast.foreign.build import Unknown
from holdfast.foreign.formats import read_here
from holdfast.foreign.limits import Limits
from holdfast.foreign.tree import ForeignTree

# The folder that it is started in is not searched for modules: it may be the downloaded one.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from holdfast.foreign.confined import answer; answer(sys.argv[2])"
)
_OPEN_FILES = 64
_KNOWN: dict[str, type[HoldfastError]] = {
    cls.__name__: cls for cls in (errors.ForeignDamaged, ForeignRefused, NotFound, StoreUnavailable)
}


def read_confined(path: str, unknown: Unknown, limits: Limits) -> ForeignTree:
    """Return the tree of a foreign file, followed in another process.

    Raises:
        ForeignRefused: It would do more than build arrays and plain values, or asks for too much.
        ForeignDamaged: It is of no format that is known, or not whole.
        HoldfastError: It cannot be read.
    """
    request = {"path": path, "unknown": unknown, "limits": dataclasses.asdict(limits)}
    paths = [entry for entry in sys.path if entry]
    command = [sys.executable, "-P", "-c", _START, json.dumps(paths), json.dumps(request)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        data = process.stdout.read(limits.memory_bytes)
        process.kill()
        _, complaint = process.communicate()
    if not data.endswith(b"\n"):
        raise _without_answer(path, process.returncode, complaint)
    return _answered(json_line=data)


def _answered(json_line: bytes) -> ForeignTree:
    if not json_line.startswith(b"!"):
        return wire.decode(json_line)
    told = json.loads(json_line[1:])
    raise _KNOWN.get(told["class"], DataError)(told["message"], **told["facts"])


def _without_answer(path: str, status: int, complaint: bytes) -> ForeignRefused:
    why = complaint.decode(errors="replace").strip().rpartition("\n")[2] or f"exit status {status}"
    if status == -signal.SIGXCPU:
        why = "it took too long"
    return ForeignRefused(
        f"{path!r} is refused: the process that followed it ended ({why}). Nothing of it was run.",
        path=path,
        what=why,
    )


def answer(text: str) -> None:
    """Follow the file that a request names, confined, and write what is in it to stdout."""
    request = json.loads(text)
    limits = Limits(**request["limits"])
    confine(limits)
    try:
        line = wire.encode(read_here(request["path"], request["unknown"], limits))
    except HoldfastError as error:
        line = _error_line(error)
    except MemoryError:
        why = "it asks for more memory than it may have"
        refused = f"{request['path']!r} is refused: {why}. Nothing of it was run."
        line = _error_line(ForeignRefused(refused, path=request["path"], what=why))
    # Unbuffered, so that all of it has gone when this process is ended.
    with os.fdopen(os.dup(1), "wb", buffering=0) as out:
        rest = memoryview(line + b"\n")
        while rest:
            rest = rest[out.write(rest) :]


def _error_line(error: HoldfastError) -> bytes:
    facts = {key: value for key, value in error.facts.items() if isinstance(value, str | int)}
    told = {"class": type(error).__name__, "message": error.message, "facts": facts}
    return b"!" + json.dumps(told).encode()


def confine(limits: Limits) -> None:
    """Bound what this process may have from now on."""
    _bound(resource.RLIMIT_AS, _address_space() + limits.memory_bytes)
    # At the hard bound the process is killed without a word.
    _bound(resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + 5)
    _bound(resource.RLIMIT_NOFILE, _OPEN_FILES)
    for nothing in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_NPROC):
        _bound(nothing, 0)


def _bound(what: int, most: int, hardest: int | None = None) -> None:
    _, hard = resource.getrlimit(what)
    hardest = most if hardest is None else hardest
    if hard != resource.RLIM_INFINITY:
        most, hardest = min(most, hard), min(hardest, hard)
    try:
        resource.setrlimit(what, (most, hardest))
    except (ValueError, OSError):
        # Not every system has every bound; the reader counts by itself as well.
        return


def _address_space() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 1 << 30
