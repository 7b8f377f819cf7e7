"""Another host, as this one asks it for things."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

from holdfast.engine.handle import error_of_kind
from holdfast.engine.peers.line import Line, LineBroken, call
from holdfast.errors import HoldfastError, PeersUnavailable
from holdfast.store.contract import Buffer, ObjectInfo


@final
class Peer:
    """The store of another host, by way of its keeper. Thread-safe: each thread has its line.

    Args:
        name: The host.
        address: Where its keeper answers.
        secret: What proves that one belongs to this training.
        patience_s: How long it may be silent in the middle of something.
    """

    def __init__(
        self, name: str, address: tuple[str, int], secret: bytes, patience_s: float
    ) -> None:
        self.name = name
        self._address = address
        self._secret = secret
        self._patience_s = patience_s
        self._idle: list[Line] = []
        self._lock = threading.Lock()

    def put(self, key: str, data: Buffer | Sequence[Buffer]) -> None:
        """Have it keep an object, durably."""
        self._ask({"do": "put", "key": key}, data)

    def put_new(self, key: str, data: Buffer) -> bool:
        """Have it keep an object unless the key is taken by another; say if it has it."""
        return bool(self._ask({"do": "put-new", "key": key}, data)[0]["is_there"])

    def put_hint(self, key: str, data: Buffer) -> None:
        """Have it show an object that need not be durable."""
        self._ask({"do": "put-hint", "key": key}, data)

    def get(self, key: str) -> bytearray | None:
        """Return an object that it has, or None."""
        head, content = self._ask({"do": "get", "key": key})
        return content if head["is_there"] else None

    def exists(self, key: str) -> bool:
        """Say whether it has an object."""
        return bool(self._ask({"do": "exists", "key": key})[0]["is_there"])

    def lacks(self, packs: Mapping[str, int]) -> list[str]:
        """Return which of some packs it does not have in their length.

        Args:
            packs: Their keys, with their lengths in bytes.
        """
        head, _ = self._ask({"do": "lacks"}, json.dumps(dict(packs)).encode())
        return [key for key in head["keys"] if key in packs]

    def list(self, prefix: str) -> list[ObjectInfo]:
        """Return what it has below a prefix, sorted by key."""
        _, content = self._ask({"do": "list", "prefix": prefix})
        return [ObjectInfo(str(k), int(n), float(m)) for k, n, m in json.loads(bytes(content))]

    def delete(self, keys: Sequence[str]) -> None:
        """Have it remove objects; of commits also what they alone need."""
        self._ask({"do": "delete"}, json.dumps(list(keys)).encode())

    def delete_hint(self, key: str) -> None:
        """Have it remove what ``put_hint`` has put."""
        self._ask({"do": "delete-hint", "key": key})

    def clear(self) -> None:
        """Have it remove what dead writers have left."""
        self._ask({"do": "clear"})

    def hang_up(self) -> None:
        """Close the lines that nobody uses now; the next question opens another."""
        with self._lock:
            idle, self._idle = self._idle, []
        for line in idle:
            line.close()

    def _ask(
        self, head: Mapping[str, Any], payload: Buffer | Sequence[Buffer] = ()
    ) -> tuple[dict[str, Any], bytearray]:
        buffers = [payload] if isinstance(payload, Buffer) else payload
        try:
            said, content = self._asked(head, buffers)
        except LineBroken as error:
            raise PeersUnavailable(
                f"Host {self.name!r} ({self._address[0]}:{self._address[1]}) does not answer: "
                f"{error}. Checkpoints committed before are safe.",
                host=self.name,
            ) from error
        if "kind" in said:
            raise self._refused(error_of_kind(str(said["kind"]), str(said["message"]), {}))
        return said, content

    def _asked(
        self, head: Mapping[str, Any], buffers: Sequence[Buffer]
    ) -> tuple[dict[str, Any], bytearray]:
        try:
            with self._line() as line:
                line.send(head, buffers)
                return line.receive()
        except LineBroken:
            # A line that has lain idle may have been cut long ago; what is asked for may be twice.
            self.hang_up()
        with self._line() as line:
            line.send(head, buffers)
            return line.receive()

    @contextmanager
    def _line(self) -> Iterator[Line]:
        with self._lock:
            line = self._idle.pop() if self._idle else None
        line = line or call(self._address, self._secret, self._patience_s)
        try:
            yield line
        except BaseException:
            # Half a message would be the last that the other end understands.
            line.close()
            raise
        with self._lock:
            self._idle.append(line)

    def _refused(self, error: HoldfastError) -> HoldfastError:
        error.message = f"Host {self.name!r}: {error.message}"
        error.args = (error.message,)
        return error
