"""A page of figures is answered whoever else connects, and says nothing, or too much."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from dni_async import RunConfig
from dni_async.launcher.monitoring.prometheus import MetricsServer
from dni_async.launcher.monitoring.scrapes import (
    LONGEST_S,
    MAX_CONNECTIONS,
    MAX_REQUEST_BYTES,
    ScrapeServer,
)

SILENT = 400


@pytest.fixture
def server() -> Iterator[ScrapeServer]:
    """One that says what is accepted."""
    with closing(
        ScrapeServer("127.0.0.1", 0, lambda accepts: ("text/plain", accepts.encode()))
    ) as s:
        yield s


def ask(
    port: int, path: str = "/metrics", method: str = "GET", **headers: str
) -> tuple[int, bytes]:
    """Status and text."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with closing(connection):
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def is_gone(connection: socket.socket, patience_s: float = 20) -> bool:
    """Whether the other end has let go, or does so soon."""
    connection.settimeout(patience_s)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def test_silent_connections_cost_few_threads_and_keep_nobody_out() -> None:
    before = threading.active_count()
    with closing(MetricsServer(RunConfig(metrics_port=0))) as server, ExitStack() as stack:
        port = int(server.url.split(":")[2].partition("/")[0])
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            for _ in range(SILENT)
        ]
        status, text = ask(port)
        assert status == 200
        assert b"dni_run_info" in text
        # Those that came first have made room, and their threads have ended or are about to.
        assert all(is_gone(each) for each in silent[: SILENT - MAX_CONNECTIONS])
        deadline = time.monotonic() + 20
        while threading.active_count() > before + MAX_CONNECTIONS + 1:
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)


def test_nobody_stays_for_long() -> None:
    assert LONGEST_S <= 10
    server = ScrapeServer("127.0.0.1", 0, lambda _: ("text/plain", b""), longest_s=0.5)
    with closing(server), socket.create_connection(("127.0.0.1", server.server_port)) as slow:
        for _ in range(200):  # a byte now and then is no reason to be kept
            try:
                slow.sendall(b"G")
            except OSError:
                break
            threading.Event().wait(0.02)
        else:
            pytest.fail("it was kept")


def test_a_request_has_a_bound(server: ScrapeServer) -> None:
    status, _ = ask(server.server_port, **{f"X-{n}": "y" * 4000 for n in range(5)})
    assert status == 431
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as endless:
        endless.sendall(b"GET /" + b"x" * MAX_REQUEST_BYTES)
        assert is_gone(endless)


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/metrics", "GET", {"Accept": "a/b"}, 200),
        ("/", "GET", {}, 200),
        ("/metrics?name[]=x", "HEAD", {}, 200),
        ("/metrics", "GET", {"Host": "localhost:9"}, 200),
        ("/metrics", "GET", {"Host": "[::1]:9"}, 200),
        ("/metrics", "GET", {"Host": "rebound.example:9"}, 403),
        ("/etc/passwd", "GET", {}, 404),
        ("/metrics", "POST", {}, 501),
        ("/metrics", "DELETE", {}, 501),
    ],
)
def test_what_is_answered(
    server: ScrapeServer, path: str, method: str, headers: dict[str, str], status: int
) -> None:
    got, text = ask(server.server_port, path, method, **headers)
    assert got == status
    if method == "HEAD":
        assert text == b""
    elif "Accept" in headers:
        assert text == b"a/b"


def test_it_says_nothing_of_who_leaves_early(
    server: ScrapeServer, capfd: pytest.CaptureFixture[str]
) -> None:
    for said in (
        b"",
        b"GET /metrics HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\xff\x00",
        b"GET \xff\xfe HTTP/9\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.server_port)) as leaving:
            leaving.sendall(said)
    assert ask(server.server_port)[0] == 200
    assert capfd.readouterr() == ("", "")
