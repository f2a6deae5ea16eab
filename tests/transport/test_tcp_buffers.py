"""What the kernel's settings say of tcp's buffers, and that far links ask for the most of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import zmq

from dni_async.transport.sockets import open_sockets
from dni_async.transport.tcp_buffers import LEAVE, TcpBuffer, receive_buffer, send_buffer
from tests.transport.ring import lone_ring

MB = 2**20


@pytest.mark.parametrize(
    ("tuned", "asked", "expected"),
    [
        ("4096\t16384\t4194304\n", "212992\n", TcpBuffer(4 * MB, LEAVE)),  # most systems
        ("4096\t16384\t4194304\n", "4194304\n", TcpBuffer(8 * MB, 4 * MB)),
        ("4096\t16384\t8388608\n", "4194304\n", TcpBuffer(8 * MB, LEAVE)),
        ("4096 16384 67108864", "4194304", TcpBuffer(64 * MB, LEAVE)),  # made ready for distance
        ("4096 16384 4194304", None, TcpBuffer(4 * MB, LEAVE)),
        ("4096 16384 4194304", "much", TcpBuffer(4 * MB, LEAVE)),
        ("4096 16384", "4194304", TcpBuffer(0, LEAVE)),
        ("a b c", "4194304", TcpBuffer(0, LEAVE)),
        (None, None, TcpBuffer(0, LEAVE)),
    ],
)
def test_the_larger_of_what_the_kernel_takes_by_itself_and_gives_when_asked(
    tmp_path: Path, tuned: str | None, asked: str | None, expected: TcpBuffer
) -> None:
    for folder in ("ipv4", "core"):
        (tmp_path / folder).mkdir()
    for way in ("wmem", "rmem"):
        if tuned is not None:
            (tmp_path / f"ipv4/tcp_{way}").write_text(tuned)
        if asked is not None:
            (tmp_path / f"core/{way}_max").write_text(asked)
    assert send_buffer(tmp_path) == expected
    assert receive_buffer(tmp_path) == expected


@pytest.mark.parametrize(
    ("host", "sends", "receives"),
    [
        ("127.0.0.1", LEAVE, LEAVE),
        ("0.0.0.0", send_buffer().ask_bytes, receive_buffer().ask_bytes),
    ],
)
def test_only_links_that_reach_other_hosts_ask(host: str, sends: int, receives: int) -> None:
    with open_sockets(lone_ring()) as sockets:
        listening = sockets.listening(f"tcp://{host}:0")
        connected = sockets.connected(listening.endpoint, listening.key)
        for channel in (listening, connected, sockets.frame_server(f"tcp://{host}:0")):
            assert channel.socket.getsockopt(zmq.SNDBUF) == sends
            assert channel.socket.getsockopt(zmq.RCVBUF) == receives
