"""Connections to a dashboard: so many at once, and none that says or takes nothing for long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    Transport = Any
    Timer = Any

__all__ = ["MAX_CONNECTIONS", "BoundedConnection"]

MAX_CONNECTIONS: Final = 64  # pages that are told, and what each asks beside that
REQUEST_S: Final = 5.0  # from connecting, or its first byte, until a request is whole
TAKING_S: Final = 30.0  # that an answer may stand still because nobody reads it


class BoundedConnection(H11Protocol):
    """A connection that is cut off when a request takes too long, or nobody reads the answer.

    Where there would be too many, the one that has been waiting longest without a request goes;
    where each has one, the new one. The server's own timer sees to those between two requests.
    """

    request_s: float = REQUEST_S

    def connection_made(self, transport: Transport) -> None:
        """Make room, and begin to wait for a request."""
        super().connection_made(transport)
        self._asked_at = self.loop.time()
        self._timer: Timer = None
        self._standing: Timer = None
        if len(self.connections) > MAX_CONNECTIONS:
            idle = [each for each in self.connections if each is not self and _is_idle(each)]
            goes = min(idle, key=_waits_since, default=self)
            self.connections.discard(goes)  # it is lost only after others have been made
            goes.transport.abort()
        self._time_request()

    def data_received(self, data: bytes) -> None:
        """A request goes on, or is whole."""
        super().data_received(data)
        if not _is_idle(self):
            self._stop("_timer")
        elif self._timer is None:
            self._time_request()

    def on_response_complete(self) -> None:
        """From here on it waits for the next request."""
        super().on_response_complete()
        self._asked_at = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop("_timer")
        self._stop("_standing")
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Who asked does not read as fast as is written."""
        super().pause_writing()
        self._standing = self.loop.call_later(TAKING_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Now it does."""
        self._stop("_standing")
        super().resume_writing()

    def _time_request(self) -> None:
        self._timer = self.loop.call_later(self.request_s, self.transport.abort)

    def _stop(self, name: str) -> None:
        timer = getattr(self, name, None)
        if timer is not None:
            timer.cancel()
        setattr(self, name, None)


def _is_idle(connection: Any) -> bool:
    """Whether it has no request that is being answered."""
    cycle = connection.cycle
    return cycle is None or bool(cycle.response_complete)


def _waits_since(connection: Any) -> float:
    since: float = getattr(connection, "_asked_at", 0.0)
    return since
