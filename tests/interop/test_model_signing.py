"""OpenSSF Model Signing: the stock tool accepts what is signed here, and the other way round."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from absent import required

signing = required("model_signing.signing")
verifying = required("model_signing.verifying")

from holdfast.errors import BadKeyFile, NotFound, Untrusted, UsageError  # noqa: E402
from holdfast.security import model_signing  # noqa: E402


def command_accepts(model: Path, key: Path) -> bool:
    """Say whether the command of the stock tool accepts a model; that it answered is asserted."""
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(model)]
    options = ["--public_key", f"{key}.pub", "--signature", str(model / "model.sig")]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=120, check=False
    )
    assert ("succeeded" in done.stdout) != ("failed" in done.stderr), done
    return done.returncode == 0


def accepts(model: Path, key: Path, signature: Path | None = None) -> bool:
    """Say whether the stock tool accepts a model, by what its command calls: quicker."""
    config = verifying.Config().use_elliptic_key_verifier(public_key=Path(f"{key}.pub"))
    try:
        config.verify(model, signature or model / "model.sig")
    except ValueError as error:
        assert "ismatch" in str(error)
        return False
    return True


@pytest.fixture
def key(tmp_path: Path) -> Path:
    model_signing.new_key_file(tmp_path / "p256.pem")
    return tmp_path / "p256.pem"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder as exports are: names whose order depends on how one sorts, hidden files, git."""
    top = tmp_path / "model"
    names = ["w.safetensors", "a/x", "a-b", "a.dir/x", "Z", ".hidden", "ä/ö.bin", "empty"]
    for name in [*names, ".git/HEAD", ".gitignore"]:
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == "empty" else random.Random(name).randbytes(1000))
    (top / "empty folder").mkdir()
    return top


def test_the_stock_tool_accepts_a_folder_and_refuses_one_flipped_bit(
    model: Path, key: Path
) -> None:
    assert model_signing.sign(model, key) == str(model / "model.sig")
    assert model_signing.verify(model, f"{key}.pub") == 8
    assert command_accepts(model, key)
    data = bytearray((model / "a.dir/x").read_bytes())
    data[500] ^= 0x10
    (model / "a.dir/x").write_bytes(data)
    assert not command_accepts(model, key)
    with pytest.raises(Untrusted, match=r"a\.dir/x has changed"):
        model_signing.verify(model, f"{key}.pub")


def test_the_stock_tool_accepts_a_file(model: Path, key: Path) -> None:
    file = model / "w.safetensors"
    at = Path(model_signing.sign(file, key))
    assert at.name == "w.safetensors.sig"
    assert accepts(file, key, at) and model_signing.verify(file, f"{key}.pub") == 1


@pytest.mark.parametrize("curve", ["prime256v1", "secp384r1", "secp521r1"])
def test_what_the_stock_tool_signs_is_accepted(model: Path, tmp_path: Path, curve: str) -> None:
    key = tmp_path / "theirs.pem"
    make = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}"]
    subprocess.run([*make, "-out", str(key)], check=True, capture_output=True)
    key.chmod(0o600)
    public = ["openssl", "pkey", "-in", str(key), "-pubout", "-out", f"{key}.pub"]
    subprocess.run(public, check=True)
    signing.Config().use_elliptic_key_signer(private_key=key).sign(model, model / "model.sig")
    assert model_signing.verify(model, f"{key}.pub") == 8
    (model / "model.sig").unlink()
    model_signing.sign(model, key)
    assert accepts(model, key)
    (model / "Z").write_bytes(b"other")
    with pytest.raises(Untrusted):
        model_signing.verify(model, f"{key}.pub")


def _add(model: Path) -> None:
    (model / "more.py").write_text("import os")


def _remove(model: Path) -> None:
    (model / "a-b").unlink()


def _rename(model: Path) -> None:
    (model / "a-b").rename(model / "a-c")


def _swap(model: Path) -> None:
    one, other = (model / "a-b").read_bytes(), (model / "Z").read_bytes()
    (model / "a-b").write_bytes(other)
    (model / "Z").write_bytes(one)


@pytest.mark.parametrize("change", [_add, _remove, _rename, _swap])
def test_both_refuse_the_same_changes(
    model: Path, key: Path, change: Callable[[Path], None]
) -> None:
    model_signing.sign(model, key)
    change(model)
    assert not accepts(model, key)
    with pytest.raises(Untrusted):
        model_signing.verify(model, f"{key}.pub")


def test_a_link_is_neither_signed_nor_verified(model: Path, key: Path) -> None:
    model_signing.sign(model, key)
    (model / "a-b").unlink()
    (model / "a-b").symlink_to(model / "Z")
    for use in (model_signing.sign, lambda m, k: model_signing.verify(m, f"{k}.pub")):
        with pytest.raises(UsageError, match="symbolic link"):
            use(model, key)


def test_no_bit_of_a_signature_can_change(model: Path, key: Path) -> None:
    at = Path(model_signing.sign(model, key))
    bundle = json.loads(at.read_text())
    for path in (("payload",), ("signatures", 0, "sig")):
        text = bundle["dsseEnvelope"]
        for step in path:
            text = text[step]
        for i in range(0, len(text), 7):
            other = "A" if text[i] != "A" else "B"
            at.write_text(json.dumps(bundle).replace(text, text[:i] + other + text[i + 1 :]))
            with pytest.raises(Untrusted):
                model_signing.verify(model, f"{key}.pub")
    at.write_text(json.dumps(bundle))
    assert model_signing.verify(model, f"{key}.pub") == 8


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"dsseEnvelope":{}}', "[" * 10_000])
def test_what_is_no_signature_is_refused(model: Path, key: Path, text: str) -> None:
    (model / "model.sig").write_text(text)
    with pytest.raises(Untrusted, match="no OpenSSF model signature"):
        model_signing.verify(model, f"{key}.pub")


def test_another_key_and_no_key_are_refused(model: Path, key: Path, tmp_path: Path) -> None:
    model_signing.sign(model, key)
    model_signing.new_key_file(tmp_path / "other.pem", passphrase="kelp")
    with pytest.raises(Untrusted, match="not by the key"):
        model_signing.verify(model, tmp_path / "other.pem.pub")
    with pytest.raises(BadKeyFile, match="passphrase"):
        model_signing.sign(model, tmp_path / "other.pem")
    model_signing.sign(model, tmp_path / "other.pem", passphrase="kelp")
    assert accepts(model, tmp_path / "other.pem")
    with pytest.raises(BadKeyFile):
        model_signing.verify(model, key)
    key.chmod(0o640)
    with pytest.raises(BadKeyFile, match="chmod 600"):
        model_signing.sign(model, key)
    os.remove(model / "model.sig")
    with pytest.raises(NotFound):
        model_signing.verify(model, f"{key}.pub")
