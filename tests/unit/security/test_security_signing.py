"""Keys, their files, and signers of all kinds."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

import holdfast
from holdfast.errors import AlreadyExists, BadKeyFile, NotFound, SigningFailed, UsageError
from holdfast.security import signing
from holdfast.security.ed25519 import LocalKey, is_good, key_id, public_from_pem
from holdfast.store.local import LocalStore


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    holdfast.signing.new_key_file(tmp_path / "signer.pem")
    return tmp_path / "signer.pem"


def test_a_new_key_is_private_and_signs(pem: Path) -> None:
    public = pem.with_name("signer.pem.pub")
    assert [path.stat().st_mode & 0o777 for path in (pem, public)] == [0o600, 0o644]
    key = holdfast.signing.key_file(pem)
    assert key.public_key == public_from_pem(public.read_bytes(), what="x")
    assert is_good(key.public_key, b"m", key.sign(b"m"))
    assert not is_good(key.public_key, b"n", key.sign(b"m"))
    assert isinstance(key, holdfast.signing.Signer)


def test_a_key_is_named_by_the_fingerprint_that_other_tools_give(pem: Path) -> None:
    der = subprocess.run(
        ["openssl", "pkey", "-in", str(pem), "-pubout", "-outform", "DER"],
        capture_output=True,
        check=True,
    ).stdout
    expected = f"ed25519:{hashlib.sha256(der).hexdigest()}"
    assert key_id(holdfast.signing.key_file(pem).public_key) == expected


def test_a_key_of_openssl_is_taken(tmp_path: Path) -> None:
    made = tmp_path / "k.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(made)], check=True)
    made.chmod(0o600)
    key = holdfast.signing.key_file(made)
    assert is_good(key.public_key, b"m", key.sign(b"m"))


def test_no_key_is_ever_written_over(pem: Path) -> None:
    before = pem.read_bytes()
    with pytest.raises(AlreadyExists):
        holdfast.signing.new_key_file(pem)
    pem.rename(pem.with_name("away"))
    with pytest.raises(AlreadyExists):  # Its public half is still there.
        holdfast.signing.new_key_file(pem)
    assert pem.with_name("away").read_bytes() == before and not pem.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666, 0o644, 0o610])
def test_a_key_that_others_may_use_is_refused(pem: Path, mode: int) -> None:
    pem.chmod(mode)
    with pytest.raises(BadKeyFile, match=f"chmod 600 {pem}"):
        holdfast.signing.key_file(pem)
    pem.chmod(0o600)
    holdfast.signing.key_file(pem)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_key_of_somebody_else_is_refused(pem: Path) -> None:
    os.chown(pem, 12345, -1)
    with pytest.raises(BadKeyFile, match="belongs to user 12345"):
        holdfast.signing.key_file(pem)


def test_an_encrypted_key_wants_its_passphrase(tmp_path: Path) -> None:
    pem, secret = tmp_path / "k.pem", tmp_path / "secret"
    holdfast.signing.new_key_file(pem, passphrase="kelp")
    assert signing.is_encrypted(pem)
    with pytest.raises(BadKeyFile, match="a passphrase is needed"):
        holdfast.signing.key_file(pem)
    with pytest.raises(BadKeyFile) as caught:
        holdfast.signing.key_file(pem, passphrase="rock-lobster")
    assert "rock-lobster" not in str(caught.value)
    secret.write_text("kelp\n")
    secret.chmod(0o644)
    with pytest.raises(BadKeyFile, match="chmod 600"):
        holdfast.signing.key_file(pem, passphrase_file=secret)
    secret.chmod(0o600)
    assert holdfast.signing.key_file(pem, passphrase_file=secret).sign(b"m")
    secret.write_text("\n")
    with pytest.raises(BadKeyFile, match="empty"):
        holdfast.signing.key_file(pem, passphrase_file=secret)


def test_what_is_no_such_key_is_told(tmp_path: Path, pem: Path) -> None:
    other = tmp_path / "p256.pem"
    other.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (tmp_path / "text").write_text("not a key")
    for name, words in (("p256.pem", "Ed25519"), ("text", "no private key"), (".", "no file")):
        path = tmp_path / name
        if path.is_file():
            path.chmod(0o600)
        with pytest.raises(BadKeyFile, match=words):
            holdfast.signing.key_file(path)
    with pytest.raises(NotFound):
        holdfast.signing.key_file(tmp_path / "nothing")
    with pytest.raises(BadKeyFile, match="give the public one"):
        public_from_pem(pem.read_bytes(), what="x")


def test_secrets_are_in_no_text(pem: Path) -> None:
    key = holdfast.signing.key_file(pem)
    assert key.seed.hex() not in repr(key) and key_id(key.public_key) in repr(key)
    store = holdfast.Store("s", sign=key)
    assert key.seed.hex() not in repr(store) + repr(store.place.authenticity)


# --- signers of the caller's own ---


class Agent:
    """A signer of one's own, as one for a KMS would be."""

    def __init__(self, seed: bytes = b"a" * 32) -> None:
        self._key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


