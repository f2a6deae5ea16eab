"""What the user is shown of a log."""

from __future__ import annotations

from pathlib import Path

from dni_async.launcher.places.local import MAX_BYTES, last_line, read_from, size_of


def test_what_is_new_since_a_size_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert (size_of(log), read_from(log, 0), last_line(log)) == (0, "", "")
    log.write_text("one\n")
    known = size_of(log)
    log.write_text("one\ntwo\nthree\n\n")
    assert read_from(log, known) == "two\nthree"
    assert last_line(log) == "three"


def test_of_a_long_log_the_end_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\xff" * 100 + b"x" * MAX_BYTES + b"\nthe end")
    assert read_from(log, 0).endswith("x\nthe end")
    assert len(read_from(log, 0)) == MAX_BYTES
    assert last_line(log) == "the end"
