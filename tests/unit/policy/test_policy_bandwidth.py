"""A limit on what is sent per second, with a clock that is handed in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.engine.tiers.throttle import Paced, Throttle
from holdfast.errors import UsageError
from holdfast.policy.bandwidth import Bucket, parse_bandwidth

MB = 1_000_000


@given(
    rate=st.integers(1, 10 * MB),
    pieces=st.lists(st.tuples(st.integers(0, 5 * MB), st.floats(0, 50)), min_size=1, max_size=30),
)
def test_what_is_sent_is_never_more_than_time_brings(
    rate: int, pieces: list[tuple[int, float]]
) -> None:
    bucket, now_s = Bucket(rate), 0.0
    sent: list[tuple[float, int]] = []
    for nbytes, idle_s in pieces:
        now_s += idle_s
        sent.append((now_s, nbytes))
        bucket, wait_s = bucket.after(nbytes, now_s)
        now_s += wait_s
    largest = max(nbytes for _, nbytes in sent)
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            took_s = sent[last][0] - sent[first][0]
            # The last piece is on its way only; what one second brings may have been saved up.
            total = sum(nbytes for _, nbytes in sent[first:last])
            assert total <= rate * (took_s + 1) + largest + 1


def test_who_sends_all_the_time_gets_all_of_it() -> None:
    bucket, now_s = Bucket(2 * MB), 0.0
    for _ in range(100):
        bucket, wait_s = bucket.after(MB, now_s)
        now_s += wait_s
    assert now_s == pytest.approx(50.0)


def test_a_throttle_waits_between_pieces_and_gives_all_of_them() -> None:
    waited: list[float] = []
    throttle = Throttle(4096, waited.append, lambda: sum(waited))
    data = bytes(range(256)) * 160
    assert b"".join(Paced(memoryview(data), throttle)) == data
    assert sum(waited) == pytest.approx(10.0)
    free = Throttle(None, waited.append)
    assert b"".join(Paced(memoryview(data), free)) == data
    assert sum(waited) == pytest.approx(10.0)


def test_a_limit_is_a_number_or_a_text() -> None:
    assert parse_bandwidth("100MB/s") == 100 * MB
    assert parse_bandwidth("1 MiB/s") == 1 << 20
    assert parse_bandwidth(5) == 5
    for wrong in ("fast", "MB/s", 0, -1, True, 1.5, None):
        with pytest.raises(UsageError, match="bandwidth="):
            parse_bandwidth(wrong)
