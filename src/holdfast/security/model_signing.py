"""OpenSSF Model Signing: folders and files signed so that ``model_signing verify`` accepts them.

The signature is a Sigstore bundle v0.3 with a DSSE envelope. Its payload is an in-toto statement:
the SHA-256 digests of all files, and as subject the digest of these digests. The key is an ECDSA
key on P-256, P-384 or P-521, since the stock tool takes no Ed25519. ``docs/guides/signing.md``
shows both tools side by side.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from holdfast.errors import BadKeyFile, NotFound, Untrusted
from holdfast.format.envelope import pae
from holdfast.security.model_files import GIT_PATHS, digests_of
from holdfast.security.pem import load_private, load_public, private_to_pem, public_to_pem
from holdfast.security.private_files import read_authentic, read_private, replace_file
from holdfast.security.signing import write_key_pair

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
SIGNATURE_NAME = "model.sig"
MAX_SIGNATURE_BYTES = 256 << 20
_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}


def new_key_file(path: str | os.PathLike[str], *, passphrase: str | None = None) -> None:
    """Make a P-256 key: the private half at ``path`` (0600), the public one at ``path.pub``.

    Raises:
        AlreadyExists: One of the two is there; nothing was changed.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    write_key_pair(
        os.fspath(path), private_to_pem(key, passphrase), public_to_pem(key.public_key())
    )


def sign(
    path: str | os.PathLike[str],
    key_file: str | os.PathLike[str],
    *,
    signature: str | os.PathLike[str] | None = None,
    passphrase: str | None = None,
) -> str:
    """Sign a file, or all that is in a folder.

    Args:
        path: The file or folder.
        key_file: Private EC key in PEM; only its owner may be allowed to read it.
        signature: Where the signature goes; ``model.sig`` in the folder, or the file's name with
            ``.sig``, if not given.
        passphrase: Of a key that is encrypted.

    Returns:
        The path of the signature.

    Raises:
        NotFound: There is no such file.
        BadKeyFile: It is no such key, others may read it, or the passphrase is wrong.
        UsageError: The folder has links or special files.
    """
    model, at = os.fspath(path), _signature_path(path, signature)
    key = _private_key(os.fspath(key_file), passphrase)
    statement = _statement(model, _ignored(model, at))
    body = json.dumps(statement, separators=(",", ":")).encode()
    value = key.sign(pae(PAYLOAD_TYPE, body), ec.ECDSA(_HASHES[key.curve.name]()))
    bundle = {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {
            "publicKey": {"hint": _hint(key.public_key())},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(body).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(value).decode(), "keyid": ""}],
        },
    }
    replace_file(at, json.dumps(bundle).encode(), mode=0o644)
    return at


def verify(
    path: str | os.PathLike[str],
    public_key_file: str | os.PathLike[str],
    *,
    signature: str | os.PathLike[str] | None = None,
) -> int:
    """Check that a file or folder is what a key has signed: every file, none more, none less.

    Args:
        path: The file or folder.
        public_key_file: The EC public key in PEM.
        signature: Where the signature is; as for ``sign`` if not given.

    Returns:
        How many files were checked.

    Raises:
        NotFound: There is no such file, or no signature.
        BadKeyFile: It is no such key.
        Untrusted: The signature is not by the key, or the files are not what was signed.
    """
    model, at = os.fspath(path), _signature_path(path, signature)
    key = _public_key(os.fspath(public_key_file))
    signed, ignored = _signed_digests(_verified_statement(at, key), at)
    # The signature may lie in the folder under another name than when it was made.
    found = digests_of(model, [*ignored, *_signature_inside(model, at)])
    problems = _differences(signed, found)
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise Untrusted(
            f"{model!r} is not what was signed: {'; '.join(problems[:5])}{more}. Do not use it; "
            "get it again from where it comes from.",
            path=model,
            problems=tuple(problems),
        )
    return len(found)


def _differences(signed: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    both = sorted(signed.keys() & found.keys())
    return [
        *(f"{name} has changed" for name in both if found[name] != signed[name]),
        *(f"{name} is missing" for name in sorted(signed.keys() - found.keys())),
        *(f"{name} was not signed" for name in sorted(found.keys() - signed.keys())),
    ]


def _statement(model: str, ignored: list[str]) -> dict[str, Any]:
    digests = digests_of(model, ignored)
    whole = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests.values()))
    name = os.path.basename(os.path.abspath(model))
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": whole.hexdigest()}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "resources": [
                {"name": name, "algorithm": "sha256", "digest": digest}
                for name, digest in digests.items()
            ],
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": ignored,
            },
        },
    }


