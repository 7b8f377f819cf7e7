"""The promises: each a bound on figures of one run; pure, so that tests need no disk.

A promise beside another tool is judged against that tool as documented. Where a tuned form of it
was measured too, the ratio to that is told in the figures.
"""

from __future__ import annotations

from holdfast.bench.result import (
    DCP,
    DCP_ASYNC,
    DCP_ASYNC_TUNED,
    DCP_TUNED,
    LIMIT,
    OURS,
    OURS_FIRST,
    OURS_SEALED,
    OURS_ZERO,
    TORCH,
    TORCH_MMAP,
    BenchResult,
    Check,
    amount,
)

FROZEN = "90 % frozen"
SMALL = "10 MB in 200 tensors"
LEAVES = "100,000 small leaves"
MEMORY = "trainer and persister"
_SEALED = (
    ("save to durable", "durable_s"),
    ("restore warm", "warm_s"),
    ("restore cold", "cold_s"),
)


def judge(result: BenchResult) -> tuple[Check, ...]:
    """Return a check for every promise whose figures are there, in the order of the promises."""
    checks = (
        _at_most(
            result,
            "loop held, later saves",
            "≤ 1.5 × memory copy of the state",
            1.5,
            (OURS, "held_s"),
            (LIMIT, "held_s"),
        ),
        _at_most(
            result,
            "loop held, later saves, beside dcp.async_save",
            "≤ 1/5",
            1 / 5,
            (OURS, "held_s"),
            (DCP_ASYNC, "held_s"),
        ),
        _at_most(
            result,
            "loop held with zero_stall, beside dcp.async_save",
            "≤ 1/5",
            1 / 5,
            (OURS_ZERO, "held_s"),
            (DCP_ASYNC, "held_s"),
        ),
        _at_most(
            result,
            "loop held, first save, beside dcp.async_save",
            "≤ 1",
            1.0,
            (OURS_FIRST, "held_s"),
            (DCP_ASYNC, "held_s"),
        ),
        _at_least(
            result,
            "save to durable, beside raw direct write",
            "≥ 0.85 of its speed",
            0.85,
            (LIMIT, "durable_s"),
            (OURS, "durable_s"),
        ),
        _at_least(
            result,
            "save to durable, beside dcp.save",
            "≥ 2 × its speed",
            2.0,
            (DCP, "durable_s"),
            (OURS, "durable_s"),
        ),
        _at_least(
            result,
            "save to durable, beside torch.save + fsync",
            "≥ 2 × its speed",
            2.0,
            (TORCH, "durable_s"),
            (OURS, "durable_s"),
        ),
        _at_least(
            result,
            "verified restore warm, beside torch.load + load_state_dict",
            "≥ 1.3 × its speed",
            1.3,
            (TORCH, "warm_s"),
            (OURS, "warm_s"),
        ),
        _at_least(
            result,
            "verified restore warm, beside dcp.load",
            "≥ 1.5 × its speed",
            1.5,
            (DCP, "warm_s"),
            (OURS, "warm_s"),
        ),
        _at_least(
            result,
            "verified restore cold, beside raw cold read",
            "≥ 0.9 of its speed",
            0.9,
            (LIMIT, "cold_s"),
            (OURS, "cold_s"),
        ),
        *(
            _at_least(
                result,
                f"encrypted store: {what}, beside a plain one",
                "≥ 0.9 of its speed",
                0.9,
                (OURS, figure),
                (OURS_SEALED, figure),
            )
            for what, figure in _SEALED
        ),
        _at_most(
            result,
            "training lost to a save, beside dcp.async_save",
            "≤ 1/3",
            1 / 3,
            (OURS, "lost_s"),
            (DCP_ASYNC, "lost_s"),
        ),
        _at_most(
            result,
            "90 % frozen: bytes written",
            "≤ 1.1 × changed bytes",
            1.1,
            (FROZEN, "written_bytes"),
            (FROZEN, "changed_bytes"),
        ),
        _in_proportion(result),
        _bound(
            result,
            "10 MB in 200 tensors: loop held",
            "≤ 5 ms",
            5.0,
            (SMALL, "small_held_s"),
            1e3,
        ),
        _bound(
            result,
            "10 MB in 200 tensors: durable",
            "≤ 50 ms",
            50.0,
            (SMALL, "small_durable_s"),
            1e3,
        ),
        _bound(
            result,
            "100,000 small leaves: loop held",
            "≤ 1.5 s",
            1.5,
            (LEAVES, "leaves_held_s"),
            1.0,
        ),
        _bound(
            result,
            "100,000 small leaves: manifest",
            "≤ 20 MB",
            20.0,
            (LEAVES, "manifest_bytes"),
            1e-6,
        ),
        _at_most(
            result,
            "peak extra host memory, one snapshot in flight",
            "≤ 1.1 × state",
            1.1,
            (MEMORY, "peak_extra_bytes"),
            (MEMORY, "state_bytes"),
        ),
    )
    return tuple(check for check in checks if check is not None)


