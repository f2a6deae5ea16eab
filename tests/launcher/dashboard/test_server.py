"""A dashboard as it answers over HTTP."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from dni_async.errors import ConfigError
from dni_async.launcher.dashboard.connections import MAX_CONNECTIONS, BoundedConnection
from dni_async.launcher.dashboard.server import Dashboard, Listener
from dni_async.launcher.dashboard.site import STATIC
from tests.launcher.report.shelf.test_shelf import put
from tests.launcher.told import EPOCH, decoupled, progress

OWN = {"Host": "127.0.0.1"}


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Dashboard]:
    """Of a run that trains, beside one that has ended."""
    put(tmp_path, "earlier")
    logs = tmp_path / "run" / "logs"
    logs.mkdir(parents=True)
    (logs / "worker-0.log").write_text("<script>\x1b[31m")
    served = Dashboard(tmp_path / "run", "127.0.0.1", 0)
    served.begin(decoupled(EPOCH))
    served.progress(progress(0))
    yield served
    served.close()


class Client:
    """Asks one dashboard."""

    def __init__(self, url: str) -> None:
        self.port = int(url.split(":")[2].partition("/")[0])

    def ask(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[http.client.HTTPResponse, str]:
        """The answer and its text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, headers=OWN | headers)
            answer = connection.getresponse()
            return answer, answer.read().decode()
        finally:
            connection.close()

    def json(self, path: str) -> Any:
        """What is answered, which must be JSON."""
        answer, text = self.ask(path)
        assert answer.status == 200, text
        return json.loads(text)


def test_pages_and_figures_are_answered_with_guarding_headers(dashboard: Dashboard) -> None:
    client = Client(dashboard.url)
    for path in ("/", "/static/app.js", "/api/site", "/nowhere"):
        answer, _ = client.ask(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert client.json("/api/site")["live"] == "run"
    now = client.json("/api/runs/run/now")
    assert (now["status"], now["version"]) == ("training", 2)
    assert [row["name"] for row in client.json("/api/runs")["runs"]] == ["run", "earlier"]
    assert client.json("/api/runs/earlier/now")["status"] == "finished"
    assert client.json("/api/runs/earlier/learning")["metric"] == "accuracy"
    assert client.json("/api/runs/run/health")["shows_stacks"] is True
    told = client.json("/api/compare?run=run&run=earlier&run=nobody")
    assert told["names"] == ["run", "earlier"]


def test_what_others_wrote_is_text_without_controls(dashboard: Dashboard) -> None:
    answer, text = Client(dashboard.url).ask("/api/runs/run/logs/worker-0.log")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert text == "<script>\\x1b[31m"


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/", "POST", {}, 405),
        ("/", "GET", {"Host": "evil.example"}, 403),
        ("/api/site", "GET", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("/static/../site.py", "GET", {}, 404),
        ("/static/%2e%2e/site.py", "GET", {}, 404),
        ("/api/runs/..%2f..%2fetc/now", "GET", {}, 404),
        ("/api/runs/run/logs/..%2f..%2fconfig.toml", "GET", {}, 404),
        ("/api/runs/nobody/learning", "GET", {}, 404),
        ("/api/live/stack/0", "GET", {}, 404),
    ],
)
def test_what_is_not_to_be_had_is_refused(
    dashboard: Dashboard, path: str, method: str, headers: dict[str, str], status: int
) -> None:
    answer, _ = Client(dashboard.url).ask(path, method, **headers)
    assert answer.status == status


def test_a_page_is_told_of_every_change_and_of_the_end(dashboard: Dashboard) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", Client(dashboard.url).port, timeout=10)
    connection.request("GET", "/api/live", headers=OWN)
    stream = connection.getresponse()
    assert next_event(stream)["version"] == 2
    dashboard.epoch(decoupled(EPOCH), EPOCH)
    assert next_event(stream)["version"] == 3
    dashboard.end({"status": "interrupted"})
    dashboard.close()
    rest = stream.read().decode()
    assert '"status":"interrupted"' in rest
    assert rest.endswith("event: end\ndata: {}\n\n")
    connection.close()


