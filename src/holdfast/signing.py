"""Signing keys: ``Store("ckpts", sign=holdfast.signing.key_file("signer.pem"))``.

Every checkpoint that is saved through such a store is signed when it is committed. An object of
your own signs too, if it is a ``Signer``: it has ``public_key`` and ``sign(message)``.
"""

from holdfast.security.signing import Signer, key_file, new_key_file

__all__ = ["Signer", "key_file", "new_key_file"]
