"""Sentences on a terminal: their colours, and where they break."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dni_async.launcher.report.terminal.sentences import coloured, packed, say


def printed(text: str, *, width: int = 40, is_terminal: bool = True, colours: str = "") -> str:
    """What say prints."""
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=is_terminal, color_system=None)
    if colours:
        console = Console(file=file, width=width, force_terminal=True, color_system="standard")
    say(console, text)
    return file.getvalue()


@pytest.mark.parametrize(
    ("word", "style"),
    [
        ("faster", "32"),
        ("sooner", "32"),
        ("SLOWER", "1;31"),
        ("LATER", "1;31"),
        ("not comparable", "33"),
        ("not reached", "33"),
    ],
)
def test_words_that_judge_have_a_colour_and_figures_have_none(word: str, style: str) -> None:
    said = printed(f"1.5x of 20 ({word})", colours="standard")
    assert said == f"1.5x of 20 (\x1b[{style}m{word}\x1b[0m)\n"


def test_a_line_breaks_between_words_and_leaves_a_path_whole() -> None:
    path = "/a/very/long/path/" + "x" * 40
    said = printed(f"one two three\nrun directory of the first run: {path} and more")
    assert said.splitlines() == [
        "one two three",
        "run directory of the first run:",
        f"  {path}",
        "  and more",
    ]


def test_a_command_can_be_copied_however_long_it_is() -> None:
    command = "  DNI_INVITATION=dni1_0123456789abcdef dni-worker --join tcp://127.0.0.1:45579"
    assert printed(f"start\n{command}") == f"start\n{command}\n"
    said = printed("  dni-report runs/one     # where the time went")
    assert said == "  dni-report runs/one\n    # where the time went\n"


def test_where_there_is_no_terminal_a_line_stays_one() -> None:
    text = "word " * 40 + "end"
    assert printed(text, is_terminal=False) == f"{text}\n"


def test_what_others_wrote_commands_nothing() -> None:
    assert coloured("\x1b[31m[red]").plain == "\\x1b[31m[red]"


@pytest.mark.parametrize(
    ("width", "lines"),
    [(80, ["a 1  b 22  c 333"]), (10, ["a 1  b 22", "c 333"]), (2, ["a 1", "b 22", "c 333"])],
)
def test_facts_share_lines_and_are_never_broken(width: int, lines: list[str]) -> None:
    assert list(packed(["a 1", "b 22", "c 333"], width)) == lines
    assert list(packed([], width)) == []
