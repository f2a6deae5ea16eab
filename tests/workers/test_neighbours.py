"""Where a stage listens once its neighbour below has been replaced."""

from __future__ import annotations

import pytest

from workers.neighbours import moved


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("ipc:///a/folder/stage-1", "ipc:///a/folder/stage-1,3"),
        ("ipc:///a/folder/stage-1,2", "ipc:///a/folder/stage-1,3"),
        ("ipc:///a/folder/stage-1.4,2", "ipc:///a/folder/stage-1.4,3"),
        ("tcp://127.0.0.1:40001", "tcp://127.0.0.1:0"),
        ("tcp://192.0.2.2:40001", "tcp://192.0.2.2:0"),
    ],
)
def test_a_new_inbox_is_beside_the_old_one_or_on_another_port_of_its_address(
    endpoint: str, expected: str
) -> None:
    assert moved(endpoint, 3) == expected
