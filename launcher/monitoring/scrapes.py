"""A small server for one page of figures: few connections at once, and none of them for long.

Whoever is over the number takes the place of who has been there longest, which has most likely
said nothing: a reader is done within milliseconds. So silence keeps nobody out.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Any, Final

from dni_async.addresses import host_of, is_loopback

__all__ = ["LONGEST_S", "MAX_CONNECTIONS", "MAX_REQUEST_BYTES", "ScrapeServer"]

MAX_CONNECTIONS: Final = 16
SILENT_S: Final = 5.0  # between two parts of a request, and of an answer
LONGEST_S: Final = 10.0  # of a connection as a whole
MAX_REQUEST_BYTES: Final = 16 * 1024
PATHS: Final = ("/metrics", "/")

# What is served to who accepts what: the kind of the text, and the text.
Page = Callable[[str], tuple[str, bytes]]


class ScrapeServer(ThreadingMixIn, HTTPServer):
    """Answers GET and HEAD with a page, in threads. url: where. Raises OSError: it cannot listen.

    On loopback it answers those alone that ask for a name of loopback, and so no page of the web
    that has had a name of its own lead here. longest_s: see LONGEST_S.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: str, port: int, page: Page, longest_s: float = LONGEST_S) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        self._since: dict[Any, float] = {}  # when each connection came, the oldest first
        self._lock = threading.Lock()
        self._longest_s = longest_s
        super().__init__((host, port), partial(_Asked, page, is_loopback(host)))
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.server_port}/metrics"
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.25,), name="metrics", daemon=True
        )
        self._thread.start()

    def server_bind(self) -> None:
        """Bind; without asking a name server who this host is."""
        self.allow_reuse_address = True
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread; the oldest connection goes where there would be too many."""
        with self._lock:
            while len(self._since) >= MAX_CONNECTIONS:
                self._cut(next(iter(self._since)))
            self._since[request] = time.monotonic()
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Cut off who has been there for too long."""
        now = time.monotonic()
        with self._lock:
            for each in [each for each, at in self._since.items() if now - at > self._longest_s]:
                self._cut(each)

    def _cut(self, request: Any) -> None:
        """Have its thread end: what it reads is at its end, what it writes fails."""
        del self._since[request]
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        """It has been answered, or cut off."""
        with self._lock:
            self._since.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who leaves in the middle of an answer is no news."""

    def close(self) -> None:
        """Answer nobody any more."""
        self.shutdown()
        self.server_close()
        with self._lock:
            for each in list(self._since):
                self._cut(each)
        self._thread.join()


class _Bounded:
    """The lines of a request, up to a bound; behind it there is nothing."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.left = MAX_REQUEST_BYTES

    def readline(self, size: int = -1) -> bytes:
        """The next line, as far as there is room for it."""
        line: bytes = self._file.readline(min(self.left, size) if size >= 0 else self.left)
        self.left -= len(line)
        return line

    def close(self) -> None:
        """Of the file."""
        self._file.close()


class _Asked(BaseHTTPRequestHandler):
    """One connection, with one request."""

    timeout = SILENT_S
    server_version, sys_version = "dni-async", ""

    def __init__(self, page: Page, is_for_loopback: bool, *arguments: Any) -> None:
        self._page = page
        self._is_for_loopback = is_for_loopback
        super().__init__(*arguments)

    def setup(self) -> None:
        """Bound what is read."""
        super().setup()
        self.rfile: Any = _Bounded(self.rfile)

    def do_GET(self) -> None:
        """The page."""
        refused = self._refusal()
        if refused is not None:
            self._answer(refused, "text/plain; charset=utf-8", f"{refused.phrase}\n".encode())
            return
        kind, text = self._page(self.headers.get("Accept", ""))
        self._answer(HTTPStatus.OK, kind, text)

    do_HEAD = do_GET

    def _refusal(self) -> HTTPStatus | None:
        """Why it is not answered, if it is not."""
        if self.rfile.left <= 0:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        host = self.headers.get("Host")  # which browsers always say
        if self._is_for_loopback and host is not None and not is_loopback(host_of(host)):
            return HTTPStatus.FORBIDDEN
        return None if self.path.partition("?")[0] in PATHS else HTTPStatus.NOT_FOUND

    def _answer(self, status: HTTPStatus, kind: str, text: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: what strangers ask is no news of the run."""
