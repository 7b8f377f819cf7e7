"""Checkpoints that name another one for what they leave out: adapters, and the model they adapt.

What is named stays in the store: it gets a tag, and retention keeps what is tagged. What is loaded
is by its id: another checkpoint that came to be called the same is no base.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from holdfast import frameworks
from holdfast.distributed.ranks import Ranks
from holdfast.engine.restore import Wanted, read_arrays
from holdfast.errors import UsageError
from holdfast.format.commit import CommitRecord
from holdfast.format.lineage import Origin
from holdfast.history.refs import resolve
from holdfast.records import tags
from holdfast.records.overlaid import rows_by_path
from holdfast.records.whole import read_whole
from holdfast.security.trust_policy import TrustPolicy
from holdfast.state.flatten import Leaf, flatten
from holdfast.state.paths import Patterns, base_in, selector
from holdfast.state.reads import Read
from holdfast.state.roles import entries_of
from holdfast.store.contract import ObjectStore

# So much of a base is read and compared at a time.
_BATCH_BYTES = 256 << 20
_TAG = "base-of-"


def base_of(
    store: ObjectStore,
    run: str,
    state: dict[str, object],
    only: Patterns,
    trust: TrustPolicy | None,
    ranks: Ranks | None = None,
) -> Origin | None:
    """Return the checkpoint that ``only`` names for what it leaves out; None where it names none.

    It is read once and compared with what stands, to the bit, and is tagged, so that it stays.

    Raises:
        NotFound: There is no such checkpoint in the store.
        UsageError: It has not what is left out, or other values.
        DataError: It is damaged.
    """
    ref = base_in(only)
    if ref is None:
        return None
    if ranks is not None:
        raise UsageError(f"only={only!r} names a base; several ranks save without one.")
    record = resolve(store, ref, trust)
    frameworks.activate()
    _compare(store, record, _left_out(state, only), Wanted(None, trust=trust))
    _keep(store, run, record)
    return Origin(None, record.run, record.step, record.id)


def _left_out(state: dict[str, object], only: Patterns) -> list[Leaf]:
    """Return the arrays that are not chosen, of entries of which something is."""
    chosen = selector(only, None, lambda: entries_of(state))
    leaves = flatten(state).leaves
    if chosen is None:
        return []
    roots = {_root(leaf) for leaf in leaves if chosen(leaf.path)}
    return [leaf for leaf in leaves if _root(leaf) in roots and not chosen(leaf.path)]


def _root(leaf: Leaf) -> str:
    return leaf.path.partition("/")[0]


def _compare(
    store: ObjectStore, record: CommitRecord, leaves: Sequence[Leaf], wanted: Wanted
) -> None:
    if wanted.trust is not None:
        wanted.trust.require(record)
    whole, ref = read_whole(store, record), f"{record.run}@{record.step}"
    rows = rows_by_path(whole)
    for leaf in leaves:
        row = whole.arrays[rows[leaf.path]] if leaf.path in rows else None
        if row is None or (row.dtype, row.shape) != (leaf.spec.dtype, leaf.spec.shape):
            there = f"has {row.dtype}{list(row.shape)}" if row is not None else "lacks it"
            raise UsageError(
                f"{ref} is no base of this state: {leaf.path!r} is {leaf.spec} here, and {ref} "
                f"{there}. Nothing was saved. Save the whole state once, and name that.",
                path=leaf.path,
            )
    read = partial(read_arrays, store, whole, ref=ref, wanted=wanted)
    for batch in _batches(leaves):
        reads = [
            Read(rows[leaf.path], memoryview(bytearray(leaf.spec.nbytes)), False, leaf.path)
            for leaf in batch
        ]
        read(reads)
        for leaf, found in zip(batch, reads, strict=True):
            now = memoryview(bytearray(leaf.spec.nbytes))
            leaf.export(now)
            if now != found.into:
                raise UsageError(
                    f"{ref} is no base of this state: {leaf.path!r} has other values here. Nothing "
                    "was saved. What adapters are trained on must be what they are loaded on; save "
                    "the whole state once, and name that.",
                    path=leaf.path,
                )


def _batches(leaves: Sequence[Leaf]) -> Iterator[list[Leaf]]:
    batch: list[Leaf] = []
    for leaf in leaves:
        if batch and sum(b.spec.nbytes for b in batch) + leaf.spec.nbytes > _BATCH_BYTES:
            yield batch
            batch = []
        batch.append(leaf)
    if batch:
        yield batch


def _keep(store: ObjectStore, run: str, record: CommitRecord) -> None:
    name = _TAG + run.replace("/", "-")
    found = tags.find(store, record.run, name)
    if found is None or found.checkpoint_id != record.id:
        tags.put_tag(store, record.run, name, record.id)
