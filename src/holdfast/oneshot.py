"""``save`` and ``load``: one checkpoint, no training loop."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast import frameworks
from holdfast.chunks.encoder import Compress, check_compress
from holdfast.engine.adapter_base import base_of
from holdfast.engine.leaf_filler import leaf_filler
from holdfast.engine.new_job import job_of, looked_at
from holdfast.engine.restore import Wanted
from holdfast.engine.restore_ref import restore_ref
from holdfast.engine.run_writer import RunWriter
from holdfast.engine.stream import StreamSource
from holdfast.engine.torn import StillWatch
from holdfast.errors import UsageError
from holdfast.format.lineage import Lineage
from holdfast.format.names import check_run, check_tag
from holdfast.history import catalog
from holdfast.history.finite import leaves_not_finite, warn_of
from holdfast.history.info import CheckpointInfo, info_of
from holdfast.plan.layout import plan_layout
from holdfast.records.opening import Location
from holdfast.repository import Store
from holdfast.restored import restored_of
from holdfast.state import environment
from holdfast.state import rng as rng_state
from holdfast.state.casts import Casts
from holdfast.state.config import check_dataset, clean_config
from holdfast.state.flags import require_flags
from holdfast.state.flatten import flatten
from holdfast.state.numbers import check_step, clean_metrics
from holdfast.state.paths import Patterns
from holdfast.state.root import check_root

_turns: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)


def save(
    location: Location | Store,
    tree: dict[str, Any],
    *,
    run: str,
    step: int,
    metrics: Mapping[str, Any] | None = None,
    tag: str | None = None,
    only: Patterns = None,
    skip: Patterns = None,
    rng: bool = True,
    check_finite: bool | str | Sequence[str] = False,
    config: object = None,
    dataset: str | None = None,
    compress: Compress = "none",
    cast: Mapping[str, str] | None = None,
) -> CheckpointInfo:
    """Save a state as one checkpoint; it is durable when this returns.

    Args:
        location: Folder of the store, made if it is not there; a ``Store``, or an
            ``ObjectStore``.
        tree: A dict of arrays, plain values, containers, and objects with ``state_dict``.
        run: Name of the run that it belongs to.
        step: Name of the checkpoint in the run, 0 or more.
        metrics: Numbers that go with it.
        tag: A name to give it.
        only: Glob patterns on leaf paths, or ``holdfast.only.weights`` and the like; only leaves
            that match are saved.
        skip: Glob patterns on leaf paths; leaves that match are not saved.
        rng: Save the random number generators of the libraries in play too.
        check_finite: Count values that are NaN or infinite in its arrays, or in those whose leaf
            path matches a glob pattern; with any, it is never the best.
        config: What it was made with: a mapping, dataclass or namespace of plain values.
        dataset: A fingerprint of the data, as text.
        compress: ``none`` stores arrays as they are, ``planes`` in fewer bytes where that saves
            5 % or more, ``auto`` likewise, while saving is no slower for it, ``delta`` as
            differences from an earlier checkpoint of the run where that saves 10 % more.
        cast: Arrays of floats to save in fewer bits, which loses digits: ``float32``, ``bfloat16``
            or ``float16`` by glob patterns on leaf paths. They come back as they were, rounded.

    Returns:
        What was saved.

    Raises:
        UnsupportedLeaf: Some value cannot be saved; nothing was.
        RunBusy: Another process is writing the run.
        SnapshotTorn: Another thread has changed the state meanwhile; nothing was committed.
        SigningFailed: The store's signer failed; nothing was committed.
        Untrusted: The store's trust policy would not believe its signer; nothing was saved.
        NoSpace, StoreUnavailable: Nothing was committed; earlier checkpoints are safe.
    """
    check_run(run)
    step = check_step(step)
    if tag is not None:
        check_tag(tag)
    check_root(tree)
    require_flags(rng=rng)
    looked_at(check_finite)
    check_compress(compress)
    casts = Casts(cast)
    numbers = clean_metrics(metrics)
    given, data = clean_config(config), check_dataset(dataset)
    frameworks.activate()
    state = tree.copy()
    if rng:
        state[rng_state.ROOT_KEY] = rng_state.capture()
    flat = flatten(state, only=only, skip=skip, casts=casts)
    watch = StillWatch(flat.leaves)
    layout = plan_layout((leaf.path, leaf.spec.nbytes) for leaf in flat.leaves)
    at = Store(location).place
    store = at.open_to_save(run)
    base = base_of(store, run, tree, only, at.authenticity.trust)
    lineage = Lineage(config=given, dataset=data, base=base)
    # Threads of this process take turns; another process is told to.
    with _turns[store.location, run]:
        writer = RunWriter(store, run, authenticity=at.authenticity, compress=compress)
        writer.open(os.getpid())
        try:
            job = job_of(
                flat,
                layout,
                run,
                step=step,
                check_finite=check_finite,
                metrics=numbers,
                reason="save()",
                tag=tag,
                parent=writer.newest_id,
                environment=environment.capture(),
                lineage=lineage,
            )
            source = StreamSource(layout, leaf_filler(flat.leaves, layout))
            saved = writer.save(job, source, check=lambda: watch.check(step=step))
        finally:
            writer.close()
    catalog.note(store, run)
    if saved.record.not_finite:
        warn_of(saved.record, leaves_not_finite(store, saved.record))
    if saved.tag_error is not None:
        raise saved.tag_error
    return info_of(saved.record, (tag,) if tag else (), at.authenticity.trust)


def load(
    location: Location | Store,
    ref: str,
    *,
    into: dict[str, Any] | None = None,
    only: Patterns = None,
    skip: Patterns = None,
    strict: bool = True,
    rng: bool = False,
    verify: str = "fast",
    convert: bool = False,
) -> Any:
    """Load a checkpoint as a new tree, or into objects that stand.

    ``RUN@latest`` means the newest checkpoint that verifies: damaged ones are stepped over, with
    a warning that names them. With a trust policy, so are those that it does not trust.

    Args:
        location: Folder of the store, a ``Store``, or an ``ObjectStore``.
        ref: ``RUN@STEP``, ``RUN@latest``, ``RUN@best:METRIC[:max]`` or ``RUN@TAG``.
        into: A dict of objects to load into, by the names that they were saved under; what is
            not in it is not loaded. Not given: a new tree is returned.
        only: Glob patterns on leaf paths, or ``holdfast.only.weights`` and the like; only leaves
            that match are loaded.
        skip: Glob patterns on leaf paths; leaves that match are not loaded. A pattern that matches
            nothing is told in a warning, here and in ``only``.
        strict: With ``into``: a leaf that only one side has is an error.
        rng: Set the random number generators as they were.
        verify: ``fast`` checks every chunk by its XXH3-128 checksum, ``full`` by its BLAKE3
            digest, as is always done where the store has a trust policy.
        convert: With ``into``: arrays of another dtype than was saved take the values all the
            same, converted; ``Restored.differences`` tells which. Kinds of number stay: no
            floating-point value becomes an integer.

    Returns:
        The tree; with ``into``, a ``Restored`` that tells what was restored.

    Raises:
        NotFound: There is no such store, run or checkpoint.
        ChunkDamaged, ChunkMissing, ManifestDamaged: It is damaged; nothing was changed.
        Untrusted, RolledBack: The store's trust policy does not believe it; nothing was used.
        Mismatch: It does not fit; nothing was changed.
    """
    if into is not None and not isinstance(into, dict):
        raise UsageError(f"into= takes a dict of objects by name, not a {type(into).__name__}.")
    if verify not in ("fast", "full"):
        raise UsageError(f"verify={verify!r} is neither 'fast' nor 'full'.")
    frameworks.activate()
    at = Store(location).place
    store = at.open()
    wanted = Wanted(
        into,
        only=only,
        skip=skip,
        strict=strict,
        rng=rng,
        full=verify == "full",
        trust=at.authenticity.trust,
        convert=convert,
        told=(only, skip),
    )
    outcome = restore_ref(store, ref, wanted)
    return outcome.value if into is None else restored_of(outcome, at.authenticity.trust)
