"""Whether anything answers at a peer's address, before ZeroMQ, which would only try again."""

from __future__ import annotations

import queue
import socket
import threading
from dataclasses import dataclass
from typing import Final

from dni_async.addresses import is_ipv4
from dni_async.errors import ConfigError
from dni_async.launcher.doctor.link.findings import Reach

__all__ = ["Address", "reach", "resolve"]

_SIGNATURE: Final = b"\xff" + bytes(7) + b"\x01\x7f"  # what ZMTP 3 begins with (RFC 23)
_VERSION: Final = b"\x03"
_MECHANISM: Final = slice(12, 32)


@dataclass(frozen=True, slots=True)
class Address:
    """tcp://HOST:PORT as it was written, and its parts."""

    text: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str, *, is_ours: bool) -> Address:
        """Raises ConfigError. is_ours: to listen on, so no name, and port 0 for any free one."""
        scheme, _, rest = text.partition("://")
        host, _, port = rest.rpartition(":")
        if scheme != "tcp" or not host or not port.isdecimal() or int(port) > 65535:
            raise ConfigError(f"{text}: is not tcp://HOST:PORT")
        if not is_ours and int(port) == 0:
            raise ConfigError(f"{text}: 0 is no port of a peer")
        if is_ours and not is_ipv4(host):
            raise ConfigError(
                f"{text}: {host} is no IPv4 address; name one of this host (ip -brief address), "
                "or 0.0.0.0 for all"
            )
        return cls(text, host, int(port))


def resolve(host: str, timeout_s: float) -> str | None:
    """An IPv4 address of host; None where the name takes longer. Raises OSError.

    In a thread that is left behind, as a name server that is silent holds it up for long.
    """
    if is_ipv4(host):
        return host
    answers: queue.SimpleQueue[str | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
            answers.put(str(found[0][4][0]))
        except (OSError, UnicodeError) as error:
            answers.put(error if isinstance(error, OSError) else OSError(str(error)))

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=timeout_s)
    except queue.Empty:
        return None
    if isinstance(answer, OSError):
        raise answer
    return answer


def reach(host: str, port: int, timeout_s: float) -> Reach:
    """Connect, and hear whether it is ZeroMQ that listens there and how it asks who we are."""
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            greeting = _hear(connection)
    except TimeoutError:
        return Reach("silent", timeout_s)
    except ConnectionRefusedError:
        return Reach("refused", timeout_s)
    except OSError as error:
        return Reach("unreachable", timeout_s, error.strerror or str(error))
    # The length in the signature may be anything: of older versions, for what went before.
    if len(greeting) < 10 or greeting[:1] != _SIGNATURE[:1] or greeting[9:10] != _SIGNATURE[9:]:
        return Reach("other", timeout_s)
    mechanism = greeting[_MECHANISM].rstrip(b"\0").decode("ascii", "replace")
    return Reach("zeromq", timeout_s, mechanism=mechanism)


def _hear(connection: socket.socket) -> bytes:
    """The first bytes of whoever listens there, as many as come in time."""
    heard = b""
    try:
        connection.sendall(_SIGNATURE + _VERSION)
        while len(heard) < _MECHANISM.stop:
            part = connection.recv(_MECHANISM.stop - len(heard))
            if not part:
                break
            heard += part
    except OSError:  # it hung up, or says nothing
        return heard
    return heard
