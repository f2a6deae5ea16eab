"""What a worker did and when: spans of time, kept in memory up to a bound, written at its end.

Beside them stand counts that change: how many activations are in flight, how stale a gradient was.

Times are nanoseconds of the monotonic clock, which all processes of one host share, so that the
spans of several workers can be laid side by side. On a GPU a span is the time that the worker's
thread was held, as kernels run on behind it.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal, Protocol

from dni_async.files.writing import whole

__all__ = ["MAX_SPANS", "NO_BATCH", "Count", "CountKind", "KeptSpans", "Span", "SpanKind", "Spans"]

MAX_SPANS = 200_000  # about 40 MB
NO_BATCH = -1

SpanKind = Literal[
    "wait",
    "receive",
    "load",
    "synthesize input",
    "forward",
    "evaluate",
    "send",
    "loss",
    "synthesize",
    "backward",
    "optimize",
    "carry back",
    "send gradient",
    "send credit",
    "receive gradient",
    "learn",
    "learn input",
    "save",
]


CountKind = Literal["window", "staleness"]
"""Activations in flight to the stage above; updates between a batch's forward and its gradient."""

Count = tuple[CountKind, int, int]
"""Its kind, what it came to, and when, in nanoseconds."""

Span = tuple[SpanKind, int, int, int, int]
"""Its kind, batch_id, version, and when it began and ended, in nanoseconds."""


class _Versioned(Protocol):
    @property
    def version(self) -> int:
        """The count of updates made."""


class Spans:
    """Keeps nothing: what a worker holds when nobody asked for a profile."""

    def begin(self) -> None:
        """A span begins here."""

    def lap(self, kind: SpanKind, batch_id: int = NO_BATCH) -> None:
        """The span ends here and was of this kind; the next one begins."""

    def count(self, kind: CountKind, value: int) -> None:
        """A count has come to this value."""

    def tell(self) -> None:
        """Let others see what has been recorded so far."""

    def write(self, path: Path, *, stage: int, device: str) -> None:
        """Leave the spans in a file, whole or not at all."""


class KeptSpans(Spans):
    """Keeps the first max_spans spans, in kept, and counts the rest; of counts, those up to then.

    updates tells the version, which every span is stamped with as it ends. told: the file that tell
    adds to, a span on a line; None: nobody looks on.
    """

    def __init__(
        self, updates: _Versioned, *, max_spans: int = MAX_SPANS, told: Path | None = None
    ) -> None:
        self.dropped = 0
        self._told, self._num_told = told, 0
        self._updates = updates
        self._room = max_spans
        self._began_ns = time.perf_counter_ns()
        self.kept: list[Span] = []
        self.counts: list[Count] = []  # fewer than spans, as each batch has more of these

    def begin(self) -> None:
        """A span begins here."""
        self._began_ns = time.perf_counter_ns()

    def lap(self, kind: SpanKind, batch_id: int = NO_BATCH) -> None:
        """The span ends here and was of this kind; the next one begins."""
        now_ns = time.perf_counter_ns()
        if self._room > 0:
            self._room -= 1
            self.kept.append((kind, batch_id, self._updates.version, self._began_ns, now_ns))
        else:
            self.dropped += 1
        self._began_ns = now_ns

    def count(self, kind: CountKind, value: int) -> None:
        """A count has come to this value."""
        if self._room > 0:
            self.counts.append((kind, value, time.perf_counter_ns()))

    def tell(self) -> None:
        """Let others see what has been recorded so far."""
        if self._told is None or self._num_told == len(self.kept):
            return
        lines = [json.dumps(span, separators=(",", ":")) for span in self.kept[self._num_told :]]
        self._num_told = len(self.kept)
        with suppress(OSError), self._told.open("a", encoding="utf-8") as file:
            file.write("\n".join([*lines, ""]))  # who looks on sees a little less without it

    def write(self, path: Path, *, stage: int, device: str) -> None:
        """Leave the spans in a file, whole or not at all."""
        head = {"stage": stage, "pid": os.getpid(), "device": device, "dropped": self.dropped}
        fields = ["kind", "batch_id", "version", "began_ns", "ended_ns"]
        left = {**head, "fields": fields, "spans": self.kept, "counts": self.counts}
        with whole(path, writer=str(os.getpid())) as part:
            part.write_text(json.dumps(left, separators=(",", ":")), encoding="utf-8")
