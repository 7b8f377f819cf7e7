"""What rank 0 waits for before it commits: the parts of all ranks, which must fit together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, NoReturn, final

from holdfast.engine import given_up
from holdfast.engine.behind import Behind, is_given_up_for, nothing_behind
from holdfast.engine.elsewhere import Elsewhere
from holdfast.engine.job import SaveJob
from holdfast.engine.part_sums import PartSums, parse
from holdfast.engine.waiting import ALONE_S, Waiting
from holdfast.errors import ChunkMissing, SaveFailed
from holdfast.format import part as part_format
from holdfast.format.commit import PartRef
from holdfast.format.digests import digest
from holdfast.format.names import RunKeys, checkpoint_of
from holdfast.records.differing import Disagreement, first_difference
from holdfast.records.joined import shared_root
from holdfast.records.whole import put_together
from holdfast.store.contract import ObjectStore

# What takes time is that the store is far.
_READERS = 32
# Parts that are in memory at a time.
_AT_A_TIME = 128
# So few are asked for one by one; of more, the store says which are there.
_FEW = 32
# How long a rank may take to show its tree; it may look for the question some 16 s apart.
_ANSWER_S = 60.0
_Take = Callable[[int, bytes], None]
_Refuse = Callable[[SaveJob, PartSums, int], NoReturn]


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a checkpoint, all of them, and what they are together."""

    refs: tuple[PartRef, ...]
    state_bytes: int
    n_leaves: int
    new_bytes: int
    not_finite: int | None
    format: int