def _verified_statement(at: str, key: ec.EllipticCurvePublicKey) -> Mapping[str, Any]:
    """Return the statement in a signature file, once the signature is found good."""
    try:
        with open(at, "rb") as file:
            data = file.read(MAX_SIGNATURE_BYTES + 1)
    except FileNotFoundError:
        raise NotFound(f"There is no signature at {at!r}.", path=at) from None
    try:
        if len(data) > MAX_SIGNATURE_BYTES:
            raise ValueError("too large")
        bundle = json.loads(data)
        envelope = bundle["dsseEnvelope"]
        body = base64.b64decode(envelope["payload"], validate=True)
        # As the stock tool does: the first one counts, others may follow.
        value = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        kinds = bundle["mediaType"], envelope["payloadType"]
        if kinds != (BUNDLE_TYPE, PAYLOAD_TYPE):
            raise ValueError(f"of the types {kinds}")
        key.verify(value, pae(PAYLOAD_TYPE, body), ec.ECDSA(_HASHES[key.curve.name]()))
        statement = json.loads(body)
    except InvalidSignature as error:
        raise Untrusted(
            f"The signature {at!r} is not by the key that was given, or was changed. Do not use "
            "what it is for.",
            path=at,
        ) from error
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, binascii.Error) as error:
        raise _no_signature(at, error) from error
    if not isinstance(statement, dict):
        raise _no_signature(at, "no statement")
    return statement


def _signed_digests(statement: Mapping[str, Any], at: str) -> tuple[dict[str, str], list[str]]:
    """Return the digests that were signed, by name, and what was left out of the folder."""
    try:
        predicate = statement["predicate"]
        how, resources = predicate["serialization"], predicate["resources"]
        kinds = statement["_type"], statement["predicateType"], how["method"], how["hash_type"]
        if kinds != (STATEMENT_TYPE, PREDICATE_TYPE, "files", "sha256") or how["allow_symlinks"]:
            raise ValueError("made in a way that this version does not know")
        signed = {str(item["name"]): str(item["digest"]) for item in resources}
        if any(item["algorithm"] != "sha256" for item in resources) or len(signed) != len(
            resources
        ):
            raise ValueError("a file comes twice, or with another digest")
        whole = hashlib.sha256(b"".join(bytes.fromhex(item["digest"]) for item in resources))
        [subject] = statement["subject"]
        if subject["digest"]["sha256"] != whole.hexdigest():
            raise ValueError("its digests do not add up")
        return signed, [str(name) for name in how.get("ignore_paths", [])]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_signature(at, error) from error


def _no_signature(at: str, why: object) -> Untrusted:
    return Untrusted(f"{at!r} is no OpenSSF model signature: {why}.", path=at)


def _signature_path(path: str | os.PathLike[str], signature: str | os.PathLike[str] | None) -> str:
    if signature is not None:
        return os.fspath(signature)
    model = os.fspath(path)
    return os.path.join(model, SIGNATURE_NAME) if os.path.isdir(model) else f"{model}.sig"


def _ignored(model: str, at: str) -> list[str]:
    """Return what is left out: the signature, if it lies in the folder, and what git keeps."""
    return [*_signature_inside(model, at), *GIT_PATHS]


def _signature_inside(model: str, at: str) -> list[str]:
    name = os.path.relpath(os.path.abspath(at), os.path.abspath(model)).replace(os.sep, "/")
    return [name] if os.path.isdir(model) and not name.startswith("../") else []


def _private_key(path: str, passphrase: str | None) -> ec.EllipticCurvePrivateKey:
    found = load_private(read_private(path, BadKeyFile), passphrase, what=repr(path))
    if not isinstance(found, ec.EllipticCurvePrivateKey) or found.curve.name not in _HASHES:
        raise BadKeyFile(
            f"{path!r} is no ECDSA key on P-256, P-384 or P-521, which is what the tools of model "
            "signing take. 'holdfast sign --new-key FILE --p256' makes one.",
            path=path,
        )
    return found


def _public_key(path: str) -> ec.EllipticCurvePublicKey:
    found = load_public(read_authentic(path, BadKeyFile), what=repr(path))
    if not isinstance(found, ec.EllipticCurvePublicKey) or found.curve.name not in _HASHES:
        raise BadKeyFile(f"{path!r} is no ECDSA key on P-256, P-384 or P-521.", path=path)
    return found


def _hint(key: ec.EllipticCurvePublicKey) -> str:
    return hashlib.sha256(public_to_pem(key)).hexdigest()
