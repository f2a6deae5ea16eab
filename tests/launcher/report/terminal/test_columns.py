"""Tables that fit a terminal of any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dni_async.launcher.report.terminal.columns import Column, FittedTable

COLUMNS = [Column("run", is_text=True), Column("least", 9), Column("less", 5), Column("figure")]
ROWS = [["a run of a long name", "1", "22", "333,333"], ["b", "4", "55", "6"]]


def printed(table: FittedTable, width: int) -> list[str]:
    """Line by line, without the blanks behind."""
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=True, color_system=None).print(table)
    return [line.rstrip() for line in file.getvalue().splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("width", "kept"), [(80, [0, 1, 2, 3]), (37, [0, 2, 3]), (24, [0, 3]), (22, [])]
)
def test_the_least_telling_columns_go_first(width: int, kept: list[int]) -> None:
    table = FittedTable("title", COLUMNS, ROWS)
    assert table.kept(width) == kept
    lines = printed(table, width)
    assert max(map(len, lines)) <= width
    assert "333,333" in " ".join(lines).split()
    gone = [each.name for place, each in enumerate(COLUMNS) if place not in kept]
    is_said = bool(kept and gone)
    assert ("no room for:  " + "  ".join(gone) in "  ".join(lines)) is is_said


def test_text_breaks_and_figures_do_not() -> None:
    lines = printed(FittedTable("", COLUMNS, ROWS), 24)
    assert lines[0].split() == ["run", "figure"]
    assert [line.split()[-1] for line in lines[2:5]] == ["333,333", "name", "6"]


def test_without_room_for_a_table_each_row_is_its_facts() -> None:
    lines = printed(FittedTable("title", COLUMNS[3:] * 2, [["22", "333,333"]]), 14)
    assert lines == ["title", "figure 22", "figure 333,333"]


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("s to target", ["s to target"]),
        ("baseline-all-threads", ["baseline-all", "-threads"]),
        ("top-5 of the rare classes", ["top-5 of the", "rare classes"]),
        ("a " + "x" * 13, ["a", "x" * 12, "x"]),
    ],
)
def test_a_long_heading_takes_several_lines(name: str, heading: list[str]) -> None:
    assert Column(name).heading == heading
