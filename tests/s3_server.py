"""A server that speaks S3, in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SETTINGS = {
    "region": "us-east-1",
    "access_key_id": "somebody",
    "secret_access_key": "something",
}
# Where the tools of S3 look for them.
VARIABLES = {
    "endpoint": "AWS_ENDPOINT_URL",
    "region": "AWS_DEFAULT_REGION",
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
}


@contextmanager
def serving(told: Path) -> Iterator[str]:
    """Serve; yield the address, ``http://host:port``. What the server says goes into told."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with open(told, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=output,
            stderr=output,
        )
    try:
        _wait_for(port, process, told)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], told: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, told.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(told.read_text())


def make_bucket(server: str, name: str) -> None:
    """Make a bucket on a server."""
    urllib.request.urlopen(urllib.request.Request(f"{server}/{name}", method="PUT")).close()


def environment(settings: dict[str, str]) -> dict[str, str]:
    """Return the variables of the environment that say the same as settings."""
    return {VARIABLES[name]: value for name, value in settings.items()}
