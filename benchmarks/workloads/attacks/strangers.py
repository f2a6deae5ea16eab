"""Strangers of every kind, who connect to a tcp port with what is not theirs to say."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

import zmq

__all__ = ["KINDS", "greeting", "imposters", "is_let_in", "knocking", "raw_stranger", "say"]

KINDS = ("silent", "garbage", "http", "old", "null", "half", "large")
_NULL_READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"


def greeting(mechanism: bytes, version: bytes = b"\x03\x00") -> bytes:
    """The first 64 bytes of a ZMTP connection."""
    signature = b"\xff" + bytes(8) + b"\x7f"
    return signature + version + mechanism.ljust(20, b"\0") + bytes(32)


def raw_stranger(port: int, kind: str, host: str = "127.0.0.1") -> socket.socket:
    """A connection that has said what its kind says: bytes that are no member of the run."""
    connection = socket.create_connection((host, port), timeout=10)
    say(connection, kind)
    return connection


def say(connection: socket.socket, kind: str) -> None:
    """What its kind says."""
    said = {
        "silent": b"",
        "garbage": bytes(range(256)) * 8,
        "http": b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        "old": greeting(b"CURVE", b"\x01\x00"),
        "null": greeting(b"NULL") + _NULL_READY,
        "half": greeting(b"CURVE")[:20],
        "large": greeting(b"CURVE") + b"\x06" + struct.pack(">Q", 2**31 - 1),
    }
    with suppress(OSError):  # it may have hung up already
        connection.sendall(said[kind])


def knocking(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A connection that is asked for; nobody waits for the answer."""
    connection = socket.socket()
    connection.setblocking(False)
    connection.connect_ex((host, port))
    return connection


def is_let_in(connection: socket.socket) -> bool:
    """Whether the connection that was asked for stands."""
    try:
        connection.getpeername()
    except OSError:
        return False
    return True


@contextmanager
def imposters(
    endpoint: str,
    count: int,
    kind: Literal["null", "password", "keys"] = "keys",
    server: bytes = b"",
) -> Iterator[list[zmq.Socket[bytes]]]:
    """Real ZeroMQ peers with a password, keys of their own or nothing, and a message to tell.

    server: the key that they take the listener to have; one of their own making if that is empty.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        sockets = []
        for _ in range(count):
            peer: zmq.Socket[bytes] = context.socket(zmq.DEALER)
            peer.setsockopt(zmq.LINGER, 0)
            if kind == "password":
                peer.setsockopt(zmq.PLAIN_USERNAME, b"dni")
                peer.setsockopt(zmq.PLAIN_PASSWORD, b"guess")
            elif kind == "keys":
                public, secret = zmq.curve_keypair()
                peer.setsockopt(zmq.CURVE_SERVERKEY, server or public)
                peer.setsockopt(zmq.CURVE_PUBLICKEY, public)
                peer.setsockopt(zmq.CURVE_SECRETKEY, secret)
            peer.connect(endpoint)
            peer.send_multipart([b"let me in"])
            sockets.append(peer)
        yield sockets
    finally:
        context.destroy(linger=0)
