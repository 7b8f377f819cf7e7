"""What a store is opened with: who signs what is saved, and whom to believe what is there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.errors import Untrusted, UsageError
from holdfast.format.envelope import Signature
from holdfast.security.signing import Signer, as_signers, signatures
from holdfast.security.trust_policy import TrustPolicy


@dataclass(frozen=True, slots=True)
class Authenticity:
    """Signers of new checkpoints, and the policy by which those that are there are judged.

    Attributes:
        signers: Who signs; nobody, where it is empty.
        trust: Whom to believe; None: every checkpoint that is whole.
    """

    signers: tuple[Signer, ...] = ()
    trust: TrustPolicy | None = None

    def sign(self, message: bytes) -> Sequence[Signature]:
        """Return everybody's signature of a message.

        Raises:
            SigningFailed: A signer gave none, or one that is not good.
        """
        return signatures(self.signers, message)

    def require_fit(self, run: str) -> None:
        """Raise where what is signed here would not be trusted here.

        Raises:
            Untrusted: The policy would not believe any of the signers.
        """
        if self.trust is None or not self.signers or self.trust.unsigned == "allow":
            return
        objections = [
            self.trust.objection_to_signing(signer.public_key, run) for signer in self.signers
        ]
        if all(objections):
            raise Untrusted(
                f"What is signed for run {run!r} now would not be trusted: "
                f"{'; '.join(objections)}. Nothing was saved. Mend the trust policy ('holdfast "
                "trust add', a later not_after), or sign with another key.",
                run=run,
                why="; ".join(objections),
            )


NOBODY = Authenticity()


def authenticity(
    sign: Signer | Sequence[Signer] | None,
    trust: TrustPolicy | str | os.PathLike[str] | None,
) -> Authenticity:
    """Return what ``sign=`` and ``trust=`` say.

    Raises:
        UsageError: One of them is not possible.
        NotFound, BadTrustFile: ``trust`` names a file that is not there or cannot be used.
    """
    if isinstance(trust, str | os.PathLike):
        from holdfast.security import trust_file

        trust = trust_file.load(trust)
    if trust is not None and not isinstance(trust, TrustPolicy):
        raise UsageError(
            "trust= takes what holdfast.trust.policy or holdfast.trust.file gives, or the path of "
            f"a trust file; not a {type(trust).__name__}."
        )
    return Authenticity(as_signers(sign), trust)
