"""What a head proves, rule by rule, of commits that are there."""

from __future__ import annotations

import pytest

from holdfast.format import commit
from holdfast.format.commit import CommitRecord, Link, PartRef
from holdfast.history.chain import chain_problems, head_problem


def made(seq: int, previous: Link | None, step: int = 0) -> CommitRecord:
    part = PartRef(0, f"runs/r/parts/{'1' * 32}-00000", bytes(32), 10)
    record = CommitRecord("r", step, "1" * 32, seq, 0, (part,), "2" * 32, previous=previous)
    return commit.decode(commit.encode(record), what="x")


def chain(*numbers: int, begin: Link | None = None, step: int = 0) -> list[CommitRecord]:
    records: list[CommitRecord] = []
    for seq in numbers:
        records.append(made(seq, records[-1].link if records else begin, step))
    return records


WHOLE = chain(1, 2, 3, 4, 5)
HEAD = WHOLE[2].link
OTHER = chain(1, 2, 3, 4, 5, step=1)


@pytest.mark.parametrize(
    "there",
    [[1, 2, 3, 4, 5], [3], [1, 3], [3, 5], [4, 5], [4], [5], [1, 2, 5]],
    ids=str,
)
def test_what_descends_or_may_descend_is_no_problem(there: list[int]) -> None:
    records = [WHOLE[seq - 1] for seq in there]
    assert head_problem("r", records, HEAD) is None
    assert chain_problems("r", records) == []


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([], "none that is trusted"),
        (WHOLE[:2], "newest is commit 2"),
        (OTHER[:3], "another one"),
        ([*WHOLE[:2], *OTHER[2:]], "another one"),
        (OTHER[3:], "had never been"),
        ([*WHOLE[:2], made(4, WHOLE[1].link)], "had never been"),
        ([*WHOLE, made(6, WHOLE[1].link)], "had never been"),
        ([made(4, None)], "had never been"),
    ],
    ids=["gone", "set-back", "other", "forked", "other-pruned", "skipped", "beside", "anew"],
)
def test_what_contradicts_a_head(records: list[CommitRecord], why: str) -> None:
    problem = head_problem("r", records, HEAD)
    assert problem is not None and why in problem


def test_what_cannot_be_told_is_not_told() -> None:
    # All that would show it has been pruned, on both sides.
    assert head_problem("r", OTHER[4:], HEAD) is None


def test_a_commit_in_the_place_of_another_is_a_problem() -> None:
    [problem] = chain_problems("r", [WHOLE[0], made(2, WHOLE[0].link, step=9), WHOLE[2]])
    assert "Commit 3" in problem
