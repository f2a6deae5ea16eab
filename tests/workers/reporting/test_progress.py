"""What a worker tells of its memory, also where no descriptor is to be had for asking."""

from __future__ import annotations

import errno

import pytest

from dni_async.workers.reporting import progress


def test_memory_that_cannot_be_asked_for_is_told_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    assert progress.held_bytes(7) > 2**20

    def none_left() -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(progress, "rss_bytes", none_left)
    assert progress.held_bytes(7) == 7