def next_event(stream: http.client.HTTPResponse) -> dict[str, Any]:
    """The data of the next event that tells of the run."""
    while True:
        line = stream.readline().decode()
        assert line, "the stream has ended"
        if line.startswith("data: "):
            data: dict[str, Any] = json.loads(line.removeprefix("data: "))
            return data


def test_who_does_not_read_holds_up_nobody(dashboard: Dashboard) -> None:
    with socket.create_connection(("127.0.0.1", Client(dashboard.url).port)) as deaf:
        deaf.sendall(b"GET /api/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        for number in range(2000):
            dashboard.progress(progress(number % 16, updates=number, busy_s=float(number)))
        assert Client(dashboard.url).json("/api/runs/run/now")["version"] == 2002
        dashboard.close()
    with pytest.raises(OSError, match=r"refused|reset"):
        Client(dashboard.url).ask("/")


def test_beyond_loopback_the_address_with_its_token_opens_the_pages(tmp_path: Path) -> None:
    served = Dashboard(tmp_path / "run", "0.0.0.0", 0)
    try:
        client = Client(served.url)
        token = served.url.partition("?token=")[2]
        assert client.ask("/")[0].status == 401
        assert client.ask("/api/site")[0].status == 401
        assert client.ask("/?token=wrong")[0].status == 401
        answer, _ = client.ask(f"/?token={token}")
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert client.ask("/api/site", Cookie=cookie.partition(";")[0])[0].status == 200
    finally:
        served.close()


def test_a_port_that_is_taken_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = f"dashboard_port: 127.0.0.1:{port} cannot be listened on: Address already in use"
        with pytest.raises(ConfigError, match=rf"^{re.escape(sentence)}; choose another, or 0"):
            Listener("127.0.0.1", port, setting="dashboard_port")


def test_the_address_that_is_printed_may_be_another_than_its_own() -> None:
    listener = Listener("127.0.0.1", 0, setting="port", shown="https://a.b/c/")
    listener.socket.close()
    assert listener.url == "https://a.b/c/"
    listener = Listener("0.0.0.0", 0, setting="port", shown="http://127.0.0.1:8417")
    listener.socket.close()
    assert listener.url == f"http://127.0.0.1:8417/?token={listener.door.token}"


def test_pages_never_make_markup_of_text() -> None:
    own = [path for path in STATIC.glob("*.js") if not path.name.startswith("uPlot")]
    assert len(own) > 5
    for path in own:
        text = path.read_text()
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text, f"{path.name}: {word}"
    page = (STATIC / "index.html").read_text()
    for word in ("<style", "style=", "onclick", "http://", "https://"):
        assert word not in page


SILENT = 400


def is_gone(connection: socket.socket) -> bool:
    """Whether the other end has let go, or does so soon."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_silent_connections_keep_nobody_out_and_are_cut_off(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedConnection, "request_s", 2.0)
    client = Client(dashboard.url)
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", client.port), timeout=20))
            for _ in range(SILENT)
        ]
        slow = silent[-1]
        slow.sendall(b"GET / HTTP/1.1\r\nHost: 127")  # and never the rest
        assert client.json("/api/site")["live"] == "run"
        for each in silent:
            assert is_gone(each)
    assert client.json("/api/site")["live"] == "run"


def test_pages_that_are_told_stay_though_others_say_nothing(dashboard: Dashboard) -> None:
    client = Client(dashboard.url)
    with ExitStack() as stack:
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
        stack.callback(connection.close)
        connection.request("GET", "/api/live", headers=OWN)
        told = connection.getresponse()
        assert told.status == 200
        for _ in range(2 * MAX_CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", client.port), timeout=20))
        dashboard.progress(progress(1))
        while next_event(told)["version"] < 3:
            pass
