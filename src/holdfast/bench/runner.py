"""Runs the sections of a benchmark in a folder of its own and judges what they measured."""

from __future__ import annotations

import dataclasses
import gc
import importlib.metadata
import logging
import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from holdfast.bench import checks, files, scenarios, speed, state
from holdfast.bench.peers import Peer, installed
from holdfast.bench.result import (
    LIMIT,
    OURS,
    OURS_FIRST,
    OURS_SEALED,
    OURS_ZERO,
    SECTIONS,
    BenchOptions,
    BenchResult,
)
from holdfast.bench.session import Session, opened, timed_save
from holdfast.errors import EnvironmentTrouble, NoSpace, UsageError
from holdfast.store.free_memory import free_memory_bytes
from holdfast.version import __version__

Progress = Callable[[str], None]

_PACKAGES = ("torch", "numpy", "blake3", "safetensors", "torch_checkpointing", "orbax-checkpoint")
_DISK_TIMES, _MEMORY_TIMES = 4, 5


def run(options: BenchOptions, progress: Progress | None = None) -> BenchResult:
    """Measure saving and restoring here, beside the limits of the machine and the other tools.

    Args:
        options: What to measure, and where.
        progress: Called with a line of text whenever something new begins.

    Returns:
        All samples with the checks that they allow.

    Raises:
        UsageError: A section that does not exist, or a size or number of rounds below one.
        MissingDependency: PyTorch is not installed.
        NoSpace: The disk has too little room.
        EnvironmentTrouble: The memory is too small for a state of this size.
    """
    _refuse_nonsense(options)
    state.need_torch()
    base = Path.cwd() if options.directory is None else options.directory
    base.mkdir(parents=True, exist_ok=True)
    specs = state.gpt2_specs(options.size_mb)
    state_bytes = sum(spec.nbytes for spec in specs)
    _refuse_too_large(base, state_bytes)
    peers, absent = installed() if options.peers else ([], [])
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=base) as folder:
        session = Session(options, Path(folder), progress or (lambda _: None), peers, absent)
        machine = _machine(session.folder)
        try:
            with warnings.catch_warnings():
                # DCP says for every call that there is no process group; there is to be none.
                warnings.filterwarnings("ignore", message="torch.distributed is disabled")
                _run_sections(session, specs)
        finally:
            _close(peers)
            gc.unfreeze()
    subjects = [LIMIT, OURS, OURS_FIRST, OURS_ZERO, OURS_SEALED, *(peer.name for peer in peers)]
    result = BenchResult(
        machine=machine,
        state_bytes=state_bytes,
        n_tensors=len(specs),
        rounds=options.rounds,
        measurements=session.samples.freeze(subjects),
        absent=tuple(session.absent),
    )
    return dataclasses.replace(result, checks=checks.judge(result))


def _run_sections(session: Session, specs: Sequence[state.TensorSpec]) -> None:
    wanted = session.options.sections
    _set_aside()
    session.say("making the state")
    tensors = state.build(tuple(specs))
    # Memory first, while nobody else has left buffers in this process.
    if "memory" in wanted:
        scenarios.host_memory(session, tensors)
    if "speed" in wanted or "training" in wanted:
        _rehearse(session)
        _set_aside()
    if "speed" in wanted:
        speed.measure(session, tensors)
    if "training" in wanted:
        scenarios.training(session, tensors)
    if "frozen" in wanted:
        scenarios.frozen(session, tensors)
    del tensors
    if "small" in wanted:
        scenarios.small(session)
    if "leaves" in wanted:
        scenarios.leaves(session)


def _rehearse(session: Session) -> None:
    """Let everyone save a little once: imports and other first times are not what is measured."""
    session.say("rehearsing")
    tensors = state.build(state.small_specs()[:4])
    with session.place(OURS) as folder, opened() as ours:
        timed_save(ours, tensors, folder)
        ours.load(tensors, folder)
    for peer in list(session.peers):
        try:
            with session.place(peer.name) as folder:
                timed_save(peer, tensors, folder)
                peer.load(tensors, folder)
        except Exception as error:
            session.give_up(peer, error)


def _set_aside() -> None:
    """Keep what is imported out of the collections before each measurement: they take seconds."""
    gc.collect()
    gc.freeze()


def _close(peers: Sequence[Peer]) -> None:
    for peer in peers:
        try:
            peer.close()
        except Exception as error:
            logging.getLogger(__name__).warning("%s could not be ended: %s", peer.name, error)


def _refuse_nonsense(options: BenchOptions) -> None:
    unknown = sorted(set(options.sections) - set(SECTIONS))
    if unknown:
        raise UsageError(
            f"There is no section {', '.join(unknown)} in the benchmark. Nothing was measured. "
            f"Choose from: {', '.join(SECTIONS)}.",
            unknown=tuple(unknown),
        )
    if options.rounds < 1 or options.size_mb < 1:
        raise UsageError(
            f"The benchmark needs at least one round and one megabyte, not {options.rounds} "
            f"rounds of {options.size_mb:g} MB. Nothing was measured."
        )


def _refuse_too_large(base: Path, state_bytes: int) -> None:
    free, needed = shutil.disk_usage(base).free, _DISK_TIMES * state_bytes
    if free < needed:
        raise NoSpace(
            f"The benchmark needs {needed / 1e9:.1f} GB of disk and {free / 1e9:.1f} GB are free. "
            "Nothing was written. Choose a smaller size or another directory.",
            needed_bytes=needed,
            free_bytes=free,
        )
    available, needed = free_memory_bytes(), _MEMORY_TIMES * state_bytes
    if available is not None and available < needed:
        raise EnvironmentTrouble(
            f"The benchmark needs {needed / 1e9:.1f} GB of memory and {available / 1e9:.1f} GB "
            "are available. Nothing was measured. Choose a smaller size.",
            needed_bytes=needed,
            available_bytes=available,
        )


def _machine(folder: Path) -> dict[str, object]:
    """Return facts that make two results comparable; nothing that names the machine."""
    versions: dict[str, str] = {"holdfast": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    try:
        memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        memory_bytes = None
    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": memory_bytes,
        "file_system": files.file_system(folder),
        "python": platform.python_version(),
        "versions": versions,
    }
