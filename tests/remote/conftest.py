"""A server that speaks S3; each test has a bucket of its own there."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator

import pytest

from absent import needs_package, required
from holdfast.store.remote import RemoteStore
from s3_server import SETTINGS, make_bucket, serving

needs_package("obstore")
required("moto.server")

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server, ``http://host:port``."""
    with serving(tmp_path_factory.mktemp("s3") / "server.txt") as address:
        yield address


@pytest.fixture
def bucket(server: str) -> str:
    """The name of a new bucket."""
    name = f"bucket-{os.getpid()}-{next(_numbers)}"
    make_bucket(server, name)
    return name


@pytest.fixture
def settings(server: str) -> dict[str, str]:
    return SETTINGS | {"endpoint": server}


@pytest.fixture
def store(bucket: str, settings: dict[str, str]) -> RemoteStore:
    return RemoteStore(f"s3://{bucket}/some/prefix", settings, retry_s=5)


@pytest.fixture(autouse=True)
def no_lease_is_left() -> Iterator[None]:
    """Every lease that a test has taken is given back, or lost, when it ends."""
    yield
    leases = [thread for thread in threading.enumerate() if thread.name == "holdfast-lease"]
    for thread in leases:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in leases)
