"""The server: listens on loopback unless told otherwise."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from dataclasses import dataclass

import uvicorn

from holdfast.errors import EnvironmentTrouble, UsageError
from holdfast.repository import Store
from holdfast.web.app import make_app
from holdfast.web.site import Site

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True)
class Listening:
    """A socket that listens, and the address to open; it has the token where one is needed."""

    sock: socket.socket
    address: str
    token: str | None

    @property
    def names(self) -> frozenset[str] | None:
        """The hosts that it may be asked for as; None: any, as others have theirs for us."""
        if self.token is not None:
            return None
        return _LOOPBACK_NAMES | {_in_address(self.sock.getsockname()[0])}

    def close(self) -> None:
        """Listen no more."""
        self.sock.close()


def listen(host: str = "127.0.0.1", port: int = 0) -> Listening:
    """Begin to listen.

    Args:
        host: An address of this machine. On one that others can reach a token is needed.
        port: 0: any that is free.

    Raises:
        UsageError: The host is no address of this machine, or the port none that can be.
        EnvironmentTrouble: The port is taken, or not for us.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, OverflowError, UnicodeError) as error:
        raise UsageError(f"{host!r}, port {port}, is no address to listen on: {error}.") from error
    sock = socket.socket(found[0], socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(found[4])
    except OSError as error:
        sock.close()
        raise EnvironmentTrouble(
            f"Port {port} of {host} cannot be listened on: {error.strerror}. Another one is chosen "
            "by itself with --port 0.",
            errno=error.errno,
        ) from error
    sock.listen(64)
    name, number = sock.getsockname()[:2]
    token = None if ipaddress.ip_address(name).is_loopback else secrets.token_urlsafe(24)
    shown = _in_address(name)
    if ipaddress.ip_address(name).is_unspecified:
        shown = socket.gethostname()
    address = f"http://{shown}:{number}/" + (f"?token={token}" if token else "")
    return Listening(sock, address, token)


def _in_address(name: str) -> str:
    """Return an address of this machine as the addresses of pages have it.

    >>> _in_address("127.0.1.1"), _in_address("::1")
    ('127.0.1.1', '[::1]')
    """
    return f"[{name}]" if ":" in name else name


def serve(store: Store, listening: Listening, *, allow_changes: bool = False) -> None:
    """Answer until the process is asked to stop."""
    app = make_app(Site(store, allow_changes), names=listening.names, token=listening.token)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listening.sock])
