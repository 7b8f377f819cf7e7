"""Restoring one checkpoint: what fits is settled first, then all is read, then it is applied."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from holdfast import frameworks
from holdfast.chunks.batch import reads_of
from holdfast.chunks.blocks import by_blocks
from holdfast.chunks.read import NOTHING_READ, ReadBytes, read_chunks
from holdfast.engine.restore_doubles import compare_doubles
from holdfast.engine.shield import uninterrupted
from holdfast.engine.spare import spare_for
from holdfast.errors import HoldfastError, Mismatch, NotFound, RestoreIncomplete, UsageError
from holdfast.format.commit import CommitRecord
from holdfast.history.refs import find_by_id
from holdfast.plan.reads import Want, plan_reads
from holdfast.records.overlaid import with_base
from holdfast.records.whole import Whole, read_whole
from holdfast.security.trust_policy import TrustPolicy
from holdfast.state import rng as rng_state
from holdfast.state.bind import Binder, unfit
from holdfast.state.collector import collector_paused
from holdfast.state.flags import require_flags
from holdfast.state.nodes import Node, packages_of_codecs, prune
from holdfast.state.paths import Patterns, selector, without_effect
from holdfast.state.reads import Read, Thunk, stage_casts, stage_overlaps
from holdfast.state.roles import entries_of, entries_of_tree
from holdfast.store.contract import ObjectStore
from holdfast.wording.numbers import bytes_text

_log = logging.getLogger("holdfast")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to restore, and into what.

    Attributes:
        target: A mapping to restore into, or None for a new tree.
        whole: Every root key of the checkpoint must have its place in target.
        only: Patterns of the leaves to restore.
        skip: Patterns of the leaves not to restore.
        strict: Missing and unexpected leaves are errors.
        rng: Set the random number generators too.
        full: Check BLAKE3 digests instead of XXH3 checksums.
        spare: Memory that the restore may use; None: it takes some where the store is far.
        convert: Values may become those of another dtype, that of what stands there.
        trust: Whom to believe. With a policy BLAKE3 digests are checked always: an XXH3 checksum
            can be made to fit.
        rank: Whose own values to restore, of a checkpoint that several ranks saved.
        told: The ``only`` and ``skip`` that somebody gave for this restore: one of their patterns
            that matches nothing is told.
    """

    target: dict[str, Any] | None
    whole: bool = False
    only: Patterns = None
    skip: Patterns = None
    strict: bool = True
    rng: bool = False
    full: bool = False
    spare: memoryview | None = None
    trust: TrustPolicy | None = None
    convert: bool = False
    rank: int = 0
    told: tuple[Patterns, Patterns] = (None, None)

    def __post_init__(self) -> None:
        require_flags(strict=self.strict, rng=self.rng, convert=self.convert)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a restore gave: the tree (or target), and what had no counterpart or another kind.

    ``nbytes`` is what was read, ``nbytes_of_ranks`` what each rank read that restored together.
    ``tier`` is where the checkpoint was: ``home`` is the store that was asked.
    """

    record: CommitRecord
    value: Any
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    stepped_over: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    nbytes: ReadBytes = NOTHING_READ
    nbytes_of_ranks: tuple[ReadBytes, ...] = ()
    tier: str = "home"


def restore_checkpoint(store: ObjectStore, record: CommitRecord, wanted: Wanted) -> Outcome:
    """Restore one checkpoint.

    Raises:
        DataError: Something of it is damaged or missing; nothing was changed.
        Untrusted: The policy does not trust it; only its commit was read.
        Mismatch: It does not fit; nothing was changed.
        RestoreIncomplete: An object refused its part of the state after others had theirs.
    """
    if wanted.trust is not None:
        wanted.trust.require(record)
    with collector_paused():
        return _restore(store, record, wanted)


def _restore(store: ObjectStore, record: CommitRecord, wanted: Wanted) -> Outcome:
    ref = f"{record.run}@{record.step}"
    part = _with_base(store, record, read_whole(store, record, wanted.rank), wanted)
    root = part.root
    frameworks.activate_for({row.framework for row in part.arrays} | packages_of_codecs(root))
    chosen = _chosen(root, wanted)
    state, generators = _split(root, wanted, chosen)
    if wanted.rank >= record.world_size:
        generators = None  # Fewer ranks have saved it: this one keeps those that it has.
    if chosen is not None and generators is None and next(state.leaves(), None) is None:
        raise _nothing_left(ref, wanted)
    binder = Binder(part.arrays, chosen=chosen, convert=wanted.convert)
    apply = _bind_root(binder, state, wanted.target)
    set_generators = binder.fresh(generators) if generators is not None else None
    read = partial(read_arrays, store, part, ref=ref, wanted=wanted)
    compare_doubles(binder, read)
    _settle(binder, wanted)
    compare_overlaps = stage_overlaps(binder.reads)
    put_casts = stage_casts(binder.reads, part.arrays)
    # All or nothing: a Ctrl-C is looked at until all is known to be good, and not after that.
    with uninterrupted() as shield:
        nbytes = read(binder.reads, should_stop=shield.is_wanted_out)
        put_casts()
        compare_overlaps()
        value, notes = _apply(apply, set_generators, ref, is_new=wanted.target is None)
    idle = _idle_patterns(ref, wanted, root, binder.spared)
    if record.not_finite:
        _warn_of(ref, record.not_finite)
    _log.info(
        "%s was restored: %s of arrays, for which %s of the store were read.",
        ref,
        bytes_text(nbytes.wanted),
        bytes_text(nbytes.read),
    )
    return Outcome(
        record,
        value,
        tuple(binder.missing),
        tuple(binder.unexpected),
        tuple(binder.differing),
        notes=(*notes, *idle, *(f"converted {what}" for what in binder.converted)),
        nbytes=nbytes,
    )


def _with_base(store: ObjectStore, record: CommitRecord, own: Whole, wanted: Wanted) -> Whole:
    """Return a checkpoint with what another one has of it, where it names one."""
    origin = record.lineage.base
    if origin is None:
        return own
    try:
        base = find_by_id(store, origin.run, origin.step, origin.id)
        if wanted.trust is not None:
            wanted.trust.require(base)
        return with_base(own, read_whole(store, base))
    except HoldfastError as error:
        ref = f"{record.run}@{record.step}"
        if wanted.only is None:
            raise NotFound(
                f"{ref} has a part of a state only, and its base {origin.ref} ({origin.id}) cannot "
                f"be read: {error} Nothing was changed. What {ref} has itself can be loaded with "
                "only=.",
                ref=ref,
                base=origin.ref,
            ) from error
        _log.warning("The base of %s is left out: %s", ref, error)
        return own


def _warn_of(ref: str, not_finite: int) -> None:
    _log.warning(
        "%s was restored, and %d value(s) of it are NaN or infinite, as they were when it was "
        "saved. 'holdfast show %s' tells which.",
        ref,
        not_finite,
        ref,
    )


def _chosen(root: Node, wanted: Wanted) -> Callable[[str], bool] | None:
    """Return what says of a leaf's path whether it is wanted; None: all are."""
    target = wanted.target
    return selector(
        wanted.only,
        wanted.skip,
        lambda: entries_of_tree(root) if target is None else entries_of(target),
    )


