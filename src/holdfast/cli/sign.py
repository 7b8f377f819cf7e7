"""``holdfast sign``: sign a checkpoint or an exported folder; make a key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import completion, options, output, passphrases
from holdfast.errors import UsageError

EXAMPLE = "holdfast --store ckpts sign gpt2-small@final --key signer.pem"


def sign(
    context: typer.Context,
    ref: Annotated[
        str | None,
        typer.Argument(
            metavar="REF",
            help="The checkpoint to sign, as RUN@STEP.",
            show_default=False,
            autocompletion=completion.refs,
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="The private key, in PEM.", show_default=False),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="PATH",
            help="Sign this folder or file instead, as OpenSSF Model Signing does; the key is an "
            "ECDSA key then.",
            show_default=False,
        ),
    ] = None,
    signature: Annotated[
        Path | None,
        typer.Option(
            "--signature",
            metavar="FILE",
            help="Where the signature of --folder goes.",
            show_default="model.sig in the folder",
        ),
    ] = None,
    new_key: Annotated[
        Path | None,
        typer.Option(
            "--new-key",
            metavar="FILE",
            help="Make a key: the private half there, the public one at FILE.pub.",
            show_default=False,
        ),
    ] = None,
    p256: Annotated[
        bool, typer.Option("--p256", help="With --new-key: an ECDSA key, for --folder.")
    ] = False,
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="With --new-key: ask for a passphrase for it.")
    ] = False,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            "--key-passphrase-file",
            metavar="FILE",
            help="A private file with the passphrase of the key.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Add a signature to a checkpoint, sign a folder, or make a key.

    A checkpoint is verified first, every byte of it; signatures that it has stay.
    """
    if sum(item is not None for item in (ref, folder, new_key)) != 1:
        raise UsageError(
            "Name one thing: a REF to sign, a --folder to sign, or a --new-key to make."
        )
    if new_key is not None:
        _make_key(new_key, passphrases.for_new_key(passphrase_file, wanted=encrypt), p256=p256)
        return 0
    if key is None and ref is not None:
        key = options.named_sign_key(context)
    if key is None:
        raise UsageError("Who signs? Name the private key with --key FILE.")
    passphrase = passphrases.of_key(key, passphrase_file)
    if folder is not None:
        from holdfast.security import model_signing

        at = model_signing.sign(folder, key, signature=signature, passphrase=passphrase)
        output.say(f"signed {folder}: {at}")
        return 0
    _sign_checkpoint(context, str(ref), key, passphrase)
    return 0


def _sign_checkpoint(context: typer.Context, ref: str, key: Path, passphrase: str | None) -> None:
    from holdfast.security.ed25519 import key_id
    from holdfast.security.signing import key_file

    signer = key_file(key, passphrase=passphrase)
    info = options.open_store(context, sign=signer).sign(ref)
    output.say(f"{info.ref} is signed by {key_id(signer.public_key)}")


def _make_key(path: Path, passphrase: str | None, *, p256: bool) -> None:
    if p256:
        from holdfast.security import model_signing

        model_signing.new_key_file(path, passphrase=passphrase)
    else:
        from holdfast.security.ed25519 import key_id
        from holdfast.security.signing import new_key_file

        made = new_key_file(path, passphrase=passphrase)
        output.say(f"key {key_id(made.public_key)}")
    output.say(f"private {path}: keep it to yourself")
    output.say(f"public  {path}.pub: give it to who shall trust what you sign")
