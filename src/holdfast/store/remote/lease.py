"""A lock in a bucket: a lease that its holder renews, and that runs out when the holder has died.

Buckets have no locks. The lease is an object that says who holds it; the server's own clock says
how old it is. On the machine of the holder nobody needs to wait for that: a process that is gone
holds nothing. It is advisory, as locks of folders are: the numbered commits are the fence.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from typing import Any, final

from holdfast.errors import HoldfastError
from holdfast.store.remote import conditional
from holdfast.store.remote.faults import translated, translation
from holdfast.store.running import is_running

_log = logging.getLogger("holdfast")

RENEW_S = 10.0
LEASE_S = 40.0
# Who waits for a lease asks again and again; each time costs several requests.
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0


@final
class Lease:
    """The lock of one key; not held yet."""

    def __init__(self, client: Any, key: str, location: str) -> None:
        self._client = client
        self._key = key
        self._location = location
        self._word = uuid.uuid4().hex
        self._note = b""
        self._stop = threading.Event()
        self._renewing: threading.Thread | None = None
        self._writing = threading.Lock()
        self._pause_s = 0.0

    def acquire(self) -> bool:
        if self._renewing is not None and self._renewing.is_alive():
            return True
        time.sleep(self._pause_s)
        if not self._take():
            self._pause_s = min(2 * self._pause_s or _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
            return False
        self._pause_s = 0.0
        self._stop.clear()
        # A daemon: a trainer that ends without a word must not be kept by it.
        self._renewing = threading.Thread(target=self._renew, name="holdfast-lease", daemon=True)
        self._renewing.start()
        return True

    def _take(self) -> bool:
        if conditional.put_new(self._client, self._key, self._body(), self._location):
            return True
        import obstore

        with translated("look at", self._key, self._location):
            try:
                found = obstore.get(self._client, self._key)
                meta, body = found.meta, bytes(found.bytes())
            except FileNotFoundError:
                return conditional.put_new(self._client, self._key, self._body(), self._location)
        if not _has_died(body) and not self._has_run_out(meta):
            return False
        return self._replace(meta)

    def _replace(self, meta: Any) -> bool:
        """Take a lease over; of several that try, one succeeds."""
        import obstore
        from obstore.exceptions import NotFoundError, PreconditionError

        # Servers tell one of them, or both; the client takes none that is None.
        mode: Any = {name: meta[name] for name in ("e_tag", "version") if meta.get(name)}
        try:
            obstore.put(self._client, self._key, self._body(), mode=mode)
        except (PreconditionError, NotFoundError, FileNotFoundError):
            # Or it is our own, and the answer was lost.
            return self._is_ours()
        except Exception as error:
            if self._is_ours():
                return True
            raise translation(error, "take over", self._key, self._location) from error
        return True

    def _has_run_out(self, meta: Any) -> bool:
        """Say whether a lease was not renewed for long, by the clock of the server."""
        import obstore

        key = f"{self._key}.{self._word}.now"
        with translated("look at", key, self._location):
            obstore.put(self._client, key, b"")
            now = obstore.head(self._client, key)["last_modified"]
            obstore.delete(self._client, [key])
        return bool((now - meta["last_modified"]).total_seconds() > LEASE_S)

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_S):
            try:
                if not self._write():
                    # Somebody else has taken it over; the next commit tells.
                    return
            except HoldfastError as error:
                _log.warning("The lease of %r could not be renewed: %s", self._key, error)

    def _write(self) -> bool:
        """Write the lease anew; say whether it is held still."""
        import obstore

        with self._writing:
            if self._stop.is_set() or not self._is_ours():
                return False
            with translated("renew", self._key, self._location):
                obstore.put(self._client, self._key, self._body())
            return True

    def note(self) -> bytes:
        return _parsed(self._read())[1]

    def write_note(self, note: bytes) -> None:
        self._note = bytes(note)
        try:
            self._write()
        except HoldfastError as error:
            _log.warning("Who holds %r could not be written: %s", self._key, error)

    def close(self) -> None:
        if self._renewing is None:
            return
        with self._writing:
            self._stop.set()
            self._renewing = None
            self._give_up()

    def _give_up(self) -> None:
        import obstore

        try:
            if self._is_ours():
                with translated("give back", self._key, self._location):
                    obstore.delete(self._client, [self._key])
        except HoldfastError as error:
            _log.warning("The lease of %r runs out by itself: %s", self._key, error)

    def _is_ours(self) -> bool:
        return _parsed(self._read())[0].get("word") == self._word

    def _read(self) -> bytes:
        import obstore

        with translated("look at", self._key, self._location):
            try:
                return bytes(obstore.get(self._client, self._key).bytes())
            except FileNotFoundError:
                return b""

    def _body(self) -> bytes:
        who = {"word": self._word, "pid": os.getpid(), "host": _host()}
        return json.dumps(who).encode() + b"\n" + self._note


def _parsed(body: bytes) -> tuple[dict[str, object], bytes]:
    head, _, note = body.partition(b"\n")
    try:
        found = json.loads(head)
    except ValueError:
        return {}, note
    return (found if isinstance(found, dict) else {}), note


def _has_died(body: bytes) -> bool:
    """Say whether the holder was a process of this machine that is gone."""
    who, _ = _parsed(body)
    pid = who.get("pid")
    if who.get("host") != _host() or not isinstance(pid, int) or pid <= 0:
        return False
    return not is_running(pid)


def _host() -> str:
    """Return what this machine has and no other one, until it is started again.

    Containers of one machine may share its name, but number their processes on their own. It lies
    in the open in an encrypted store too, so that it does not tell the machine's name.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            start = f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        start = f"{uuid.getnode():x}"
    return hashlib.sha256(f"{socket.gethostname()} {start}".encode()).hexdigest()
