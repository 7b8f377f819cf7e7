"""Messages between trainer and persister: JSON with a payload, and sometimes an open file."""

from __future__ import annotations

import array
import contextlib
import json
import socket
import struct
import threading
from collections.abc import Mapping
from typing import Any

from holdfast.engine.shield import uninterrupted

_HEADER = struct.Struct(">IQ")


class Closed(Exception):
    """The other side is gone."""


class Channel:
    """One end of a stream of messages. Sending is thread-safe; one thread receives."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._fds: list[int] = []

    def send(self, message: Mapping[str, Any], payload: bytes = b"", fd: int | None = None) -> None:
        """Send a message.

        Raises:
            Closed: The other side is gone.
        """
        body = json.dumps(message, separators=(",", ":")).encode()
        head = _HEADER.pack(len(body), len(payload)) + body
        try:
            # Half a message would be the last that the other side understands.
            with uninterrupted(), self._lock:
                if fd is None:
                    self._sock.sendall(head)
                else:
                    sent = socket.send_fds(self._sock, [head], [fd])
                    self._sock.sendall(head[sent:])
                self._sock.sendall(payload)
        except OSError as error:
            raise Closed(str(error)) from error

    def receive(self) -> tuple[dict[str, Any], bytes, int | None]:
        """Return the next message, its payload, and the file that came with it, if any.

        Raises:
            Closed: The other side is gone.
        """
        body_bytes, payload_bytes = _HEADER.unpack(self._exactly(_HEADER.size))
        message = json.loads(self._exactly(body_bytes))
        payload = self._exactly(payload_bytes)
        return message, payload, self._fds.pop(0) if message.get("has_fd") else None

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            try:
                part, ancillary, _, _ = self._sock.recvmsg(
                    min(count - len(data), 1 << 20), socket.CMSG_SPACE(4 * 4)
                )
            except OSError as error:
                raise Closed(str(error)) from error
            if not part:
                raise Closed("end of stream")
            data += part
            for level, kind, payload in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds = array.array("i")
                    fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
                    self._fds.extend(fds)
        return bytes(data)
