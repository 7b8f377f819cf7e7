"""Verification: every byte that a checkpoint needs is read and its BLAKE3 digest compared."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from holdfast.chunks.batch import ChunkRead, read_of
from holdfast.chunks.check import Place, check_chunks, place_of, place_of_read
from holdfast.errors import HoldfastError, InvalidName, StoreTooNew, Untrusted
from holdfast.format.commit import CommitRecord
from holdfast.format.names import RunKeys
from holdfast.history.chain import chain_problems, head_problem, linked, objection
from holdfast.history.known import require_run
from holdfast.history.missing import missing_commits
from holdfast.history.refs import ATTEMPTS, removed_too_fast, resolve, split_ref
from holdfast.plan.reads import plan_reads
from holdfast.records import commits, keyrings, marker, notes, tags
from holdfast.records.commits import DamagedCommit
from holdfast.records.whole import Whole, read_whole
from holdfast.security.trust_policy import TrustPolicy
from holdfast.store.contract import ObjectStore

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class CheckpointCheck:
    """What verification found of one checkpoint; ``problems`` is empty where it is good.

    One that is ``too_new`` for this version could not be checked; nothing is known to be wrong.
    Of one that is ``untrusted`` nothing but the commit was read.
    """

    ref: str
    ok: bool
    problems: tuple[str, ...] = ()
    too_new: bool = False
    untrusted: bool = False


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What verification found.

    Attributes:
        checkpoints: One entry for each checkpoint, damaged commits included.
        problems: Trouble that concerns no single checkpoint: marker, tags, chains of commits.
        checked_bytes: Bytes of packs that were read; shared ones are read once.
    """

    checkpoints: Sequence[CheckpointCheck]
    problems: tuple[str, ...]
    checked_bytes: int

    @property
    def ok(self) -> bool:
        """Whether everything is good."""
        return not self.problems and all(c.ok for c in self.checkpoints)

    def _repr_html_(self) -> str:
        """What notebooks show."""
        from holdfast.history.cards.verify import verify_card

        return verify_card(self)


def verify(
    store: ObjectStore,
    ref: str | None = None,
    progress: Progress | None = None,
    trust: TrustPolicy | None = None,
) -> VerifyReport:
    """Read and check a checkpoint (a ref), a run (its name), or everything (None).

    With a policy, what it does not trust is a problem, and so is a run that is not what a head
    of the policy says.

    Raises:
        NotFound: There is no such run or checkpoint.
    """
    if ref is not None and not isinstance(ref, str):
        raise InvalidName(f"{ref!r} is no ref and no name of a run.", name=ref)
    job = _Verification(store, progress or (lambda done, total: None), trust)
    if ref is not None and "@" in ref:
        checks = _check_one(store, ref, job)
        problems = _chain_problems(store, split_ref(ref)[0], trust)
        return VerifyReport(checks, tuple(problems), job.done_bytes)
    if ref is None:
        names = commits.runs(store)
        problems = marker.problems(store) + keyrings.problems(store)
        # A run that was removed as a whole is not among those that are there.
        gone = trust.heads.keys() - set(names) if trust is not None else ()
        problems += [p for run in sorted(gone) for p in _chain_problems(store, run, trust)]
    else:
        require_run(store, ref)
        names, problems = [ref], []
    for run in names:
        problems += _tag_problems(store, run) + _chain_problems(store, run, trust)
        problems += [missing.problem for missing in missing_commits(store, run)]
    return VerifyReport(_checks(store, names, job), tuple(problems), job.done_bytes)


def verify_records(store: ObjectStore, records: Sequence[CommitRecord]) -> list[CheckpointCheck]:
    """Read and check some checkpoints; those that are removed meanwhile are left out."""
    job = _Verification(store, lambda done, total: None, None)
    return job.run([(record.run, record) for record in records])


def _check_one(store: ObjectStore, ref: str, job: _Verification) -> list[CheckpointCheck]:
    for _ in range(ATTEMPTS):
        record = resolve(store, ref)
        if checks := job.run([(record.run, record)]):
            return checks
    raise removed_too_fast(split_ref(ref)[0])


def _checks(store: ObjectStore, names: Sequence[str], job: _Verification) -> list[CheckpointCheck]:
    """Check every checkpoint of some runs; where some are removed meanwhile, those that came."""
    checks: list[CheckpointCheck] = []
    seen: set[tuple[str, int]] = set()
    for _ in range(ATTEMPTS):
        listed = [(run, c) for run in names for c in commits.all_commits(store, run)]
        new = [(run, c) for run, c in listed if (run, c.seq) not in seen]
        seen |= {(run, c.seq) for run, c in new}
        found = job.run(new)
        checks += found
        if len(found) == len(new):
            break
    return checks


