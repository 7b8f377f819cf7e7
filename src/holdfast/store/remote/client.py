"""The client of a bucket, made from its URL."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from holdfast.errors import UsageError
from holdfast.store.remote.profiles import Profile, profile

# The first name of each is the one that is shown.
_KINDS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "azure": "az",
    "abfs": "az",
    "abfss": "az",
}
_ENDPOINTS = ("endpoint_url_s3", "endpoint", "endpoint_url", "azure_storage_endpoint", "base_url")
# Where obstore looks for the server of S3 itself.
_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_REQUEST_S = 300.0
_CONNECT_S = 10.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a remote store is.

    Attributes:
        kind: ``s3``, ``gs`` or ``az``.
        bucket: The bucket; of Azure, the container.
        prefix: What the keys of all objects begin with; may be empty.
    """

    kind: str
    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        """The address as one URL, always spelt the same way."""
        return f"{self.kind}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


def endpoint_in(settings: Mapping[str, str]) -> str | None:
    """Return the server that settings name, by any of the names that obstore takes."""
    named = {name.lower().removeprefix("aws_"): value for name, value in settings.items()}
    return next((named[name] for name in _ENDPOINTS if named.get(name)), None)


@dataclass(frozen=True, slots=True)
class Options:
    """How to reach it.

    Attributes:
        settings: What the client is told besides what it finds in the environment: ``endpoint``,
            ``region``, ``access_key_id`` and whatever else obstore's stores take. Not shown.
        retry_s: For how long, in seconds, a request is tried again before it counts as failed.
    """

    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    retry_s: float = 120.0


def parse(url: str) -> Address:
    """Return the address that a URL gives.

    >>> parse("s3://bucket/some/prefix/").url
    's3://bucket/some/prefix'

    Raises:
        UsageError: It is no URL of a bucket.
    """
    parts = urllib.parse.urlsplit(url)
    kind = _KINDS.get(parts.scheme)
    if kind is None:
        raise UsageError(
            f"{url!r} is no place for a store: that is a folder, or s3://BUCKET/PREFIX, "
            "gs://BUCKET/PREFIX or az://CONTAINER/PREFIX. Nothing was changed.",
            location=url,
        )
    if "@" in parts.netloc:
        # Not shown: it may be a secret.
        raise UsageError(
            "Credentials do not belong into the URL of a store, where logs would tell them. Put "
            "them where the tools of that cloud look for them: environment, profile, role.",
        )
    prefix = parts.path.strip("/")
    parts_of_it = prefix.split("/") if prefix else []
    is_odd = parts.query or parts.fragment or any(p in ("", ".", "..") for p in parts_of_it)
    if not parts.netloc or is_odd:
        raise UsageError(
            f"{url!r} is no place for a store: it should be {kind}://BUCKET/PREFIX, the prefix of "
            "plain names. Nothing was changed.",
            location=url,
        )
    return Address(kind, parts.netloc, prefix)


def server_of(address: Address, settings: Mapping[str, str]) -> str | None:
    """Return the server that settings or the environment name; None: the cloud's own.

    Raises:
        UsageError: It is no URL, which the client would only stumble over later.
    """
    found = endpoint_in(settings)
    if found is None and address.kind == "s3":
        found = next((os.environ[name] for name in _VARIABLES if os.environ.get(name)), None)
    if found is None:
        return None
    try:
        parts = urllib.parse.urlsplit(found)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise UsageError(
            f"The address of the server for {address.url!r} is no URL: it should be like "
            "https://HOST or http://HOST:PORT. Settings and variables as AWS_ENDPOINT_URL give it. "
            "Nothing was changed.",
            location=address.url,
        )
    return found


def connect(address: Address, options: Options) -> Any:
    """Return obstore's client for an address; nothing is sent yet.

    Raises:
        UsageError: An option is not one, or obstore is not there.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError as error:
        raise UsageError(
            "Stores in buckets need the package obstore: pip install 'holdfast[remote]'. Nothing "
            "was changed."
        ) from error
    files = profile(options.settings, os.environ) if address.kind == "s3" else Profile()
    server_of(address, {**files.settings, **options.settings})
    try:
        connected: Any = from_url
        return connected(
            address.url,
            config={**files.settings, **options.settings},
            credential_provider=files.provider,
            # Endpoints of one's own often have no TLS; those of the clouds are https anyway.
            client_options={
                "allow_http": True,
                "timeout": timedelta(seconds=_REQUEST_S),
                "connect_timeout": timedelta(seconds=_CONNECT_S),
            },
            retry_config={
                "max_retries": 1000,
                "retry_timeout": timedelta(seconds=options.retry_s),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=10),
                    "base": 2,
                },
            },
        )
    except (BaseError, ValueError, TypeError) as error:
        raise UsageError(
            f"The store at {address.url!r} cannot be reached as asked: {error}",
            location=address.url,
        ) from error