@final
class OtherParts:
    """The parts of all ranks of a run, as rank 0 finds them.

    Args:
        store: Where the run is.
        run: Its name.
        patience_s: How long to wait for a rank.
        is_orphaned: Says whether this rank's trainer is gone.
    """

    def __init__(
        self, store: ObjectStore, run: str, patience_s: float, is_orphaned: Callable[[], bool]
    ) -> None:
        self._store = store
        self._keys = RunKeys(run)
        self._run = run
        self._patience_s = patience_s
        self._is_orphaned = is_orphaned
        # Whether the last one was waited for in vain: no longer for others, once the trainer died.
        self._was_in_vain = False
        self._elsewhere = Elsewhere(store, run)

    def wait(
        self, job: SaveJob, since_s: float | None = None, behind: Behind = nothing_behind
    ) -> Parts:
        """Wait for the parts of all ranks; return them. Rank 0's is there.

        Args:
            job: The save.
            since_s: When this rank had written its own, on the monotonic clock; None: now.
            behind: Tells which saves of this rank wait behind this one.

        Raises:
            SaveFailed: One did not come, or they do not fit together; the message names the rank.
        """
        alone_s = 0.0 if self._was_in_vain else ALONE_S
        waiting = Waiting(self._patience_s, self._is_orphaned, alone_s, since_s)
        return self._together(
            job, lambda take: self._gather(job, take, waiting, behind), self._refuse_state
        )

    def at_hand(self, job: SaveJob) -> Parts | None:
        """Return the parts of all ranks if they are there now.

        Raises:
            SaveFailed: They do not fit together.
        """
        if any(self._read(job, rank) is None for rank in range(job.world_size)):
            return None

        def gather(take: _Take) -> None:
            for rank in range(job.world_size):
                if (data := self._read(job, rank)) is None:
                    raise _absence(job, [rank], [], 0.0)
                take(rank, data)

        return self._together(job, gather, _refuse_unasked)

    def _together(self, job: SaveJob, gather: Callable[[_Take], None], refuse: _Refuse) -> Parts:
        """Put the parts of all ranks together.

        Args:
            job: The save.
            gather: Hands over the part of each rank, in whatever order.
            refuse: Says of a rank that it has another state than rank 0.
        """
        own = self._store.get(self._keys.part(job.id, 0))
        if not parse(own, "the manifest of rank 0").HasField("boxes"):
            return self._of_trees(job, gather)
        sums = PartSums(parse(own, "the manifest of rank 0"), f"step {job.step}")
        refs: dict[int, PartRef] = {}

        def take(rank: int, data: bytes) -> None:
            message = self._checked(job, rank, data)
            if not sums.is_of_this_state(message):
                refuse(job, sums, rank)
            sums.add(message)
            refs[rank] = self._ref(job, rank, data)

        try:
            gather(take)
            sums.finish()
        except Disagreement as error:
            raise _refusal(job, error) from error
        return Parts(
            tuple(refs[rank] for rank in range(job.world_size)),
            sums.state_bytes,
            job.n_leaves,
            sums.new_bytes,
            sums.not_finite,
            part_format.FORMAT_OF_RANKS,
        )

    def tell_why(self, job: SaveJob, error: Exception) -> None:
        """Tell the ranks that wait, before any part is taken away, why this comes to nothing.

        Parts that come later come after that, and their ranks find it.
        """
        given_up.put_note(self._store, self._keys, job, error)

    def give_up(self, job: SaveJob) -> None:
        """Take away the parts that are there, so that the ranks which wait see that it is over."""
        there = self._there(job, range(job.world_size))
        self._store.delete([self._keys.part(job.id, rank) for rank in there])

    def _gather(self, job: SaveJob, take: _Take, waiting: Waiting, behind: Behind) -> None:
        """Hand over the part of each rank once it is there, in whatever order.

        Raises:
            SaveFailed: One did not come.
        """
        missing = dict.fromkeys(range(job.world_size))
        past: list[int] = []
        self._was_in_vain = False
        with ThreadPoolExecutor(min(_READERS, job.world_size), "holdfast-parts") as readers:
            while waiting.goes_on(len(missing)):
                for ranks in _batches(self._there(job, missing)):
                    found = readers.map(lambda rank: self._read(job, rank), ranks)
                    for rank, data in zip(ranks, list(found), strict=True):
                        if data is not None:
                            take(rank, data)
                            del missing[rank]
                if not missing:
                    return
                # Looked for once more since: they may have written this one just before the next.
                if any(rank in missing for rank in past) or is_given_up_for(behind(), 0):
                    break
                past = self._past(missing, behind())
                if (gone := self._elsewhere.gone(job, missing, behind())) is not None:
                    past.append(gone.rank)
        self._was_in_vain = True
        raise _absence(job, sorted(missing), past, waiting.so_far_s)

    def _past(self, missing: Iterable[int], later: Sequence[SaveJob]) -> list[int]:
        """Return the ranks that have written a later save already: they will not write this one.

        One request for each: of many that are missing, the first ones are asked about.
        """
        return [
            rank
            for rank in islice(missing, _FEW)
            if any(self._store.exists(self._keys.part(job.id, rank)) for job in later)
        ]

    def _there(self, job: SaveJob, ranks: Iterable[int]) -> list[int]:
        """Return those ranks whose part may be there."""
        wanted = {self._keys.part(job.id, rank): rank for rank in ranks}
        if len(wanted) <= _FEW:
            return list(wanted.values())
        listed = self._store.list(self._keys.parts)
        return [wanted[info.key] for info in listed if info.key in wanted]

    def _read(self, job: SaveJob, rank: int) -> bytes | None:
        try:
            return self._store.get(self._keys.part(job.id, rank))
        except ChunkMissing:
            return None

    def _checked(self, job: SaveJob, rank: int, data: bytes) -> Any:
        """Return the message of a part of this save, of which nothing else is known."""
        part = parse(data, f"the manifest of rank {rank}")
        said = part.run, part.step, part.checkpoint_id.hex(), part.rank, part.world_size
        if said != (self._run, job.step, job.id, rank, job.world_size):
            raise SaveFailed(
                f"Step {job.step} was not saved: rank {rank} says that it is rank {part.rank} of "
                f"{part.world_size} at step {part.step}, this is {job.world_size} ranks.",
                step=job.step,
            )
        return part

    def _ref(self, job: SaveJob, rank: int, data: bytes) -> PartRef:
        return PartRef(rank, self._keys.part(job.id, rank), digest(data), len(data))

    # --- a rank that has another state ---

    def _refuse_state(self, job: SaveJob, sums: PartSums, rank: int) -> NoReturn:
        """Find out where a rank's state differs, by asking it for its tree.

        Its part goes: that is the question. Nothing was committed, and nothing will be.
        """
        self._store.delete([self._keys.part(job.id, rank)])
        waiting = Waiting(_ANSWER_S, self._is_orphaned)
        while waiting.goes_on(None):
            data = self._read(job, rank)
            told = self._checked(job, rank, data).shared if data is not None else b""
            if told:
                root = shared_root(told, f"the state of rank {rank}")
                if (found := first_difference(sums.root, root, rank)) is not None:
                    raise found
                break
        raise Disagreement("", rank, "another state than rank 0's; it did not say where it differs")

    # --- parts of formats 1 and 2 ---

    def _of_trees(self, job: SaveJob, gather: Callable[[_Take], None]) -> Parts:
        found: dict[int, tuple[part_format.Part, PartRef]] = {}

        def take(rank: int, data: bytes) -> None:
            self._checked(job, rank, data)
            part = part_format.decode(data, what=f"the manifest of rank {rank}")
            found[rank] = part, self._ref(job, rank, data)

        gather(take)
        parts = [found[rank][0] for rank in range(job.world_size)]
        try:
            whole = put_together(parts, 0, f"step {job.step}")
        except Disagreement as error:
            raise _refusal(job, error) from error
        n_leaves = sum(1 for _ in whole.root.leaves())
        return _of_trees(job, parts, [found[r][1] for r in range(job.world_size)], n_leaves)


