"""Serves a dashboard: in a thread beside a run, or in the foreground for runs that are over."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import uvicorn

from dni_async.errors import ConfigError
from dni_async.launcher.dashboard.connections import MAX_CONNECTIONS, BoundedConnection
from dni_async.launcher.dashboard.guard import Door
from dni_async.launcher.dashboard.ledger import LedgerWatcher
from dni_async.launcher.dashboard.site import Site
from dni_async.launcher.dashboard.sources import LiveRun, Sources
from dni_async.launcher.report.shelf.shelf import Shelf

__all__ = ["Dashboard", "Listener", "serve_runs"]

LAST_WORD_S = 1  # that pages may take to hear the end
ANY = ("0.0.0.0", "::", "")


class Listener:
    """A socket that listens already. Raises ConfigError, which names setting, where it cannot.

    shown: what others reach it by, where that is not its own address. url: what is opened in a
    browser, with the token where there is one.
    """

    def __init__(self, host: str, port: int, *, setting: str, shown: str | None = None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self.socket = socket.create_server((host, port), family=family)
        except (OSError, UnicodeError) as error:
            # To what the system says create_server adds the address in brackets.
            reason = str(getattr(error, "strerror", None) or error).partition(" (while")[0]
            raise ConfigError(
                f"{setting}: {host}:{port} cannot be listened on: {reason}; choose another, or 0 "
                "for one that is free"
            ) from error
        self.door = Door.at(host, self.socket.getsockname()[1])
        self._shown = shown

    @property
    def url(self) -> str:
        """Where the pages are."""
        token = "" if self.door.token is None else f"?token={self.door.token}"
        if self._shown is not None:
            return f"{self._shown.removesuffix('/')}/{token}"
        host = socket.gethostname() if self.door.host in ANY else self.door.host
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.door.port}/{token}"


def _server(site: Site) -> uvicorn.Server:
    """What answers for site. It says nothing itself, and no client makes it wait for long."""
    return uvicorn.Server(
        uvicorn.Config(
            site.app,
            http=BoundedConnection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS + 8,  # never met: connections are bounded
            timeout_graceful_shutdown=LAST_WORD_S,
        )
    )


def _serving(server: uvicorn.Server, listener: Listener) -> threading.Thread:
    """A thread that does so at the listener's socket, until the server should exit."""
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener.socket]}, name="dashboard", daemon=True
    )
    thread.start()
    return thread


class Dashboard(LedgerWatcher):
    """A watcher whose ledger is served while the run lasts. folder: of the run; shown: Listener."""

    def __init__(self, folder: Path, host: str, port: int, shown: str | None = None) -> None:
        super().__init__()
        listener = Listener(host, port, setting="dashboard_port", shown=shown)
        self.url = listener.url
        sources = Sources(LiveRun(self._ledger, folder), Shelf(folder.parent))
        self._site = Site(sources, listener.door)
        self._server = _server(self._site)
        self._thread = _serving(self._server, listener)

    def close(self) -> None:
        """Tell the pages that are open, then answer nobody any more."""
        self._site.is_closing = True
        self._server.should_exit = True
        self._thread.join(LAST_WORD_S + 2)


def serve_runs(folder: Path, listener: Listener) -> None:
    """Serve the runs in folder, or the one that it is, until a signal's handler raises.

    In a thread: in the main one uvicorn would have signals for itself, ignored ones too.
    """
    site = Site(Sources(None, Shelf(folder)), listener.door)
    server = _server(site)
    thread = _serving(server, listener)
    try:
        thread.join()
    finally:
        site.is_closing = server.should_exit = True
        thread.join(LAST_WORD_S + 2)
