"""Commit records: what they hold, and what a reader refuses."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast.errors import ManifestDamaged, StoreTooNew
from holdfast.format import commit, envelope
from holdfast.format.commit import CommitRecord, PartRef
from holdfast.format.names import RunKeys

RECORD = CommitRecord(
    run="gpt2 small/α",
    step=2**62,
    id="0123456789abcdef" * 2,
    seq=17,
    created_ns=1_700_000_000_123_456_789,
    parts=(
        PartRef(0, RunKeys("gpt2 small/α").part("d" * 32, 0), bytes(range(32)), 123),
        PartRef(1, RunKeys("gpt2 small/α").part("d" * 32, 1), bytes(32), 0),
    ),
    metrics={"loss": 0.1 + 0.2, "none": -0.0, "tiny": 5e-324, "größe": 1e308},
    reason="every 500 steps",
    parent="f" * 32,
    incarnation="e" * 32,
    world_size=2,
    state_bytes=10**15,
    stored_bytes=12,
    n_leaves=258,
    environment={"python": "3.11", "command": ["a", "\udc80"], "git": None, "n": 1.5},
)


def statement(record: CommitRecord = RECORD) -> dict[str, Any]:
    return dict(envelope.unwrap(commit.encode(record), commit.PAYLOAD_TYPE, what="x"))


def encoded(payload: object) -> bytes:
    return envelope.wrap(commit.PAYLOAD_TYPE, payload)  # type: ignore[arg-type]


def test_a_record_comes_back() -> None:
    assert commit.decode(commit.encode(RECORD), what="x") == RECORD
    assert commit.encode(RECORD) == commit.encode(RECORD)


def test_a_record_of_nothing_but_what_must_be_comes_back() -> None:
    part = PartRef(0, RunKeys("r").part("0" * 32, 0), bytes(32), 0)
    bare = CommitRecord("r", 0, "0" * 32, 1, 0, parts=(part,), incarnation="1" * 32)
    assert commit.decode(commit.encode(bare), what="x") == bare


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_infinite_metrics_come_back(value: float) -> None:
    record = replace(RECORD, metrics={"loss": value})
    assert commit.decode(commit.encode(record), what="x").metrics == {"loss": value}


def test_a_metric_that_is_not_a_number_comes_back() -> None:
    record = replace(RECORD, metrics={"loss": math.nan})
    assert math.isnan(commit.decode(commit.encode(record), what="x").metrics["loss"])


def test_its_time_is_aware() -> None:
    expected = datetime(2023, 11, 14, 22, 13, 20, 123457, tzinfo=UTC)
    assert abs(RECORD.created - expected).total_seconds() < 1e-3
    assert RECORD.created.tzinfo is UTC


def test_it_is_an_in_toto_statement_over_its_parts() -> None:
    found = statement()
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://holdfast.dev/checkpoint/v1"
    assert found["subject"][0] == {
        "name": f"runs/gpt2 small%2F%CE%B1/parts/{'d' * 32}-00000",
        "digest": {"blake3": bytes(range(32)).hex()},
    }


def test_every_flipped_bit_is_found() -> None:
    good = commit.encode(RECORD)
    for i in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[i] ^= 1 << bit
            with pytest.raises(ManifestDamaged):
                commit.decode(bytes(bad), what="x")


def without(found: dict[str, Any], key: str) -> dict[str, Any]:
    del found["predicate"][key]
    return found


@pytest.mark.parametrize("key", sorted(statement()["predicate"]))
def test_a_record_that_lacks_something_is_refused(key: str) -> None:
    with pytest.raises(ManifestDamaged, match="commit 3 is malformed"):
        commit.decode(encoded(without(statement(), key)), what="commit 3")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("step", -1),
        ("step", "5"),
        ("step", 1.5),
        ("step", True),
        ("step", None),
        ("seq", -1),
        ("created_ns", "now"),
        ("world_size", None),
        ("state_bytes", -5),
        ("n_leaves", []),
        ("metrics", []),
        ("metrics", {"loss": "low"}),
        ("metrics", {"loss": None}),
        ("metrics", {"loss": True}),
        ("metrics", {"loss": [1.0]}),
        ("environment", 5),
        ("parts", []),
        ("parts", [{"rank": 0, "length": 1}] * 3),
        ("parts", [{"rank": 0}, {"rank": 1}]),
        ("parts", [{"rank": -1, "length": 1}, {"rank": 1, "length": 1}]),
        ("parts", {}),
        ("parts", None),
    ],
)
def test_a_record_that_makes_no_sense_is_refused(key: str, value: object) -> None:
    found = statement()
    found["predicate"][key] = value
    with pytest.raises(ManifestDamaged):
        commit.decode(encoded(found), what="x")


@pytest.mark.parametrize(
    "subject",
    [
        None,
        {},
        [{}],
        [{"name": "x", "digest": {}}] * 2,
        [{"name": "x", "digest": {"blake3": "zz"}}] * 2,
        [{"name": "x", "digest": {"sha256": "00"}}] * 2,
        [5, 6],
    ],
)
def test_subjects_that_make_no_sense_are_refused(subject: object) -> None:
    with pytest.raises(ManifestDamaged):
        commit.decode(encoded(statement() | {"subject": subject}), what="x")


@pytest.mark.parametrize("key", ["_type", "predicateType", "subject", "predicate"])
def test_a_statement_that_lacks_something_is_refused(key: str) -> None:
    found = statement()
    del found[key]
    with pytest.raises(ManifestDamaged):
        commit.decode(encoded(found), what="x")


def test_a_statement_about_something_else_is_refused() -> None:
    with pytest.raises(ManifestDamaged, match="not an in-toto statement"):
        commit.decode(encoded(statement() | {"_type": "https://other"}), what="x")
    with pytest.raises(ManifestDamaged):
        commit.decode(encoded(statement() | {"predicate": [1]}), what="x")


def test_a_record_of_a_newer_format_is_not_called_damaged() -> None:
    found = statement()
    found["predicate"]["format"] = 9
    with pytest.raises(StoreTooNew, match="upgrade holdfast") as caught:
        commit.decode(encoded(found), what="x")
    assert (caught.value.found, caught.value.supported) == (9, 3)
    newer = statement() | {"predicateType": "https://holdfast.dev/checkpoint/v2"}
    with pytest.raises(StoreTooNew):
        commit.decode(encoded(newer), what="x")
    newer["predicate"]["format"] = 2
    assert commit.decode(encoded(newer), what="x").format == 2


def test_a_signature_added_by_hand_is_not_taken_for_ours() -> None:
    outer = json.loads(commit.encode(RECORD))
    outer["signatures"].append({"keyid": "x", "sig": base64.b64encode(b"x").decode()})
    with pytest.raises(ManifestDamaged):
        commit.decode(json.dumps(outer).encode(), what="x")
