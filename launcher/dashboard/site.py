"""The addresses of a dashboard, and what each answers; all is decided elsewhere."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from dni_async.launcher.dashboard.guard import Door, Guard
from dni_async.launcher.dashboard.sources import LiveRun, Sources, written
from dni_async.wire.foreign_text import legible

__all__ = ["Site"]

STATIC: Final = Path(__file__).with_name("static")
TICK_S = 0.25  # how often a page is told, at most
AT_LEAST_S = 1.0  # and at least: time goes on where nobody tells anything
MAX_STREAMS = 24  # pages that are told at once


class Site:
    """The pages of sources behind door. is_closing: has the streams end, after a last word."""

    def __init__(self, sources: Sources, door: Door) -> None:
        self.is_closing = False
        self._sources = sources
        self._num_streams = 0
        self.app = Guard(Starlette(routes=self._routes()), door)

    def _routes(self) -> list[Route | Mount]:
        """What is there."""
        run = "/api/runs/{name}"
        return [
            Route("/", _page, methods=["GET"]),
            Mount("/static", StaticFiles(directory=STATIC)),
            Route("/api/site", self._json(lambda _: self._sources.site())),
            Route("/api/runs", self._json(lambda _: self._sources.runs())),
            Route("/api/compare", self._json(self._compare)),
            Route("/api/live", self._live),
            Route("/api/live/stack/{stage:int}", self._stack),
            Route(f"{run}/now", self._json(lambda r: self._sources.now(_name(r)))),
            Route(f"{run}/learning", self._json(lambda r: self._sources.learning(_name(r)))),
            Route(f"{run}/health", self._json(lambda r: self._sources.health(_name(r)))),
            Route(f"{run}/timeline", self._json(self._timeline)),
            Route(f"{run}/logs/{{log}}", self._log),
        ]

    def _json(self, make: Callable[[Request], Any]) -> Callable[[Request], Response]:
        """A handler that answers what make gives, as JSON; in a thread, as it may read files."""

        def answer(request: Request) -> Response:
            value = make(request)
            if value is None:
                return PlainTextResponse("there is no such run here\n", status_code=404)
            text = value if isinstance(value, str) else written(value)
            return Response(text, media_type="application/json")

        return answer

    def _compare(self, request: Request) -> dict[str, Any]:
        return self._sources.compare(request.query_params.getlist("run"))

    def _timeline(self, request: Request) -> dict[str, Any] | None:
        asked = request.query_params
        began_s, length_s = _seconds(asked.get("from")), _seconds(asked.get("length"))
        is_lockstep = asked.get("lockstep") == "1"
        return self._sources.timeline(_name(request), began_s, length_s, is_lockstep=is_lockstep)

    def _log(self, request: Request) -> Response:
        return _text(self._sources.log(_name(request), request.path_params["log"]))

    async def _stack(self, request: Request) -> Response:
        """Ask the stage's worker for its stack, and give the end of its log when it is there."""
        live, stage = self._sources.live, request.path_params["stage"]
        if live is None or not live.stacks.ask(stage):
            return _text(None)
        with anyio.move_on_after(TICK_S):
            await anyio.Event().wait()  # it writes within a moment
        return _text(live.stacks.written(stage))

    async def _live(self, request: Request) -> Response:
        """The run that goes on, told again whenever it has changed."""
        live = self._sources.live
        if live is None or self._num_streams >= MAX_STREAMS:
            return _text(None)
        headers = {"X-Accel-Buffering": "no"}
        events = self._events(live)
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)

    async def _events(self, live: LiveRun) -> AsyncIterator[str]:
        """Server-sent events, each the whole state: who is slow misses some and stops nobody."""
        self._num_streams += 1
        told, silent_s = "", 0.0
        try:
            while True:
                is_last = self.is_closing
                text = live.now()
                if text != told or silent_s >= AT_LEAST_S:
                    told, silent_s = text, 0.0
                    yield f"event: now\ndata: {text}\n\n"
                if is_last:
                    yield "event: end\ndata: {}\n\n"
                    return
                silent_s += TICK_S
                with anyio.move_on_after(TICK_S):
                    await anyio.Event().wait()
        finally:
            self._num_streams -= 1


async def _page(_request: Request) -> Response:
    return FileResponse(STATIC / "index.html", media_type="text/html")


def _name(request: Request) -> str:
    name: str = request.path_params["name"]
    return name


def _seconds(text: str | None) -> float | None:
    """A finite number, or None where there is none."""
    try:
        seconds = float(text or "nan")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None


def _text(text: str | None) -> Response:
    """What others wrote, to be shown as text."""
    if text is None:
        return PlainTextResponse("there is no such thing here\n", status_code=404)
    return PlainTextResponse(legible(text))
