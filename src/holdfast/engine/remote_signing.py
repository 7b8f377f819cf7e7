"""Signing across the two processes: key files travel to the persister, other signers are asked.

A key that was read from a file goes to the persister over its channel, never by argument or
environment, so that a checkpoint is signed even where the trainer dies meanwhile. A signer of the
caller's own stays in the trainer, and the persister asks it, by the same channel. When the trainer
is dead there is nobody to ask: the checkpoint is committed without that signature, and told
(docs/adr/0016). Not to commit it would lose progress for a signature that can be made afterwards.
"""

from __future__ import annotations

import base64
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from holdfast.engine.channel import Channel, Closed
from holdfast.errors import SigningFailed
from holdfast.security.authenticity import Authenticity
from holdfast.security.signing import Signer, SignerGone
from holdfast.security.trust_policy import TrustPolicy

_POLL_S = 0.25

Ask = Callable[[bytes, bytes], bytes]


def to_message(authenticity: Authenticity) -> dict[str, Any]:
    """Return what the persister has to know of it, secrets included, as plain JSON."""
    return {
        "signers": [_signer_to_message(signer) for signer in authenticity.signers],
        "trust": _trust_to_message(authenticity.trust),
    }


def from_message(message: Mapping[str, Any], ask: Ask) -> Authenticity:
    """Return the authenticity of ``to_message``.

    Args:
        message: What ``to_message`` gave.
        ask: Called with a public key and a message, gives the trainer's signature of it.
    """
    return Authenticity(
        tuple(_signer_from_message(item, ask) for item in message["signers"]),
        _trust_from_message(message["trust"]),
    )


def answer(signers: Sequence[Signer], question: Mapping[str, Any]) -> dict[str, Any]:
    """Return the trainer's answer to a question of the persister."""
    public_key, message = bytes.fromhex(question["key"]), base64.b64decode(question["message"])
    try:
        signer = next(item for item in signers if item.public_key == public_key)
        value = signer.sign(message)
        return {"do": "signature", "value": base64.b64encode(value).decode()}
    except Exception as error:
        return {"do": "signature", "error": f"{type(error).__name__}: {error}"}


@final
class Questions:
    """The persister's side: asks, one question at a time, while the trainer lives."""

    def __init__(self, channel: Channel, is_orphaned: Callable[[], bool]) -> None:
        self._channel = channel
        self._is_orphaned = is_orphaned
        self._answers: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        # Saves in several tiers may be signed at the same time.
        self._turn = threading.Lock()

    def ask(self, public_key: bytes, message: bytes) -> bytes:
        """Return the signature of a message by a signer in the trainer.

        Raises:
            SigningFailed: The signer failed.
            SignerGone: The trainer is dead.
        """
        question = {"key": public_key.hex(), "message": base64.b64encode(message).decode()}
        with self._turn:
            try:
                self._channel.send({"say": "sign", **question})
            except Closed as error:
                raise SignerGone("the process that signs has ended") from error
            found = self._wait()
        if "error" in found:
            raise SigningFailed(
                f"The signer of the key {public_key.hex()[:16]}… failed: {found['error']}. Nothing "
                "was committed; checkpoints committed before are safe.",
            )
        return base64.b64decode(found["value"])

    def answered(self, message: Mapping[str, Any] | None) -> None:
        """Take an answer from whoever receives the trainer's messages; None: there is no more."""
        self._answers.put(message)

    def _wait(self) -> Mapping[str, Any]:
        while True:
            try:
                found = self._answers.get(timeout=_POLL_S)
            except queue.Empty:
                # Processes that the trainer has forked can hold its end of the channel open.
                if not self._is_orphaned():
                    continue
                found = None
            if found is None:
                raise SignerGone("the process that signs has ended")
            return found


@final
class _Remote:
    """A signer that lives in the trainer."""

    def __init__(self, public_key: bytes, ask: Ask) -> None:
        self.public_key = public_key
        self._ask = ask

    def sign(self, message: bytes) -> bytes:
        return self._ask(self.public_key, message)


# What signs and judges is imported where somebody does, so that others start without it.


def _trust_to_message(trust: TrustPolicy | None) -> dict[str, Any] | None:
    if trust is None:
        return None
    from holdfast.security import trust_file

    return trust_file.to_json(trust)


def _trust_from_message(value: Mapping[str, Any] | None) -> TrustPolicy | None:
    if value is None:
        return None
    from holdfast.security import trust_file

    return trust_file.from_json(value)


def _signer_to_message(signer: Signer) -> dict[str, str]:
    from holdfast.security.ed25519 import LocalKey

    if isinstance(signer, LocalKey):
        return {"seed": signer.seed.hex()}
    return {"ask": signer.public_key.hex()}


def _signer_from_message(item: Mapping[str, str], ask: Ask) -> Signer:
    from holdfast.security.ed25519 import LocalKey

    if "seed" in item:
        return LocalKey.from_seed(bytes.fromhex(item["seed"]))
    return _Remote(bytes.fromhex(item["ask"]), ask)
