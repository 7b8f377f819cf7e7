"""What pages need that a machine does not have by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from s3_server import SETTINGS, environment, make_bucket, serving


@pytest.fixture
def my_bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which ``s3://my-bucket`` is there."""
    with serving(tmp_path_factory.mktemp("s3") / "server.txt") as address:
        make_bucket(address, "my-bucket")
        yield environment(SETTINGS | {"endpoint": address})
