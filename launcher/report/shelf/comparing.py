"""Several runs side by side: what came of each, how they differ, and what may be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from dni_async.launcher.report.comparison import seconds_to
from dni_async.launcher.report.rows import ours_of
from dni_async.launcher.report.shelf.differing import differences, machine_of
from dni_async.launcher.report.shelf.rows import Row, row_of_report

__all__ = ["compare"]

Named = tuple[str, Mapping[str, Any]]
_DATA: Final = ("name", "num_train", "num_test", "input_shape", "num_classes", "target_shape")


def compare(runs: Sequence[Named]) -> dict[str, Any]:
    """Reports by name, side by side.

    runs: a row for each, as in the table of runs, with the training seconds until its chosen metric
    was as good as level, the best that the least good run reached; both None where that does not
    compare. settings, machine: what is not the same in all. notes: in sentences, what may be
    compared and what may not.
    """
    rows = [row_of_report(name, report) for name, report in runs]
    data = differences([{key: report["data"].get(key) for key in _DATA} for _, report in runs])
    machine = differences([machine_of(report["environment"]) for _, report in runs])
    level = None if data else _level(rows)
    for row, (_, report) in zip(rows, runs, strict=True):
        ours = ours_of(report)
        row["seconds_to_level"] = None if ours is None or level is None else seconds_to(ours, level)
    return {
        "runs": rows,
        "level": level,
        "settings": differences([report["config"] for _, report in runs]),
        "machine": machine,
        "notes": list(_notes(rows, data, machine)),
    }


def _level(rows: Sequence[Row]) -> float | None:
    """The best figure that every one of them reached; None where they are judged by several."""
    bests: list[float] = [row["best"] for row in rows if row.get("best") is not None]
    goals = {(row.get("metric"), row.get("mode")) for row in rows}
    if len(goals) > 1 or len(bests) < len(rows):
        return None
    return min(bests) if rows[0]["mode"] == "max" else max(bests)


def _notes(rows: Sequence[Row], data: Sequence[Row], machine: Sequence[Row]) -> Iterator[str]:
    """What may be compared; each sentence says why not, where something may not."""
    if data:
        yield f"the data differ in {_listed(data)}: neither speeds nor figures compare"
    metrics = list(dict.fromkeys(row["metric"] for row in rows if "metric" in row))
    if len(metrics) > 1:
        yield f"they are judged by {' and by '.join(metrics)}: figures do not compare"
    if machine:
        yield f"the machines differ in {_listed(machine)}: speeds compare these too"
    if busy := _those(rows, lambda row: bool(row.get("is_busy"))):
        yield f"other work wanted the cores beside {busy}: speeds do not compare"
    if unended := _those(rows, lambda row: row["status"] != "finished"):
        yield f"not finished: {unended}; what is told of it is of the epochs that it has trained"
    if not (data or machine or busy or len(metrics) > 1):
        yield "the same data and metric, and no other work beside them: speeds and figures compare"


def _those(rows: Sequence[Row], have: Callable[[Row], bool]) -> str:
    """The names of the rows that have a property."""
    return ", ".join(row["name"] for row in rows if have(row))


def _listed(differing: Sequence[Row]) -> str:
    return ", ".join(each["name"] for each in differing)
