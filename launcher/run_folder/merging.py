"""Makes one trace of what all workers have recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from dni_async.launcher.report.results import RunResult
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.trace import phase_seconds, read_spans, write_trace

__all__ = ["merge_spans"]


def merge_spans(folder: RunFolder, note: Callable[[str], None], ours: RunResult) -> None:
    """Make trace.json of what the workers left, however the run has ended.

    note: is told what came of it.
    """
    recorded = {spans.stage: spans for spans in read_spans(folder.profile, note)}
    if not recorded:
        folder.drop_spans()
        return
    try:
        write_trace(folder.trace, list(recorded.values()))
    except OSError as error:
        note(f"trace: cannot be written: {error.strerror or error}")
        return
    ours.workers = [
        dataclasses.replace(worker, phases=phase_seconds(recorded[worker.stage]))
        if worker.stage in recorded
        else worker
        for worker in ours.workers
    ]
    for stage, spans in recorded.items():
        if spans.dropped:
            note(
                f"stage {stage}: the first {len(spans.spans):,} spans are in the trace, "
                f"{spans.dropped:,} more are not"
            )
    folder.drop_spans()
    note(f"trace: {folder.trace} (for Perfetto or chrome://tracing)")