def _idle_patterns(ref: str, wanted: Wanted, root: Node, spared: Sequence[str]) -> list[str]:
    """Tell of patterns that match no leaf, neither saved nor standing: slips of the pen, mostly."""
    if wanted.told == (None, None):
        return []
    paths = [*spared, *(leaf.path for leaf in root.leaves())]
    notes = []
    for name, patterns in zip(("only", "skip"), wanted.told, strict=True):
        for pattern in without_effect(patterns, paths):
            if pattern.startswith("@"):
                continue  # The generators may not have been saved; nothing is lost by naming them.
            notes.append(f"{name}={pattern!r} matches no leaf of {ref}")
            _log.warning("%s, and has no effect.", notes[-1])
    return notes


def _nothing_left(ref: str, wanted: Wanted) -> UsageError:
    return UsageError(
        f"only={wanted.only!r}, skip={wanted.skip!r} leave nothing of {ref} to restore: no leaf "
        f"path matches. Nothing was changed; 'holdfast show {ref}' lists the paths.",
        ref=ref,
    )


def _split(
    root: Node, wanted: Wanted, chosen: Callable[[str], bool] | None
) -> tuple[Node, Node | None]:
    """Return the user's state and the generators of a saved root."""
    generators = next((c for c in root.children if c.key == rng_state.ROOT_KEY), None)
    children = [c for c in root.children if c.key != rng_state.ROOT_KEY]
    if wanted.target is not None and not wanted.whole:
        # An object that was not handed in was not asked for.
        children = [c for c in children if c.key in wanted.target]
    state = Node(root.kind, root.path, children=children)
    if chosen is not None:
        state = Node(root.kind, root.path, children=[prune(c, chosen) for c in children])
        if generators is not None and not chosen(rng_state.ROOT_KEY):
            generators = None
    return state, generators if wanted.rng else None