def _chain_problems(store: ObjectStore, run: str, trust: TrustPolicy | None) -> list[str]:
    records = linked(run, commits.all_commits(store, run), trust)
    problems = chain_problems(run, records)
    if trust is not None and run in trust.heads:
        problem = head_problem(run, records, trust.heads[run])
        problems += [problem] if problem is not None else []
    return problems


def _tag_problems(store: ObjectStore, run: str) -> list[str]:
    found = tags.all_tags(store, run)
    listed = list(commits.all_commits(store, run))
    ids = {c.id for c in listed if isinstance(c, CommitRecord)}
    damaged = [str(tag.error) for tag in found if tag.error is not None]
    # Who removes a checkpoint takes its tags away first: one that is still there names nothing. A
    # name outlives its checkpoint, so that it is not given again.
    # Where a commit cannot be read, a tag may name that.
    may_dangle = all(isinstance(c, CommitRecord) for c in listed) and any(
        tag.checkpoint_id not in ids for tag in found
    )
    still = tags.all_tags(store, run) if may_dangle else []
    dangling = [
        f"The tag {tag.name!r} of run {run!r} names a checkpoint that is not there."
        for tag in found
        if tag.error is None and not tag.is_fixed and tag.checkpoint_id not in ids and tag in still
    ]
    return damaged + dangling + notes.problems(store, run)


class _Verification:
    def __init__(self, store: ObjectStore, progress: Progress, trust: TrustPolicy | None) -> None:
        self._store = store
        self._trust = trust
        self._progress = progress
        self._verdicts: dict[Place, str | None] = {}
        self._lock = threading.Lock()
        self._total = 0
        self.done_bytes = 0

    def run(
        self, found: Sequence[tuple[str, CommitRecord | DamagedCommit]]
    ) -> list[CheckpointCheck]:
        opened = [(run, c, self._open(c)) for run, c in found]
        todo: dict[Place, ChunkRead] = {}
        for _, _, part in opened:
            if isinstance(part, Whole):
                for row in part.chunks:
                    if place_of(part, row) not in self._verdicts:
                        todo[place_of(part, row)] = read_of(part, row)
        self._total += sum(read.row.length for read in todo.values())
        check_chunks(self._store, list(todo.values()), self._note)
        verdicts = [(c, self._verdict(run, c, part)) for run, c, part in opened]
        return [check for c, check in verdicts if check.ok or self._is_there(c)]

    def _is_there(self, found: CommitRecord | DamagedCommit) -> bool:
        """Say whether a checkpoint with problems is none that was removed meanwhile."""
        if isinstance(found, DamagedCommit):
            return self._store.exists(found.key)
        return commits.is_listed(self._store, found.run, found.seq, found.id)

    def _open(self, found: CommitRecord | DamagedCommit) -> Whole | HoldfastError:
        if isinstance(found, DamagedCommit):
            return found.error
        try:
            if self._trust is not None:
                self._trust.require(found)
            return read_whole(self._store, found)
        except HoldfastError as error:
            return error

    def _note(self, read: ChunkRead, problem: str | None) -> None:
        with self._lock:
            self._verdicts[place_of_read(read)] = problem
            self.done_bytes += read.row.length
            self._progress(self.done_bytes, self._total)

    def _verdict(
        self, run: str, found: CommitRecord | DamagedCommit, part: Whole | HoldfastError
    ) -> CheckpointCheck:
        if isinstance(found, DamagedCommit):
            name = f"{run}, commit {found.seq} ({RunKeys(run).commit(found.seq)})"
            doubt = objection(run, found, self._trust)
            if isinstance(doubt, Untrusted):
                return CheckpointCheck(name, False, (str(doubt),), untrusted=True)
            return CheckpointCheck(name, False, (str(found.error),), too_new=found.is_too_new)
        ref = f"{run}@{found.step}"
        if isinstance(part, HoldfastError):
            return CheckpointCheck(
                ref,
                False,
                (str(part),),
                too_new=isinstance(part, StoreTooNew),
                untrusted=isinstance(part, Untrusted),
            )
        problems = [
            f"{problem} (needed by {_leaf_of(part, i)!r})"
            for i, row in enumerate(part.chunks)
            if (problem := self._verdicts[place_of(part, row)]) is not None
        ]
        return CheckpointCheck(ref, not problems, tuple(problems))


def _leaf_of(part: Whole, chunk: int) -> str:
    """Return the path of a leaf that has bytes in a chunk, or in one that is a delta of it."""
    chunk = _least_with(part, chunk)
    lengths = [row.length for row in part.chunks]
    for node in part.root.leaves():
        if node.row >= 0 and chunk in plan_reads(part.arrays, lengths, [node.row]):
            return node.path
    return ""


def _least_with(part: Whole, chunk: int) -> int:
    """Return the first chunk that is a difference from this one, or this one where none is."""
    return next((i for i, row in enumerate(part.chunks) if row.base == chunk), chunk)
