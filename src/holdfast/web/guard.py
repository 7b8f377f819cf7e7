"""Who may ask, and what a browser may do with an answer.

A page on another site can make a browser ask this server. It must learn nothing and change nothing:

- What is asked for under another name than ours is refused, so that no site's own name can be made
  to lead here (DNS rebinding).
- On an address that others can reach, a token is needed; it comes once in the address and then as
  a cookie that no other site can send along.
- Whatever changes something must come from our own pages, by what the browser says of its origin
  and by a secret in the form.
- Answers load nothing from elsewhere, run no script but ours, and cannot be framed.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "holdfast-token"
_SAFE = ("GET", "HEAD")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """Lets through what may be asked, and says with every answer what a browser may do with it.

    Args:
        app: What answers.
        names: The hosts that it may be asked for as; None: any, as others have theirs for us.
        token: What must be known to be let in; None: nothing.
    """

    def __init__(self, app: ASGIApp, *, names: Collection[str] | None, token: str | None) -> None:
        self._app = app
        self._names = names
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have the application answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                # What is shown is as old as the answer.
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(Request(scope))
        await (refusal or self._app)(scope, receive, send_guarded)

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if self._names is not None and _name_of(host) not in self._names:
            return _refuse(403, f"This server is not {host!r}. Ask for it as localhost.")
        if self._token is not None and (answer := self._without_token(request)) is not None:
            return answer
        if request.method not in _SAFE and not _is_our_own(request.headers, host):
            return _refuse(403, "What changes something must come from these pages themselves.")
        return None

    def _without_token(self, request: Request) -> Response | None:
        assert self._token is not None
        if _same(request.cookies.get(COOKIE, ""), self._token):
            return None
        if request.method in _SAFE and _same(request.query_params.get("token", ""), self._token):
            query = [pair for pair in parse_qsl(request.url.query) if pair[0] != "token"]
            # Not left in the address, where it would be seen and kept.
            there = RedirectResponse(request.url.path + ("?" + urlencode(query)) * bool(query), 303)
            there.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
            return there
        return _refuse(401, "Open the address that 'holdfast ui' has printed, token included.")


def _name_of(host: str) -> str:
    """Return a host without its port.

    >>> _name_of("[::1]:8000"), _name_of("localhost:80"), _name_of("a.b")
    ('[::1]', 'localhost', 'a.b')
    """
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _is_our_own(headers: Headers, host: str) -> bool:
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None and origin.partition("://")[2] != host:
        return False
    return site in (None, "same-origin")


def _refuse(status: int, text: str) -> Response:
    return PlainTextResponse(text + "\n", status)
