"""Records that prove their own integrity: no bit of them can change unseen."""

from __future__ import annotations

import base64
import json
import math

import pytest

from holdfast.errors import ManifestDamaged
from holdfast.format import envelope
from holdfast.format.digests import digest

TYPE = "application/x-test"
PAYLOAD = {"b": [1, 2.5, None, True], "a": "naïve \N{SPOUTING WHALE} \ud800"}


def test_a_payload_comes_back() -> None:
    assert envelope.unwrap(envelope.wrap(TYPE, PAYLOAD), TYPE, what="x") == PAYLOAD


def test_the_order_of_keys_does_not_matter() -> None:
    turned = dict(reversed(PAYLOAD.items()))
    assert envelope.wrap(TYPE, PAYLOAD) == envelope.wrap(TYPE, turned)


def test_it_is_a_dsse_envelope_anyone_can_read() -> None:
    outer = json.loads(envelope.wrap(TYPE, {"a": 1}))
    body = base64.b64decode(outer["payload"])
    assert outer["payloadType"] == TYPE
    assert json.loads(body) == {"a": 1}
    pae = b"DSSEv1 18 application/x-test 7 " + body
    [signature] = outer["signatures"]
    assert signature["keyid"] == "blake3"
    assert base64.b64decode(signature["sig"]) == digest(pae)


def test_any_byte_changed_to_any_other_is_refused() -> None:
    good = envelope.wrap("t", {"a": 1})
    for i in range(len(good)):
        for value in range(256):
            if value == good[i]:
                continue
            with pytest.raises(ManifestDamaged):
                envelope.unwrap(good[:i] + bytes([value]) + good[i + 1 :], "t", what="x")


def test_any_cut_and_any_addition_is_refused() -> None:
    good = envelope.wrap(TYPE, PAYLOAD)
    for i in range(len(good)):
        for bad in (good[:i], good[i + 1 :], good[:i] + b" " + good[i:], good + good[:i]):
            if bad != good:
                with pytest.raises(ManifestDamaged):
                    envelope.unwrap(bad, TYPE, what="x")


def sealed(body: bytes, payload_type: str = TYPE, **changes: object) -> bytes:
    """An envelope whose digest is right, around any body."""
    seal = base64.b64encode(digest(envelope.pae(payload_type, body))).decode()
    outer = {
        "payload": base64.b64encode(body).decode(),
        "payloadType": payload_type,
        "signatures": [{"keyid": "blake3", "sig": seal}],
    }
    return json.dumps(outer | changes, sort_keys=True, separators=(",", ":")).encode()


def test_a_record_of_another_type_is_refused() -> None:
    # A tag copied over a commit is whole, but no commit.
    with pytest.raises(ManifestDamaged):
        envelope.unwrap(envelope.wrap("other", PAYLOAD), TYPE, what="x")


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"payload": 1}',
        b"[" * 100_000,
        sealed(b"[1]"),
        sealed(b"not json"),
        sealed(b'{"a":1'),
        sealed(b"{}", signatures=[]),
        sealed(b"{}", more=1),
        json.dumps(json.loads(sealed(b"{}")), indent=1).encode(),
    ],
    ids=range(13),
)
def test_what_is_no_envelope_is_refused(bad: bytes) -> None:
    with pytest.raises(ManifestDamaged, match="the marker is damaged"):
        envelope.unwrap(bad, TYPE, what="the marker")


def test_an_envelope_too_large_to_be_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    good = envelope.wrap(TYPE, PAYLOAD)
    monkeypatch.setattr(envelope, "MAX_ENVELOPE_BYTES", len(good) - 1)
    with pytest.raises(ManifestDamaged):
        envelope.unwrap(good, TYPE, what="x")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_has_no_name_for_is_never_written(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        envelope.wrap(TYPE, {"a": value})