def _bind_root(binder: Binder, state: Node, target: dict[str, Any] | None) -> Thunk:
    if target is None:
        return binder.fresh(state)
    if not target:
        raise Mismatch("There is nothing to restore into: into= is empty.")
    return binder.into(state, target, "")


def _settle(binder: Binder, wanted: Wanted) -> None:
    problems = list(binder.problems)
    if wanted.strict:
        problems += binder.differing
        problems += [f"{path!r}: wanted, but not in the checkpoint" for path in binder.missing]
        problems += [f"{path!r}: in the checkpoint, but not wanted" for path in binder.unexpected]
    if problems:
        raise unfit(problems, lenient_helps=not binder.problems)


def read_arrays(
    store: ObjectStore,
    part: Whole,
    wanted_reads: Sequence[Read],
    *,
    ref: str,
    wanted: Wanted,
    should_stop: Callable[[], bool] = lambda: False,
) -> ReadBytes:
    """Read arrays of a checkpoint, each to where it goes.

    Args:
        store: Where it is.
        part: The checkpoint as one.
        wanted_reads: What of it, and where to.
        ref: What it is called in messages.
        wanted: How it is checked, and the memory that may be used.
        should_stop: Says whether to give up.

    Raises:
        DataError: Something of it is damaged or missing; what stands is as it was.
    """
    lengths = [chunk.length for chunk in part.chunks]
    spans = plan_reads(part.arrays, lengths, [Want(read.row, read.box) for read in wanted_reads])
    pieces: Mapping[int, list[tuple[int, memoryview, bool, str]]] = {
        chunk: [
            (
                span.begin,
                wanted_reads[span.want].into[span.at : span.at + span.nbytes],
                wanted_reads[span.want].in_place,
                wanted_reads[span.want].path,
            )
            for span in found
        ]
        for chunk, found in spans.items()
    }
    full = wanted.full or wanted.trust is not None
    reads = by_blocks(store, reads_of(part, pieces), full=full)
    return read_chunks(
        store,
        reads,
        ref=ref,
        full=full,
        spare=wanted.spare if wanted.spare is not None else spare_for(store, reads),
        should_stop=should_stop,
    )


def _apply(
    apply: Thunk, set_generators: Thunk | None, ref: str, *, is_new: bool
) -> tuple[Any, list[str]]:
    try:
        value = apply()
        absent = rng_state.apply(set_generators()) if set_generators is not None else []
    except RestoreIncomplete:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        if is_new:
            raise RestoreIncomplete(
                f"{ref} was read and is good, but a value of it could not be made: {what}. Nothing "
                "of yours was changed. Mend its codec, or leave it out with skip=.",
                ref=ref,
            ) from error
        raise RestoreIncomplete(
            f"{ref} was read and is good, but an object of the state refused its part: {what}. "
            "Others have their values already: do not go on with this state. Mend the cause and "
            "restore again.",
            ref=ref,
        ) from error
    notes = [f"random numbers of {name}: saved, but {name} is not loaded here" for name in absent]
    return value, notes
