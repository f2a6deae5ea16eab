"""The stages of a run that goes on as a table; where there are too many, those that tell most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from dni_async.config.metric_names import LOSS
from dni_async.launcher.dashboard.header import works
from dni_async.launcher.dashboard.ledger import StageNow
from dni_async.launcher.report.rows import figure_text
from dni_async.launcher.report.terminal.columns import GAP, Column, FittedTable

__all__ = ["shown_stages", "stage_cells", "stage_lines"]

_RANKS: Final = {
    "stage": 0, "updates": 1, "updates/s": 3, "busy": 0, "sending": 5, "stale": 4, "cosine": 2,
    "memory": 7, "loss": 6,
}  # fmt: skip


def shown_stages(stages: Mapping[int, StageNow], room: int) -> list[int]:
    """Those for which there is room, in order: the source, the head, and who works most.

    Where not all are shown, one line of the room is for saying so.
    """
    if len(stages) <= room:
        return sorted(stages)
    ends = {min(stages), max(stages)}
    telling = sorted(stages, key=lambda k: (k not in ends, -works(stages[k]), k))
    return sorted(telling[: max(0, room - 1)])


def stage_lines(
    stages: Mapping[int, StageNow],
    shown: Sequence[int],
    cosines: Mapping[int, float],
    width: int,
) -> list[str]:
    """A heading and a line for each of shown, no wider than that; without those, nothing.

    cosines: of the last epoch that compared gradients, by the stage below the boundary. Drawn many
    times a second, so by hand: a table of rich takes ten times as long.
    """
    rows = [_row(stage, stages[stage], cosines.get(stage)) for stage in shown]
    table = FittedTable("", [Column(name, rank) for name, rank in _RANKS.items()], rows)
    kept = table.kept(width)
    lines = [list(_RANKS), *rows] if rows else []
    return [
        (" " * GAP).join(line[place].rjust(table.width_of(place)) for place in kept)
        for line in lines
    ]


def stage_cells(stage: int, now: StageNow, *, missing: str = "") -> list[str]:
    """Stage, updates, updates per second, shares busy and sending, largest staleness, memory.

    missing: what stands for a pace that nobody has told yet.
    """
    told = now.last.counters
    pace = now.recent[-1][1] if now.recent else None
    return [
        str(stage),
        f"{told.work.updates:,}",
        missing if pace is None else f"{pace.updates:,.0f}",
        missing if pace is None else f"{min(1.0, pace.busy):.0%}",
        missing if pace is None else f"{min(1.0, pace.sending):.0%}",
        str(told.staleness.max_staleness),
        f"{told.memory.rss_bytes / 2**20:,.0f} MB",
    ]


def _row(stage: int, now: StageNow, cosine: float | None) -> list[str]:
    *cells, memory = stage_cells(stage, now)
    loss = now.last.counters.work.loss
    return [
        *cells,
        "" if cosine is None else f"{cosine:.2f}",
        memory,
        "" if math.isnan(loss) else figure_text(LOSS, loss),
    ]
