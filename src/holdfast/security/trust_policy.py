"""Whom to believe: which keys may sign for which runs, and what a checkpoint is worth by that.

The rules, in order. A signature counts if its key is known to the policy, not revoked, meant for
the run, not expired when the checkpoint was committed, and the signature is good. A checkpoint is
trusted if one signature counts; one of which none counts only where the policy allows unsigned
ones, and then not if a signature is by a revoked key or not good.

Expiry looks at the time in the commit, so that what was signed in time stays readable. That time
is the signer's word: whoever steals a key can put an older one. Against that a key is revoked;
then nothing that it signed counts, whatever time it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Literal

from holdfast.errors import Untrusted, UsageError
from holdfast.format.commit import CommitRecord, Link
from holdfast.format.envelope import Signature

Unsigned = Literal["refuse", "allow"]


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key that may sign.

    Attributes:
        name: What to call it, unique in the policy.
        public_key: The 32 bytes of an Ed25519 public key.
        runs: Glob patterns of the runs that it may sign for.
        not_after: Checkpoints committed later than this are not believed it; None: no end.
        revoked: Nothing that it signed is believed, whenever it was.
    """

    name: str
    public_key: bytes
    runs: tuple[str, ...] = ("*",)
    not_after: datetime | None = None
    revoked: bool = False

    @property
    def key_id(self) -> str:
        """How signatures name it."""
        from holdfast.security.ed25519 import key_id

        return key_id(self.public_key)

    def objection(self, run: str, when: datetime) -> str:
        """Return why it may not sign a checkpoint of a run at a time, or nothing."""
        if self.revoked:
            return f"the key {self.name!r} is revoked"
        if not any(fnmatchcase(run, pattern) for pattern in self.runs):
            return f"the key {self.name!r} may not sign for run {run!r}"
        if self.not_after is not None and when > self.not_after:
            return f"the key {self.name!r} expired at {self.not_after.isoformat()}"
        return ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy says of a checkpoint.

    Attributes:
        trusted: Whether it may be used.
        signers: Names of the keys whose signatures count.
        why: The reason, in words.
    """

    trusted: bool
    signers: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """The keys that are believed, what becomes of unsigned checkpoints, and known heads of runs.

    Attributes:
        keys: Keys, each with a name of its own.
        unsigned: ``refuse`` or ``allow`` checkpoints that no key of the policy has signed.
        heads: For some runs, a commit that is known to have been there.
    """

    keys: tuple[TrustedKey, ...] = ()
    unsigned: Unsigned = "refuse"
    heads: Mapping[str, Link] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.unsigned not in ("refuse", "allow"):
            raise UsageError(f"unsigned={self.unsigned!r} is neither 'refuse' nor 'allow'.")
        for what in ("name", "public_key"):
            if len({getattr(key, what) for key in self.keys}) != len(self.keys):
                raise UsageError(f"Two keys of a trust policy have the same {what}.")

    def judge(self, record: CommitRecord) -> Verdict:
        """Return what the policy says of a commit that was read."""
        known = {key.key_id: key for key in self.keys}
        signers: list[str] = []
        doubts: list[str] = []
        is_harmless = True
        for signature in record.signatures:
            key = known.get(signature.key_id)
            doubt = _doubt(key, signature, record)
            if not doubt and key is not None:
                signers.append(key.name)
                continue
            doubts.append(doubt)
            if key is not None and (key.revoked or not _is_good(key, signature, record)):
                is_harmless = False
        if signers:
            return Verdict(True, tuple(signers), f"signed by {', '.join(signers)}")
        why = "; ".join(doubts) or "it is not signed"
        if self.unsigned == "allow" and is_harmless:
            return Verdict(True, (), f"{why}; the trust policy allows that")
        return Verdict(False, (), why)

    def require(self, record: CommitRecord) -> Verdict:
        """Return what the policy says of a commit that was read, if it is trusted.

        Raises:
            Untrusted: It is not.
        """
        verdict = self.judge(record)
        if not verdict.trusted:
            raise untrusted(record, verdict)
        return verdict

    def objection_to_signing(self, public_key: bytes, run: str) -> str:
        """Return why a signature made now by a key would not count for a run, or nothing."""
        for key in self.keys:
            if key.public_key == public_key:
                return key.objection(run, datetime.now(UTC))
        return "the trust policy does not know its key"


def untrusted(record: CommitRecord, verdict: Verdict) -> Untrusted:
    """Return the error for a checkpoint that a policy does not trust."""
    ref = f"{record.run}@{record.step}"
    return Untrusted(
        f"{ref} (commit {record.seq}) is not trusted: {verdict.why}. None of its data was used, "
        f"nothing was changed. If you know that it is yours, sign it: 'holdfast sign {ref} --key "
        "FILE'; or have its key trusted: 'holdfast trust add'.",
        ref=ref,
        seq=record.seq,
        why=verdict.why,
        signed_by=tuple(signature.key_id for signature in record.signatures),
    )


def _doubt(key: TrustedKey | None, signature: Signature, record: CommitRecord) -> str:
    if key is None:
        return f"it is signed by a key that is not known, {signature.key_id}"
    objection = key.objection(record.run, record.created)
    if not objection and not _is_good(key, signature, record):
        return f"its signature is not by the key {key.name!r} that it names"
    return objection


def _is_good(key: TrustedKey, signature: Signature, record: CommitRecord) -> bool:
    from holdfast.security.ed25519 import is_good

    assert record.envelope is not None, "only what was read has signatures"
    return is_good(key.public_key, record.envelope.message, signature.value)
