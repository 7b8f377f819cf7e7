"""What the words of a bucket's client come to mean."""

from __future__ import annotations

import pytest

from absent import required
from holdfast.errors import ChunkMissing, NoSpace, StoreUnavailable, UsageError
from holdfast.store.remote.faults import translation
from holdfast.store.remote.objects import RemoteStore

obstore = required("obstore.exceptions")
GenericError, NotFoundError = obstore.GenericError, obstore.NotFoundError
PermissionDeniedError = obstore.PermissionDeniedError


@pytest.mark.parametrize(
    ("error", "action", "kind", "words"),
    [
        (PermissionDeniedError("403: <Code>QuotaExceeded</Code>"), "write", NoSpace, "no room"),
        (GenericError("status code: 507"), "write", NoSpace, "no room"),
        (GenericError("PUT http://169.254.169.254/latest"), "read", StoreUnavailable, "cred"),
        # Keys have digits, too.
        (GenericError("PUT /packs/a507f: timeout"), "write", StoreUnavailable, "timeout"),
        (
            PermissionDeniedError("403: <Code>AccessDenied</Code>"),
            "read",
            StoreUnavailable,
            "creden",
        ),
        (
            NotFoundError("404: <Code>NoSuchUpload</Code>"),
            "write",
            StoreUnavailable,
            "NoSuchUpload",
        ),
        (NotFoundError("404: <Code>NoSuchKey</Code>"), "read", ChunkMissing, "not in the store"),
        (NotFoundError("404: <Code>NoSuchBucket</Code>"), "read", StoreUnavailable, "no bucket"),
        (
            PermissionDeniedError("<Code>RequestTimeTooSkewed</Code>"),
            "list",
            StoreUnavailable,
            "clock",
        ),
    ],
)
def test_what_an_error_means(
    error: Exception, action: str, kind: type[Exception], words: str
) -> None:
    found = translation(error, action, "packs/a507f", "s3://bucket/x")
    assert type(found) is kind and words in str(found)


@pytest.mark.parametrize("endpoint", ["server", "127.0.0.1:9000", "http://", "ftp://server"])
def test_an_address_of_a_server_that_is_no_url_is_refused(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="is no URL"):
        RemoteStore("s3://bucket/x", {"endpoint": endpoint})
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(UsageError, match="is no URL"):
        RemoteStore("s3://bucket/x", {"region": "us-east-1"})
    RemoteStore("s3://bucket/x", {"endpoint": "http://server:9000", "region": "us-east-1"})