def _refuse_unasked(job: SaveJob, sums: PartSums, rank: int) -> NoReturn:
    raise Disagreement("", rank, "another state than rank 0's")


def _batches(ranks: Sequence[int]) -> Iterator[Sequence[int]]:
    left = iter(ranks)
    while batch := list(islice(left, _AT_A_TIME)):
        yield batch


def _numbers(ranks: Iterable[int]) -> str:
    """Return ranks as text; of many the first ones."""
    found = sorted(ranks)
    more = f" and {len(found) - _FEW} more" if len(found) > _FEW else ""
    return ",".join(map(str, found[:_FEW])) + more


def _absence(job: SaveJob, absent: list[int], past: list[int], waited_s: float) -> SaveFailed:
    gone_on = [rank for rank in past if rank in absent]
    named = _numbers(gone_on or absent)
    if gone_on:
        why = f"rank(s) {named} of {job.world_size} went on to a later save without it"
    else:
        why = f"after {waited_s:.0f} s nothing had come from rank(s) {named} of {job.world_size}"
    return SaveFailed(
        f"Step {job.step} was not saved: {why}. Are they alive, and do they save the same steps? "
        "Checkpoints committed before are safe.",
        step=job.step,
        ranks=named,
    )


def _refusal(job: SaveJob, error: Disagreement) -> SaveFailed:
    return SaveFailed(
        f"Step {job.step} was not saved: the ranks do not have the same state. At "
        f"{error.path!r}, rank {error.rank}: {error.what}. What each rank has for itself is "
        "named by per_rank=.",
        step=job.step,
        path=error.path,
        rank=error.rank,
    )


def _of_trees(
    job: SaveJob, parts: Sequence[part_format.Part], refs: Sequence[PartRef], n_leaves: int
) -> Parts:
    rows = [row for part in parts for row in part.arrays]
    looked = [row.not_finite for row in rows if row.not_finite is not None]
    return Parts(
        tuple(refs),
        sum(row.nbytes for row in rows),
        n_leaves,
        sum(_new_bytes(part, job.id) for part in parts),
        sum(looked) if looked else None,
        max(part_format.format_of(part.chunks) for part in parts),
    )


def _new_bytes(part: part_format.Part, checkpoint_id: str) -> int:
    packs: Mapping[str, int] = {pack.key: pack.length for pack in part.packs}
    return sum(n for key, n in packs.items() if checkpoint_of(key) == checkpoint_id)
