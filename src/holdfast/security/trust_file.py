"""A trust policy as a file: JSON that people can read, and that only its owner may change."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from holdfast.errors import BadTrustFile, UsageError
from holdfast.format.commit import MAX_NUMBER, Link
from holdfast.format.digests import DIGEST_BYTES
from holdfast.format.names import check_run
from holdfast.security.ed25519 import KEY_BYTES
from holdfast.security.private_files import PUBLIC, read_authentic, replace_file
from holdfast.security.trust_policy import TrustedKey, TrustPolicy

FORMAT = 1
_MEMBERS = {"format", "unsigned", "keys", "heads"}
_KEY_MEMBERS = {"name", "ed25519", "runs", "not_after", "revoked"}


def load(path: str | os.PathLike[str]) -> TrustPolicy:
    """Return the policy in a file.

    Raises:
        NotFound: There is no such file.
        BadTrustFile: It is not well formed, or others may write it.
    """
    name = os.fspath(path)
    data = read_authentic(name, BadTrustFile)
    try:
        return from_json(json.loads(data))
    except (ValueError, UsageError) as error:
        raise _no_trust_file(name, str(error).rstrip(".")) from error
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        # Python's words for it say nothing of the file.
        raise _no_trust_file(name, "something in it is missing, or of the wrong kind") from error


def _no_trust_file(name: str, why: str) -> BadTrustFile:
    return BadTrustFile(
        f"{name!r} is no trust file: {why}. Nothing is trusted by it, and nothing was used.",
        path=name,
    )


def save(path: str | os.PathLike[str], policy: TrustPolicy) -> None:
    """Write a policy to a file, in one step."""
    text = json.dumps(to_json(policy), indent=2, ensure_ascii=False) + "\n"
    replace_file(os.fspath(path), text.encode(), mode=PUBLIC)


def to_json(policy: TrustPolicy) -> dict[str, Any]:
    """Return a policy as plain JSON."""
    return {
        "format": FORMAT,
        "unsigned": policy.unsigned,
        "keys": [_key_to_json(key) for key in policy.keys],
        "heads": {
            run: {"seq": head.seq, "blake3": head.digest.hex()}
            for run, head in policy.heads.items()
        },
    }


def from_json(value: Mapping[str, Any]) -> TrustPolicy:
    """Return the policy of ``to_json``; whatever is not as it must be is refused.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, UsageError: It is no policy.
    """
    if not isinstance(value, dict) or "format" not in value:
        raise ValueError("it is no object with a 'format'")
    if value["format"] != FORMAT:
        raise ValueError(f"its format is {value['format']!r}, not {FORMAT}")
    # What is misspelt would else be passed over, and a key be trusted longer than was meant.
    _check_members(value, _MEMBERS)
    return TrustPolicy(
        tuple(_key_from_json(item) for item in value["keys"]),
        value["unsigned"],
        {check_run(run): _head_from_json(head) for run, head in value["heads"].items()},
    )


def parse_time(text: str) -> datetime:
    """Return a time written in ISO 8601; without an offset it is UTC, without a time midnight."""
    when = datetime.fromisoformat(text)
    return when.astimezone(UTC) if when.tzinfo is not None else when.replace(tzinfo=UTC)


def check_name(name: object) -> None:
    """Raise UsageError for what is no name of a key: text that can be shown, and is not empty."""
    if not isinstance(name, str) or not name.isprintable() or not name.strip():
        raise UsageError(f"{name!r} is no name of a key: that is text, and not empty.")


def _key_to_json(key: TrustedKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "ed25519": base64.b64encode(key.public_key).decode(),
        "runs": list(key.runs),
        "not_after": None if key.not_after is None else key.not_after.isoformat(),
        "revoked": key.revoked,
    }


def _key_from_json(item: Mapping[str, Any]) -> TrustedKey:
    _check_members(item, _KEY_MEMBERS)
    name, runs, revoked = item["name"], item["runs"], item["revoked"]
    check_name(name)
    if not isinstance(runs, list) or not all(isinstance(run, str) for run in runs):
        raise ValueError(f"the runs of the key {name!r} are a list of patterns")
    if not isinstance(revoked, bool):
        raise ValueError(f"whether the key {name!r} is revoked is true or false")
    not_after = None if item["not_after"] is None else parse_time(item["not_after"])
    return TrustedKey(name, _public_key(item["ed25519"]), tuple(runs), not_after, revoked)


def _public_key(text: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("a key is no base64") from error
    if len(found) != KEY_BYTES:
        raise ValueError(f"a key has {len(found)} bytes, not {KEY_BYTES}")
    return found


def _head_from_json(item: Mapping[str, Any]) -> Link:
    seq, digest = item["seq"], bytes.fromhex(item["blake3"])
    is_number = isinstance(seq, int) and not isinstance(seq, bool)
    if not is_number or not 1 <= seq <= MAX_NUMBER or len(digest) != DIGEST_BYTES:
        raise ValueError("a head is a number of a commit and a BLAKE3 digest")
    return Link(seq, digest)


def _check_members(value: Mapping[str, Any], known: set[str]) -> None:
    if value.keys() != known:
        odd = sorted(value.keys() ^ known)
        raise ValueError(f"members that are missing or not known: {', '.join(map(str, odd))}")
