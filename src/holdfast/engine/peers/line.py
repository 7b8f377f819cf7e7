"""A line between two hosts: messages that only those who know the secret can send.

Each message is a head (JSON) and a payload, with a digest over both that is keyed by the line's own
key and counts the messages: what was changed, left out or sent again on the way is noticed, by
accident or not. Nothing is hidden: who listens on the network reads along.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any, final

from blake3 import blake3

from holdfast.store.contract import Buffer

HEAD_BYTES = 8 << 20
# A pack has some tens of megabytes.
PAYLOAD_BYTES = 512 << 20
# A keeper that has died is started again, which takes a moment.
GREETING_S = 30.0
# How soon the system finds out that a machine is gone, in seconds and in one case milliseconds.
_ALIVE = {
    "TCP_KEEPIDLE": 30,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 60_000,
}
_HELLO = b"holdfast peers 1\n"
_SIZES = struct.Struct(">IQ")
_NONCE_BYTES = _TAG_BYTES = 32
_BLOCK_BYTES = 1 << 20


class LineBroken(Exception):
    """The line is of no use any more: cut, silent for too long, or not what was agreed on."""


@final
class Line:
    """One end of a line whose both ends have proven that they know the secret.

    Not thread-safe.

    Args:
        sock: The connection; it is the line's from now on.
        key: What both ends have agreed on.
        is_caller: Whether this end has made the connection.
        patience_s: How long the other end may be silent in the middle of something.
    """

    def __init__(
        self, sock: socket.socket, key: bytes, *, is_caller: bool, patience_s: float
    ) -> None:
        self._sock = sock
        self._patience_s = patience_s
        self._key = key
        self._ours, self._theirs = (b"c", b"k") if is_caller else (b"k", b"c")
        self._n_sent = self._n_received = 0

    def send(self, head: Mapping[str, Any], payload: Sequence[Buffer] = ()) -> None:
        """Send a message; its payload is the concatenation of buffers.

        Raises:
            LineBroken: It may not have arrived.
        """
        views = [memoryview(buffer).cast("B") for buffer in payload]
        body = json.dumps(head, separators=(",", ":")).encode()
        sizes = _SIZES.pack(len(body), sum(view.nbytes for view in views))
        hasher = self._hasher(self._ours, self._n_sent, sizes + body)
        self._n_sent += 1
        try:
            self._sock.settimeout(self._patience_s)
            self._sock.sendall(sizes + body)
            for view in views:
                # Piece by piece: what was digested just now is still in the processor's cache.
                for at in range(0, view.nbytes, _BLOCK_BYTES):
                    piece = view[at : at + _BLOCK_BYTES]
                    hasher.update(piece)
                    self._sock.sendall(piece)
            self._sock.sendall(hasher.digest())
        except OSError as error:
            raise LineBroken(str(error)) from error

    def receive(self, *, may_be_silent: bool = False) -> tuple[dict[str, Any], bytearray]:
        """Return the next message: its head and its payload.

        Args:
            may_be_silent: Wait for its beginning for as long as it takes.

        Raises:
            LineBroken: There is none, or not one of the other end's.
        """
        try:
            self._sock.settimeout(None if may_be_silent else self._patience_s)
            sizes = exactly(self._sock, _SIZES.size)
            self._sock.settimeout(self._patience_s)
            head_bytes, payload_bytes = _SIZES.unpack(sizes)
            if head_bytes > HEAD_BYTES or payload_bytes > PAYLOAD_BYTES:
                raise LineBroken("a message is too long")
            body = exactly(self._sock, head_bytes)
            hasher = self._hasher(self._theirs, self._n_received, bytes(sizes + body))
            self._n_received += 1
            payload = exactly(self._sock, payload_bytes, hasher)
            tag = exactly(self._sock, _TAG_BYTES)
        except OSError as error:
            raise LineBroken(str(error)) from error
        if not hmac.compare_digest(bytes(tag), hasher.digest()):
            raise LineBroken("a message was changed on its way")
        return _head(body), payload

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _hasher(self, end: bytes, number: int, said: bytes) -> blake3:
        hasher = blake3(key=self._key)
        hasher.update(end + number.to_bytes(8, "big") + said)
        return hasher


def call(address: tuple[str, int], secret: bytes, patience_s: float) -> Line:
    """Connect to a keeper, and have it prove that it is one of ours.

    Raises:
        LineBroken: Nobody is there, or somebody else.
    """
    try:
        sock = socket.create_connection(address, timeout=GREETING_S)
    except OSError as error:
        raise LineBroken(str(error)) from error
    try:
        _keep_alive(sock)
        hello = exactly(sock, len(_HELLO) + _NONCE_BYTES)
        if not hello.startswith(_HELLO):
            raise LineBroken("something else answers there")
        theirs, ours = bytes(hello[len(_HELLO) :]), secrets.token_bytes(_NONCE_BYTES)
        sock.sendall(ours + _proof(secret, b"caller", theirs, ours))
        if not hmac.compare_digest(
            bytes(exactly(sock, _TAG_BYTES)), _proof(secret, b"keeper", theirs, ours)
        ):
            raise LineBroken("who answers there does not know the secret of this training")
    except (OSError, LineBroken) as error:
        sock.close()
        raise error if isinstance(error, LineBroken) else LineBroken(str(error)) from error
    key = _proof(secret, b"line", theirs, ours)
    return Line(sock, key, is_caller=True, patience_s=patience_s)


def answer(sock: socket.socket, secret: bytes, patience_s: float) -> Line:
    """Have who calls prove that it is one of ours, before it may say anything.

    Raises:
        LineBroken: It is not.
    """
    try:
        sock.settimeout(GREETING_S)
        _keep_alive(sock)
        ours = secrets.token_bytes(_NONCE_BYTES)
        sock.sendall(_HELLO + ours)
        said = exactly(sock, _NONCE_BYTES + _TAG_BYTES)
        theirs, proof = bytes(said[:_NONCE_BYTES]), bytes(said[_NONCE_BYTES:])
        if not hmac.compare_digest(proof, _proof(secret, b"caller", ours, theirs)):
            raise LineBroken("who calls does not know the secret of this training")
        sock.sendall(_proof(secret, b"keeper", ours, theirs))
    except OSError as error:
        raise LineBroken(str(error)) from error
    key = _proof(secret, b"line", ours, theirs)
    return Line(sock, key, is_caller=False, patience_s=patience_s)


def exactly(sock: socket.socket, count: int, hasher: blake3 | None = None) -> bytearray:
    """Return that many bytes of a connection, shown to a hasher on the way."""
    data = bytearray(count)
    view, fill = memoryview(data), 0
    while fill < count:
        n = sock.recv_into(view[fill : fill + _BLOCK_BYTES])
        if not n:
            raise LineBroken("the other end has hung up")
        if hasher is not None:
            hasher.update(view[fill : fill + n])
        fill += n
    return data


def _head(body: bytearray) -> dict[str, Any]:
    try:
        head = json.loads(bytes(body))
    except ValueError as error:
        raise LineBroken("a message has no head") from error
    if not isinstance(head, dict):
        raise LineBroken("a message has no head")
    return head


def _proof(secret: bytes, what: bytes, keepers: bytes, callers: bytes) -> bytes:
    return hmac.digest(secret, what + b"\0" + keepers + callers, "sha256")


def _keep_alive(sock: socket.socket) -> None:
    """Have the system notice that the machine at the other end is gone."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in _ALIVE.items():
        # Not every system has all of them.
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
