"""What this machine offers: versions, memory, space, and the ways of writing that are usable."""

from __future__ import annotations

import contextlib
import mmap
import os
import platform
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PACKAGES = (
    "holdfast",
    "numpy",
    "torch",
    "blake3",
    "xxhash",
    "protobuf",
    "safetensors",
    "scikit-learn",
    "ml-dtypes",
    "obstore",
)
_BLOCK_BYTES = 4096
_SHARED_MEMORY = Path("/dev/shm")
# The arena takes about the size of the state; less than this holds hardly any.
_LITTLE_SHARED_BYTES = 256 * 1000**2
_LITTLE_FREE_BYTES = 1000**3


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing found out about the machine.

    Attributes:
        name: What was looked at.
        value: What was found.
        problem: What it means for saving, where it is bad; else empty.
    """

    name: str
    value: str | int | bool | None
    problem: str = ""


def look(folder: Path | None) -> list[Fact]:
    """Return what is known of this machine, with saving into a folder in mind.

    Args:
        folder: Where checkpoints are or shall be; it need not exist. A small file is written
            there, or in the nearest folder above that exists, and removed. None: in no folder.
    """
    return [
        Fact("python", f"{platform.python_implementation()} {platform.python_version()}"),
        Fact("platform", platform.platform()),
        Fact("cpus", usable_cpus()),
        Fact("memory_bytes", memory_bytes()),
        *package_facts(_PACKAGES),
        *shared_memory_facts(),
        *(folder_facts(nearest_folder(folder)) if folder is not None else ()),
    ]


def nearest_folder(path: Path) -> Path:
    """Return the path itself or the nearest folder above it that exists."""
    path = path.absolute()
    return next((above for above in (path, *path.parents) if above.is_dir()), Path(path.anchor))


def usable_cpus() -> int:
    """Return how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Not on macOS.
        return os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Return the machine's memory, or the limit of its control group where that is lower."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return None
    with contextlib.suppress(OSError, ValueError):
        return min(physical, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return physical


def package_facts(names: Sequence[str]) -> list[Fact]:
    """Return the version of each package, or None where it is not installed; imports none."""
    return [Fact(name, _version(name)) for name in names]


def _version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def shared_memory_facts() -> list[Fact]:
    """Return whether memory can be shared between processes, and how much."""
    usable = shared_memory_usable()
    problem = "" if usable else "Snapshots need shared memory: asynchronous saves will fail."
    facts = [Fact("shared_memory", usable, problem), Fact("memfd", memfd_usable())]
    if _SHARED_MEMORY.is_dir():
        free = shutil.disk_usage(_SHARED_MEMORY).free
        little = free < _LITTLE_SHARED_BYTES
        problem = "A state larger than this cannot be held in shared memory." if little else ""
        facts.append(Fact("dev_shm_free_bytes", free, problem if not memfd_usable() else ""))
    return facts


def shared_memory_usable() -> bool:
    """Tell whether a block of shared memory can be made, written and read."""
    from multiprocessing.shared_memory import SharedMemory

    try:
        block = SharedMemory(create=True, size=_BLOCK_BYTES)
    except OSError:
        return False
    try:
        if block.buf is None:
            return False
        block.buf[0] = 1
        return bool(block.buf[0] == 1)
    finally:
        block.close()
        block.unlink()


def memfd_usable() -> bool:
    """Tell whether anonymous memory files can be made (Linux)."""
    try:
        os.close(os.memfd_create("holdfast-probe"))
    except (OSError, AttributeError):
        return False
    return True


def folder_facts(folder: Path) -> list[Fact]:
    """Return what can be done in a folder, and how much space it has."""
    free = shutil.disk_usage(folder).free
    little = "There is hardly space for a checkpoint." if free < _LITTLE_FREE_BYTES else ""
    facts = [
        Fact("folder", str(folder)),
        Fact("file_system", file_system(folder)),
        Fact("free_bytes", free, little),
    ]
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        problem = f"Checkpoints cannot be written there: {error.strerror}."
        return [*facts, Fact("writable", False, problem)]
    return [*facts, Fact("writable", True), Fact("direct_io", direct_io_usable(folder))]


def direct_io_usable(folder: Path) -> bool:
    """Tell whether an aligned write past the page cache succeeds in a folder.

    Some file systems refuse at the open, others only at the write; so both are tried. Where it
    is refused, saves go through the page cache, which is slower.
    """
    flag = getattr(os, "O_DIRECT", 0)
    if not flag:
        return False
    handle, name = tempfile.mkstemp(prefix=".holdfast-probe-", dir=folder)
    os.close(handle)
    try:
        handle = os.open(name, os.O_WRONLY | flag)
        try:
            with mmap.mmap(-1, _BLOCK_BYTES) as page_aligned:
                return os.write(handle, page_aligned) == _BLOCK_BYTES
        finally:
            os.close(handle)
    except OSError:
        return False
    finally:
        os.unlink(name)


def file_system(folder: Path) -> str | None:
    """Return the type of the file system that holds a folder (Linux)."""
    try:
        lines = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return None
    mounts = [line.split() for line in lines]
    real = folder.resolve()
    # A later mount on the same point hides the earlier, so the last of the longest counts.
    holding = [
        (len(point), kind)
        for _, point, kind, *_ in mounts
        if real.is_relative_to(point.encode().decode("unicode_escape"))
    ]
    return max(reversed(holding), key=lambda found: found[0])[1] if holding else None