Key = tuple[str, str]

_TUNED = {TORCH: TORCH_MMAP, DCP: DCP_TUNED, DCP_ASYNC: DCP_ASYNC_TUNED}


def _at_most(
    result: BenchResult, name: str, target: str, bound: float, over: Key, under: Key
) -> Check | None:
    ratio = _ratio(result, over, under)
    if ratio is None:
        return None
    return Check(name, target, ratio, ratio <= bound, _figures(result, over, under))


def _at_least(
    result: BenchResult, name: str, target: str, bound: float, over: Key, under: Key
) -> Check | None:
    # Times: theirs over ours is our speed over theirs.
    ratio = _ratio(result, over, under)
    if ratio is None:
        return None
    return Check(name, target, ratio, ratio >= bound, _figures(result, over, under))


def _bound(
    result: BenchResult, name: str, target: str, bound: float, key: Key, scale: float
) -> Check | None:
    value = result.median(*key)
    if value is None:
        return None
    in_unit = value * scale
    return Check(name, target, in_unit, in_unit <= bound, amount(value, key[1]))


def _in_proportion(result: BenchResult) -> Check | None:
    """Judge the time of a save in which little changed.

    Every byte must still be copied and looked at, so the part that can be in proportion is the
    writing: the save may take one copy and one digest of the state, and then the share of a full
    save that the changed bytes are, with the same tenth of slack as the bytes have.
    """
    taken = result.median(FROZEN, "frozen_durable_s")
    full = result.median(FROZEN, "full_durable_s")
    changed = result.median(FROZEN, "changed_bytes")
    copy, digest = result.median(FROZEN, "copy_s"), result.median(FROZEN, "digest_s")
    if None in (taken, full, changed, copy, digest):
        return None
    assert taken and full and changed and copy and digest
    allowed = 1.1 * (copy + digest + full * changed / result.state_bytes)
    return Check(
        "90 % frozen: time to durable",
        "≤ 1.1 × (copy + digest of all, and the changed share of a full save)",
        taken / allowed,
        taken <= allowed,
        f"{amount(taken, '_s')} against {amount(allowed, '_s')}; "
        f"{taken / full:.2f} of a full save for {changed / result.state_bytes:.2f} of the bytes",
    )


def _ratio(result: BenchResult, over: Key, under: Key) -> float | None:
    top, bottom = result.median(*over), result.median(*under)
    return None if top is None or not bottom else top / bottom


def _figures(result: BenchResult, over: Key, under: Key) -> str:
    first, second = (amount(result.median(*key) or 0.0, key[1]) for key in (over, under))
    tuned = _ratio(result, _tuned(over), _tuned(under))
    beside = f"; tuned: {tuned:.2f}" if tuned and _TUNED.keys() & {over[0], under[0]} else ""
    return f"{first} against {second}{beside}"


def _tuned(key: Key) -> Key:
    return _TUNED.get(key[0], key[0]), key[1]
