"""Stores in buckets: S3 and what speaks its language, Google Cloud Storage, Azure.

The client is obstore's; credentials are found as those clouds' own tools find them.
"""

from holdfast.store.remote.objects import RemoteStore

__all__ = ["RemoteStore"]