class Broken(Agent):
    def sign(self, message: bytes) -> bytes:
        raise TimeoutError("no answer")


class Wrong(Agent):
    def sign(self, message: bytes) -> bytes:
        return super().sign(message + b"!")


def save(path: Path, **options: object) -> holdfast.CheckpointInfo:
    store = holdfast.Store(path, **options)  # type: ignore[arg-type]
    info: holdfast.CheckpointInfo = holdfast.save(store, {"n": 1}, run="r", step=1, rng=False)
    return info


def test_any_number_of_signers_sign(store_path: Path) -> None:
    signers = [Agent(), LocalKey.from_seed(b"b" * 32), Agent(b"c" * 32)]
    info = save(store_path, sign=signers)
    ids = sorted(key_id(signer.public_key) for signer in signers)
    assert list(info.signed_by) == ids
    assert holdfast.Store(store_path).info("r@1").signed_by == info.signed_by


@pytest.mark.parametrize("signer", [Broken(), Wrong()], ids=["broken", "wrong"])
def test_a_signer_that_fails_commits_nothing(store_path: Path, signer: Agent) -> None:
    with pytest.raises(SigningFailed, match="Nothing was committed"):
        save(store_path, sign=[Agent(b"d" * 32), signer])
    assert holdfast.Store(store_path).runs() == ["r"]
    assert holdfast.Store(store_path).log("r") == []
    assert not [p for p in (store_path / "runs/r").rglob("*-0*") if p.is_file()]


@pytest.mark.parametrize("signer", [object(), "signer.pem", [Agent(), Agent()], [None]])
def test_what_is_no_signer_is_refused(store_path: Path, signer: object) -> None:
    with pytest.raises(UsageError):
        holdfast.Store(store_path, sign=signer)  # type: ignore[arg-type]


# --- signatures on what is there already ---


def test_signatures_are_added_and_stay(store_path: Path) -> None:
    first = save(store_path, sign=Agent())
    holdfast.save(store_path, {"n": 2}, run="r", step=2)
    record = next((store_path / "runs/r/commits").glob("*1"))
    second = holdfast.Store(store_path, sign=Agent(b"b" * 32)).sign("r@1")
    assert len(second.signed_by) == 2 and set(first.signed_by) < set(second.signed_by)
    assert second.id == first.id
    again = record.read_bytes()
    assert holdfast.Store(store_path, sign=Agent(b"b" * 32)).sign("r@1") == second
    assert record.read_bytes() == again
    # The chain names payloads, which signatures do not change.
    assert holdfast.Store(store_path).verify().ok
    assert list((store_path / "runs/r/pins").iterdir()) == []


def test_a_checkpoint_that_is_removed_while_it_is_signed_does_not_come_back(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holdfast.save(store_path, {"w": np.arange(5000)}, run="r", step=1)
    holdfast.save(store_path, {"w": np.arange(9)}, run="r", step=2)
    put = LocalStore.put
    other = threading.Thread(target=lambda: holdfast.Store(store_path).remove("r@1"))

    def put_late(self: LocalStore, key: str, data: bytes) -> None:
        if "/commits/" in key:
            monkeypatch.setattr(LocalStore, "put", put)
            other.start()
            other.join(1.0)
        put(self, key, data)

    monkeypatch.setattr(LocalStore, "put", put_late)
    assert len(holdfast.Store(store_path, sign=Agent()).sign("r@1").signed_by) == 1
    other.join()
    assert holdfast.Store(store_path).verify().ok
    assert [info.step for info in holdfast.Store(store_path).log("r")] == [2]


def test_what_is_damaged_is_not_signed(store_path: Path) -> None:
    save(store_path)
    [pack] = (
        (store_path / "runs/r/packs").iterdir()
        if (store_path / "runs/r/packs").is_dir()
        else [None]
    )
    part = next((store_path / "runs/r/parts").iterdir())
    assert pack is None
    part.write_bytes(part.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(holdfast.errors.DataError, match="was not signed"):
        holdfast.Store(store_path, sign=Agent()).sign("r@1")
    assert holdfast.Store(store_path).info("r@1").signed_by == ()


def test_signing_wants_a_signer(store_path: Path) -> None:
    save(store_path)
    with pytest.raises(UsageError, match="without sign="):
        holdfast.Store(store_path).sign("r@1")
