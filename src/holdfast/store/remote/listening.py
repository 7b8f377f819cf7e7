"""Whether anybody listens where a bucket is said to be: for a person, who waits for the answer.

A trainer tries again for two minutes, since its server may be starting, too.
"""

from __future__ import annotations

import os
import socket
import urllib.parse
import urllib.request

from holdfast.errors import StoreUnavailable
from holdfast.store.remote.client import parse, server_of
from holdfast.store.remote.profiles import profile

_PATIENCE_S = 5.0


def require_listening(url: str) -> None:
    """Refuse a server of one's own that refuses to be called, or whose name nobody knows.

    Any other trouble may pass; so it is left to requests, which are tried again. Nothing is asked
    of a cloud, nor where a proxy is in between.

    Raises:
        UsageError: The URL is no place for a store, or the server's address is no URL.
        StoreUnavailable: Nobody is there.
    """
    address = parse(url)
    files = profile({}, os.environ).settings if address.kind == "s3" else {}
    server = server_of(address, files)
    if server is None:
        return
    parts = urllib.parse.urlsplit(server)
    host, port = parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]
    if parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return
    try:
        socket.create_connection((host, port), _PATIENCE_S).close()
    except OSError as error:
        if isinstance(error, ConnectionRefusedError):
            why = "nobody listens there"
        elif isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
            why = "there is no host of that name"
        else:
            return
        raise StoreUnavailable(
            f"The server for the store at {url!r} is said to be at {host}:{port}, and {why}. "
            "Start it, or mend AWS_ENDPOINT_URL or what else names it. Nothing was changed.",
            location=url,
        ) from error
