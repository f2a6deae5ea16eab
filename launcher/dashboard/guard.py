"""Who may ask a dashboard what: by method, host, origin and, beyond loopback, token."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dni_async.addresses import host_of, is_loopback

__all__ = ["Door", "Guard"]

# Scripts and styles of our own files alone; nothing may frame the pages or be sent from them.
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
COOKIE_S: Final = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Door:
    """Where a dashboard listens. token: what who asks must know; None on loopback."""

    host: str
    port: int
    token: str | None

    @classmethod
    def at(cls, host: str, port: int) -> Door:
        """With a token made up now, unless only this machine reaches the host."""
        return cls(host, port, None if is_loopback(host) else secrets.token_urlsafe(24))

    @property
    def cookie(self) -> str:
        """The name under which a browser keeps the token; all ports of a host share cookies."""
        return f"dni-dashboard-{self.port}"

    def refusal(self, method: str, headers: Mapping[str, str], path: str) -> tuple[int, str] | None:
        """Why a request gets no answer: status and sentence; None where it gets one.

        headers: by name in small letters. A token in the address is not looked at here.
        """
        if method != "GET":
            return 405, "the dashboard only answers GET"
        if self.token is None and not is_loopback(host_of(headers.get("host", ""))):
            return 403, "the dashboard answers to 127.0.0.1 and localhost alone"
        if path != "/" and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return 403, "the dashboard does not answer other sites"
        if self.token is not None and not self.knows(_cookies(headers).get(self.cookie, "")):
            return 401, "open the address that the launcher printed, with its token"
        return None

    def knows(self, token: str) -> bool:
        """Whether it is the token."""
        return self.token is not None and secrets.compare_digest(
            token.encode(errors="replace"), self.token.encode()
        )


class Guard:
    """Asks door first, and gives every answer the headers that keep browsers from being misled."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        answer = self._answer(scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await (self._app if answer is None else answer)(scope, receive, send_guarded)

    def _answer(self, scope: Scope) -> Response | None:
        """What is answered here; None: the pages answer."""
        door, path = self._door, scope["path"]
        token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if path == "/" and scope["method"] == "GET" and door.knows(token):
            welcome = RedirectResponse("/", status_code=303)
            welcome.set_cookie(
                door.cookie, token, max_age=COOKIE_S, httponly=True, samesite="strict"
            )
            return welcome
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        refused = door.refusal(scope["method"], headers, path)
        if refused is None:
            return None
        extra = {"Allow": "GET"} if refused[0] == 405 else {}
        return PlainTextResponse(refused[1] + "\n", status_code=refused[0], headers=extra)


def _cookies(headers: Mapping[str, str]) -> dict[str, str]:
    try:
        found = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in found.items()}
