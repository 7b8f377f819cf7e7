"""A long curve is thinned to what can be seen of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.policy.curve import thinned

curves = st.dictionaries(st.integers(0, 10**6), st.floats(-1e6, 1e6), max_size=300).map(
    lambda found: sorted(found.items())
)


@given(curves, st.integers(1, 50))
def test_ends_and_extremes_stay(points, bins):
    left = thinned(points, bins)
    assert left == sorted(set(left)) and set(left) <= set(points)
    assert len(left) <= 4 * bins
    if points:
        assert (left[0], left[-1]) == (points[0], points[-1])
        for pick in (min, max):
            assert pick(v for _, v in left) == pick(v for _, v in points)


def test_nothing_goes_where_there_is_room():
    points = [(step, float(step % 7)) for step in range(100)]
    assert thinned(points, 100) == points
