"""The chain from commit to commit, and what a head that is known proves by it.

Each commit names the one that its writer found before it, by number and digest. Retention removes
commits, so that most of a chain is usually gone. What is there must still fit together, and to a
head that was noted elsewhere; docs/spec/v1.md, section 5.2, says what that proves and what not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from holdfast.errors import HoldfastError, NotFound, RolledBack, Untrusted
from holdfast.format.commit import CommitRecord, Link
from holdfast.history.known import require_run
from holdfast.records import commits
from holdfast.records.commits import DamagedCommit
from holdfast.security.trust_policy import TrustPolicy, untrusted
from holdfast.store.contract import ObjectStore


def chain_problems(run: str, records: Sequence[CommitRecord]) -> list[str]:
    """Return where a commit names another one before it than the one that is there."""
    there = {record.seq: record.link for record in records}
    return [
        f"Commit {record.seq} of run {run!r} was made after another commit {record.previous.seq} "
        "than the one that is there: one of the two was put in place of what was there."
        for record in records
        if record.previous is not None
        and there.get(record.previous.seq, record.previous) != record.previous
    ]


def head_problem(run: str, records: Sequence[CommitRecord], head: Link) -> str | None:
    """Return how commits, by rising number, contradict a head that is known to have been there.

    The rules, in order: some commit has the head's number or a higher one; the one with its
    number is the head; of those with a higher number none was made after a lower one, nor after
    another one with the head's number.
    """
    newest = records[-1].seq if records else 0
    if newest < head.seq:
        have = f"its newest is commit {newest}" if records else "it has none that is trusted"
        return f"Run {run!r} was set back: {have}, but commit {head.seq} was there before."
    for record in records:
        if record.seq == head.seq and record.link != head:
            return f"Commit {head.seq} of run {run!r} is another one than was there before."
        before = record.previous or Link(0, b"")
        if record.seq > head.seq and (before.seq < head.seq or _is_other(before, head)):
            return (
                f"Commit {record.seq} of run {run!r} was made after commit {before.seq}, as if "
                f"the commit {head.seq} that was there before had never been."
            )
    return None


def require_head(
    run: str, found: Iterable[CommitRecord | DamagedCommit], trust: TrustPolicy | None
) -> None:
    """Raise where a run contradicts the head that a policy knows of it.

    Raises:
        RolledBack: It does.
    """
    problem = contradiction(run, found, trust)
    if trust is not None and problem is not None:
        raise RolledBack(
            f"{problem} Nothing was used of it, nothing was changed. Bring back a newer copy of "
            "the store. If the run is as you want it, note its head anew: 'holdfast trust pin "
            "--force'.",
            run=run,
            head=trust.heads[run].seq,
        )


def contradiction(
    run: str, found: Iterable[CommitRecord | DamagedCommit], trust: TrustPolicy | None
) -> str | None:
    """Return how a run contradicts the head that a policy knows of it; None: it does not."""
    head = trust.heads.get(run) if trust is not None else None
    if trust is None or head is None:
        return None
    return head_problem(run, linked(run, found, trust), head)


def head_of(store: ObjectStore, run: str, trust: TrustPolicy | None = None) -> Link:
    """Return the newest commit of a run that is trusted, and not damaged; it may be too new.

    Raises:
        NotFound: There is no such run, or it has no such commit.
        RolledBack: The run is not what the policy's head says.
    """
    found = list(commits.all_commits(store, run))
    # Before the run is asked for: one that was removed as a whole was set back, too.
    require_head(run, found, trust)
    require_run(store, run)
    good = linked(run, found, trust)
    if not good:
        raise NotFound(f"Run {run!r} has no checkpoint to be its head.", run=run)
    return good[-1].link


def trusted(
    found: Iterable[CommitRecord | DamagedCommit], trust: TrustPolicy | None
) -> list[CommitRecord]:
    """Return the commits that can be read and that the policy trusts."""
    return [
        item
        for item in found
        if isinstance(item, CommitRecord) and (trust is None or trust.judge(item).trusted)
    ]


def linked(
    run: str, found: Iterable[CommitRecord | DamagedCommit], trust: TrustPolicy | None
) -> list[CommitRecord]:
    """Return the commits that are trusted, with stand-ins for those that are too new to be read."""
    known: list[CommitRecord] = []
    for item in found:
        record = item if isinstance(item, CommitRecord) else item.stand_in
        if record is None or objection(run, item, trust) is not None:
            continue
        if record is not item and record.previous is None and known:
            # What it says of this cannot be read: so it is taken to follow what is there.
            record = replace(record, previous=known[-1].link)
        known.append(record)
    return known


def objection(
    run: str, found: CommitRecord | DamagedCommit, trust: TrustPolicy | None
) -> HoldfastError | None:
    """Return why a commit counts for nothing under a policy, or None if it does.

    One that is too new counts, though it cannot be read, if who signed it is trusted: what a key
    that nobody knows has signed may be too new or not.
    """
    if isinstance(found, CommitRecord):
        verdict = trust.judge(found) if trust is not None else None
        return None if verdict is None or verdict.trusted else untrusted(found, verdict)
    stand_in = found.stand_in
    if stand_in is None:
        return found.error
    if trust is None:
        return None
    verdict = trust.judge(replace(stand_in, run=run))
    if verdict.trusted and stand_in.run in (run, ""):
        return None
    why = verdict.why if not verdict.trusted else f"it was made for run {stand_in.run!r}"
    return Untrusted(
        f"Commit {found.seq} of run {run!r} ({found.key}) is of a newer format, and not trusted: "
        f"{why}. None of its data was used, nothing was changed. If you know that it is yours, "
        "upgrade holdfast and sign it.",
        seq=found.seq,
        why=why,
    )


def _is_other(link: Link, head: Link) -> bool:
    return link.seq == head.seq and link != head
