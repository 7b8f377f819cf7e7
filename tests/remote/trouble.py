"""A server between client and server that makes trouble: it cuts, refuses, forgets and delays."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NOTHING = "nothing"
# What may be done to a request: not passed on and cut; passed on, and its answer lost; answered
# by an error of the server's; told to slow down; half the answer; late.
CUT, LOST, ERROR, SLOW_DOWN, HALF, LATE = "cut", "lost", "error", "slow down", "half", "late"
KINDS = (CUT, LOST, ERROR, SLOW_DOWN, HALF, LATE)
# Cut, and carried out all the same a while later, when nobody waits for it.
AFTERWARDS = "afterwards"
AFTERWARDS_S = 3.0
# Refused as servers refuse what goes over a quota.
FULL = "full"

_QUOTA = b"<Error><Code>QuotaExceeded</Code><Message>No more than this</Message></Error>"

LATE_S = 0.2


@dataclass(slots=True)
class Trouble:
    """What the server does to each request, and what it did.

    Attributes:
        plan: Told the method, the path and the headers, says what to do.
        done: What was done, and to which path.
    """

    plan: Callable[[str, str, dict[str, str]], str] = lambda method, path, headers: NOTHING
    forgets_conditions: bool = False
    done: list[tuple[str, str, str]] = field(default_factory=list)


@contextmanager
def between(server: str, trouble: Trouble) -> Iterator[str]:
    """Serve as the server does, with trouble; yield the address."""
    behind = urllib.parse.urlsplit(server).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def handle_one_request(self) -> None:
            with suppress(ConnectionError):
                super().handle_one_request()

        def _answer(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            what = trouble.plan(self.command, self.path, headers)
            if what != NOTHING:
                trouble.done.append((what, self.command, self.path))
            if trouble.forgets_conditions:
                headers.pop("if-none-match", None)
            if what == LATE:
                time.sleep(LATE_S)
            if what == CUT:
                return self._cut()
            if what == FULL:
                return self._send(403, {}, _QUOTA, len(_QUOTA))
            if what in (ERROR, SLOW_DOWN):
                return self._send(500 if what == ERROR else 503, {}, b"", 0)
            if what == AFTERWARDS:
                threading.Timer(AFTERWARDS_S, self._pass_on, (body, headers)).start()
                return self._cut()
            answer, data = self._pass_on(body, headers)
            if what == LOST:
                return self._cut()
            most = len(data) // 2 if what == HALF else len(data)
            return self._send(answer.status, dict(answer.getheaders()), data, most)

        def _pass_on(
            self, body: bytes, headers: dict[str, str]
        ) -> tuple[http.client.HTTPResponse, bytes]:
            passed = http.client.HTTPConnection(behind)
            passed.request(self.command, self.path, body, headers)
            answer = passed.getresponse()
            data = answer.read()
            passed.close()
            return answer, data

        def _cut(self) -> None:
            self.close_connection = True
            self.connection.close()

        def _send(self, status: int, headers: dict[str, str], data: bytes, most: int) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            length = headers.get("Content-Length", str(len(data)))
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(data[:most])
            if most < len(data):
                self.wfile.flush()
                self._cut()

        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):
                return self._answer
            raise AttributeError(name)

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.daemon_threads = True
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{served.server_address[1]}"
    finally:
        served.shutdown()
        served.server_close()
