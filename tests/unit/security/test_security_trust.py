"""Trust policies: what each rule makes of a commit, and the file that holds them."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.errors import BadTrustFile, NotFound, Untrusted, UsageError
from holdfast.format import commit, envelope
from holdfast.format.commit import CommitRecord, Link, PartRef
from holdfast.format.envelope import Signature
from holdfast.security import trust_file
from holdfast.security.authenticity import Authenticity
from holdfast.security.ed25519 import LocalKey, key_id
from holdfast.security.trust_policy import TrustedKey, TrustPolicy

WHEN = datetime(2026, 3, 1, tzinfo=UTC)
ANNA, BOB = LocalKey.from_seed(b"a" * 32), LocalKey.from_seed(b"b" * 32)


def record(*signers: LocalKey, run: str = "gpt2-small", when: datetime = WHEN) -> CommitRecord:
    """A commit as it is read from a store."""
    made = CommitRecord(
        run=run,
        step=5,
        id="1" * 32,
        seq=2,
        created_ns=int(when.timestamp() * 1e9),
        parts=(PartRef(0, f"runs/{run}/parts/{'1' * 32}-00000", bytes(32), 10),),
        incarnation="2" * 32,
    )
    return commit.decode(commit.encode(made, Authenticity(signers).sign), what="x")


def key(of: LocalKey = ANNA, **facts: Any) -> TrustedKey:
    return TrustedKey(**{"name": "anna", "public_key": of.public_key} | facts)


def forged(by: LocalKey) -> CommitRecord:
    """A commit that carries a good signature, but of another commit."""
    other = record(by, when=WHEN - timedelta(days=1)).signatures
    return commit.decode(commit.with_signatures(record(), other), what="x")


BOTH = key(), TrustedKey("bob", BOB.public_key)
CASES: list[tuple[TrustPolicy, CommitRecord, bool, str]] = [
    (TrustPolicy((key(),)), record(ANNA), True, "signed by anna"),
    (TrustPolicy((key(),)), record(ANNA, BOB), True, "signed by anna"),
    (TrustPolicy(BOTH), record(ANNA, BOB), True, "anna"),
    (TrustPolicy((key(),)), record(), False, "not signed"),
    (TrustPolicy((key(),)), record(BOB), False, "not known"),
    (TrustPolicy(), record(ANNA), False, "not known"),
    (TrustPolicy((key(runs=("gpt2-*",)),)), record(ANNA), True, "anna"),
    (TrustPolicy((key(runs=("bert", "gpt2-small")),)), record(ANNA), True, "anna"),
    (TrustPolicy((key(runs=("gpt3-*",)),)), record(ANNA), False, "may not sign for run"),
    (TrustPolicy((key(runs=("GPT2-*",)),)), record(ANNA), False, "may not sign for run"),
    (TrustPolicy((key(runs=()),)), record(ANNA), False, "may not sign for run"),
    (TrustPolicy((key(not_after=WHEN),)), record(ANNA), True, "anna"),
    (TrustPolicy((key(not_after=WHEN - timedelta(seconds=1)),)), record(ANNA), False, "expired"),
    (TrustPolicy((key(revoked=True),)), record(ANNA), False, "revoked"),
    (TrustPolicy((key(revoked=True), BOTH[1])), record(ANNA, BOB), True, "bob"),
    (TrustPolicy((key(),)), forged(ANNA), False, "not by the key"),
    (TrustPolicy((key(),), "allow"), record(), True, "allows"),
    (TrustPolicy((key(),), "allow"), record(BOB), True, "allows"),
    (TrustPolicy((key(runs=("x",)),), "allow"), record(ANNA), True, "allows"),
    (TrustPolicy((key(revoked=True),), "allow"), record(ANNA), False, "revoked"),
    (TrustPolicy((key(),), "allow"), forged(ANNA), False, "not by the key"),
]


@pytest.mark.parametrize(("policy", "found", "trusted", "why"), CASES)
def test_the_rules(policy: TrustPolicy, found: CommitRecord, trusted: bool, why: str) -> None:
    verdict = policy.judge(found)
    assert verdict.trusted == trusted
    assert why in verdict.why
    if trusted:
        assert policy.require(found) == verdict
    else:
        with pytest.raises(Untrusted, match="None of its data was used") as caught:
            policy.require(found)
        assert caught.value.why == verdict.why
        assert caught.value.exit_code == 1


def test_every_bit_of_a_signature_and_of_what_is_signed_counts() -> None:
    policy, good = TrustPolicy((key(),)), record(ANNA)
    [signature] = good.signatures
    for bit in range(8 * 64):
        value = bytearray(signature.value)
        value[bit // 8] ^= 1 << bit % 8
        changed = Signature(signature.key_id, bytes(value))
        opened = dataclasses.replace(good.envelope, signatures=(changed,))  # type: ignore[type-var]
        assert not policy.judge(dataclasses.replace(good, envelope=opened)).trusted
    other = dataclasses.replace(good, step=6, envelope=None)
    data = commit.encode(other, lambda message: [signature])
    assert not policy.judge(commit.decode(data, what="x")).trusted


@pytest.mark.parametrize("nbytes", [1, 63, 65, 1000])
def test_a_signature_of_another_length_is_none(nbytes: int) -> None:
    odd = Signature(key_id(ANNA.public_key), b"\1" * nbytes)
    data = commit.encode(dataclasses.replace(record(), envelope=None), lambda message: [odd])
    assert not TrustPolicy((key(),)).judge(commit.decode(data, what="x")).trusted


def test_signatures_of_algorithms_to_come_are_passed_over() -> None:
    new = Signature("ml-dsa-65:" + "0" * 64, b"\1" * 3309)
    data = commit.with_signatures(record(ANNA), [new])
    found = commit.decode(data, what="x")
    assert len(found.signatures) == 2
    assert TrustPolicy((key(),)).judge(found).signers == ("anna",)


def test_who_would_not_be_believed_is_told_before_saving(store_path: Path) -> None:
    ago = datetime.now(UTC) - timedelta(days=1)
    policies: list[tuple[TrustPolicy, str]] = [
        (TrustPolicy((key(not_after=ago),)), "expired"),
        (TrustPolicy((key(revoked=True),)), "revoked"),
        (TrustPolicy((key(runs=("bert",)),)), "may not sign for run 'r'"),
        (TrustPolicy((BOTH[1],)), "does not know its key"),
    ]
    for policy, why in policies:
        store = holdfast.Store(store_path, sign=ANNA, trust=policy)
        with pytest.raises(Untrusted, match=why):
            holdfast.save(store, {"n": 1}, run="r", step=1)
        with pytest.raises(Untrusted, match=why):
            holdfast.Checkpointer(store, {"n": 1}, run="r")
    assert not store_path.exists()
    one_of_two = holdfast.Store(store_path, sign=[ANNA, BOB], trust=TrustPolicy((BOTH[1],)))
    info = holdfast.save(one_of_two, {"n": 1}, run="r", step=1)
    assert info.trust is not None and info.trust.signers == ("bob",)


# --- how policies are written down ---


POLICY = TrustPolicy(
    (key(runs=("a*", "b"), not_after=WHEN), key(BOB, name="bob", revoked=True)),
    "allow",
    {"gpt/α": Link(7, b"\7" * 32)},
)


def write(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    trust_file.save(path, POLICY)
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    return path


def test_a_file_holds_all_of_a_policy(tmp_path: Path) -> None:
    path = write(tmp_path / "trust.json", lambda value: None)
    assert holdfast.trust.file(path) == POLICY
    assert holdfast.Store("s", trust=path).place.authenticity.trust == POLICY


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(format=2),
        lambda v: v.pop("keys"),
        lambda v: v.update(more=1),
        lambda v: v.update(unsigned="maybe"),
        lambda v: v["keys"][0].update(revoke=True),
        lambda v: v["keys"][0].pop("not_after"),
        lambda v: v["keys"][0].update(not_after="soon"),
        lambda v: v["keys"][0].update(runs="*"),
        lambda v: v["keys"][0].update(revoked="false"),
        lambda v: v["keys"][0].update(ed25519="AAAA"),
        lambda v: v["keys"][0].update(ed25519=5),
        lambda v: v["keys"][1].update(name="anna"),
        lambda v: v["keys"][1].update(ed25519=v["keys"][0]["ed25519"]),
        lambda v: v["heads"].update({"a@b": v["heads"]["gpt/α"]}),
        lambda v: v["heads"]["gpt/α"].update(seq=0),
        lambda v: v["heads"]["gpt/α"].update(seq="7"),
        lambda v: v["heads"]["gpt/α"].update(blake3="00"),
        lambda v: v.update(heads=[1]),
        lambda v: v.update(keys=5),
    ],
    ids=range(19),
)
def test_a_file_that_is_not_as_it_must_be_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    with pytest.raises(BadTrustFile):
        holdfast.trust.file(write(tmp_path / "trust.json", change))


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"null", b"\xff", b"{", b"[" * 100_000])
def test_what_is_no_trust_file_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "trust.json").write_bytes(text)
    with pytest.raises(BadTrustFile):
        holdfast.trust.file(tmp_path / "trust.json")


def test_a_trust_file_that_others_may_change_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "trust.json", lambda value: None)
    for mode in (0o664, 0o646, 0o666):
        path.chmod(mode)
        with pytest.raises(BadTrustFile, match=f"chmod go-w {path}"):
            holdfast.trust.file(path)
    path.chmod(0o644)
    tmp_path.chmod(0o777)
    with pytest.raises(BadTrustFile, match="chmod o-w"):
        holdfast.trust.file(path)
    tmp_path.chmod(0o1777)  # As /tmp is: nobody may put another file in its place.
    assert holdfast.trust.file(path) == POLICY
    with pytest.raises(NotFound):
        holdfast.trust.file(tmp_path / "nothing.json")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_trust_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "trust.json", lambda value: None)
    os.chown(path, 12345, -1)
    with pytest.raises(BadTrustFile, match="belongs to user 12345"):
        holdfast.trust.file(path)


def test_policies_are_made_of_key_files(tmp_path: Path) -> None:
    made = holdfast.signing.new_key_file(tmp_path / "k")
    found = holdfast.trust.key(tmp_path / "k.pub", runs="gpt2-*", not_after="2027-01-01")
    assert found.public_key == made.public_key and found.name == key_id(made.public_key)
    assert (found.runs, found.not_after) == (("gpt2-*",), datetime(2027, 1, 1, tzinfo=UTC))
    naive = datetime(2027, 1, 1)
    assert holdfast.trust.key(b"\1" * 32, not_after=naive).not_after == found.not_after
    with pytest.raises(UsageError):
        holdfast.trust.key(b"short")
    with pytest.raises(UsageError, match="may for none"):
        holdfast.trust.key(b"\1" * 32, runs=[])
    with pytest.raises(UsageError):
        holdfast.trust.key(tmp_path / "k.pub", not_after="soon")
    with pytest.raises(UsageError, match="same name"):
        holdfast.trust.policy(key(), key(BOB))
    with pytest.raises(UsageError):
        holdfast.Store("s", trust=5)  # type: ignore[arg-type]


def test_an_envelope_covers_its_signatures_by_its_digest() -> None:
    data = envelope.seal("t", b"{}", [Signature("ed25519:" + "0" * 64, b"\1")])
    for i in range(len(data)):
        for bit in range(8):
            bad = data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :]
            with pytest.raises(holdfast.errors.ManifestDamaged):
                envelope.open_envelope(bad, "t", what="x")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"{}", "no object with a 'format'"),
        (b"[]", "no object with a 'format'"),
        (b'{"format": 1, "unsigned": "refuse", "keys": 5, "heads": {}}', "of the wrong kind"),
        (b'{"format": 1, "unsigned": "refuse", "keys": ["a"], "heads": {}}', "of the wrong kind"),
    ],
)
def test_what_is_wrong_with_a_trust_file_is_told_in_words(
    tmp_path: Path, text: bytes, why: str
) -> None:
    (tmp_path / "trust.json").write_bytes(text)
    with pytest.raises(BadTrustFile, match=why):
        holdfast.trust.file(tmp_path / "trust.json")
