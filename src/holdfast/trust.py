"""Trust policies: ``Store("ckpts", trust=holdfast.trust.file("trust.json"))``.

A store with a policy loads only what a key has signed that the policy trusts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from holdfast.errors import BadKeyFile, UsageError
from holdfast.format.commit import Link
from holdfast.security import ed25519, trust_file
from holdfast.security.private_files import read_authentic
from holdfast.security.trust_policy import TrustedKey, TrustPolicy, Unsigned, Verdict

__all__ = ["Link", "TrustPolicy", "TrustedKey", "Verdict", "file", "key", "policy"]

file = trust_file.load


def key(
    public_key: bytes | str | os.PathLike[str],
    *,
    name: str | None = None,
    runs: str | Sequence[str] = "*",
    not_after: datetime | str | None = None,
    revoked: bool = False,
) -> TrustedKey:
    """Return a key that may sign.

    Args:
        public_key: The 32 bytes of an Ed25519 public key, or the path of a PEM file with one.
        name: What to call it; its fingerprint if not given.
        runs: Glob patterns of the runs that it may sign for.
        not_after: Checkpoints that are committed later are not believed it. ISO 8601 if it is
            text; UTC where it has no zone.
        revoked: Nothing that it signed is believed.

    Raises:
        NotFound: There is no such file.
        BadKeyFile: It holds no such key, or others may write it.
        UsageError: The name is empty or has characters that cannot be shown, it is no time, or
            there is no run that it may sign for.
    """
    if not isinstance(public_key, bytes):
        path = os.fspath(public_key)
        pem = read_authentic(path, BadKeyFile)
        public_key = ed25519.public_from_pem(pem, what=f"{path!r}")
    if len(public_key) != ed25519.KEY_BYTES:
        raise UsageError("An Ed25519 public key has 32 bytes.")
    if name is not None:
        trust_file.check_name(name)
    if not runs:
        raise UsageError("runs= names the runs that a key may sign for; this one may for none.")
    return TrustedKey(
        name if name is not None else ed25519.key_id(public_key),
        public_key,
        (runs,) if isinstance(runs, str) else tuple(runs),
        _time(not_after),
        revoked,
    )


def policy(
    *keys: TrustedKey, unsigned: Unsigned = "refuse", heads: Mapping[str, Link] | None = None
) -> TrustPolicy:
    """Return a policy that trusts what any of the keys may sign and has signed.

    Args:
        keys: What ``key`` gives.
        unsigned: ``refuse`` or ``allow`` checkpoints that none of the keys has signed.
        heads: What ``Store.head`` gave for some runs; a run that was set back is refused.
    """
    return TrustPolicy(keys, unsigned, dict(heads or {}))


def _time(when: datetime | str | None) -> datetime | None:
    if isinstance(when, str):
        try:
            return trust_file.parse_time(when)
        except ValueError as error:
            raise UsageError(f"not_after={when!r} is no time in ISO 8601.") from error
    if when is not None and when.tzinfo is None:
        return when.replace(tzinfo=UTC)
    return when
