"""Each peer's mistakes are told once."""

from __future__ import annotations

from dni_async.launcher.coordination.complaints import MAX_COMPLAINTS, Complaints


def test_a_peer_is_named_once_and_not_more_of_them_than_anybody_would_read() -> None:
    told: list[str] = []
    complain = Complaints(told.append)
    for _ in range(3):
        complain(b"a", "first")
    complain(b"b", "second")
    assert told == ["first", "second"]
    for number in range(2 * MAX_COMPLAINTS):
        complain(str(number).encode(), "more")
    assert len(told) == MAX_COMPLAINTS
