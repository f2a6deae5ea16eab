"""Whether what a message says can be true of this run: within its plan, finite, and short. No I/O.

Each check gives half a sentence that says what cannot be, or nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, Final

from dni_async.launcher.decisions.terms import RunTerms
from dni_async.wire.counters import FIGURES, Counters, Figure
from dni_async.wire.messages import (
    BoundaryEpoch,
    EndReached,
    EpochLoss,
    EpochTrained,
    Evaluated,
    Hello,
    InboxMoved,
    Join,
    Paused,
    Progress,
    Saved,
    WorkerMessage,
)
from dni_async.wire.points import Point

__all__ = ["MAX_TEXT", "why_impossible"]

MAX_TEXT: Final = 255  # of a name of a host, as the system has it
MAX_ADDRESS: Final = 512
MAX_REASON: Final = 4096
MAX_PROCESSES: Final = 2**22  # what Linux allows of processes, and so of pids, threads and cores
MAX_COUNT: Final = 2**53  # what every reader of JSON takes for a whole number
_ADDRESS: Final = re.compile(r"(ipc|tcp)://[!-~]*")
_SHA256: Final = re.compile(r"[0-9a-f]{64}|")
_TEXTS: Final = tuple(each for each in FIGURES if each.shown.unit == "text")
# All the others, of the counters, but those that may be NaN: 30, twice a second and worker.
_NUMBERS: Final = attrgetter(
    *(f"{each.group}.{each.key}" for each in FIGURES if each.shown.unit not in ("text", "loss"))
)
_LOSSES: Final = tuple(each for each in FIGURES if each.shown.unit == "loss")


def why_impossible(terms: RunTerms, message: WorkerMessage) -> str:
    """What of the message cannot be; empty where all of it can."""
    check = _CHECKS.get(type(message))
    return "" if check is None else check(terms, message)


def _join(terms: RunTerms, message: Join) -> str:
    if not any(map(terms.is_remote, range(terms.num_stages))):
        return "all workers of this run are the launcher's own"
    counts = (message.pid, message.num_cores, message.num_threads)
    if max(counts) > MAX_PROCESSES:
        return f"{max(counts)} is no number of processes"
    return _long(message.host, message.machine, message.device, message.token)


def _hello(terms: RunTerms, message: Hello) -> str:
    if message.pid > MAX_PROCESSES:
        return f"{message.pid} is no process"
    return _long(message.host, message.place, message.key) or _address(message)


def _inbox(terms: RunTerms, message: InboxMoved) -> str:
    return _long(message.key) or _address(message)


def _address(message: Hello | InboxMoved) -> str:
    needs = [message.endpoint] if message.stage else []
    for address in (*needs, *filter(None, (message.endpoint, message.near))):
        if len(address) > MAX_ADDRESS or not _ADDRESS.fullmatch(address):
            return "it listens on no address"
    return ""


def _progress(terms: RunTerms, message: Progress) -> str:
    counters, work = message.counters, message.counters.work
    after_last = terms.epochs + 1  # where what is resumed behind the last test would go on
    if work.epoch > after_last or not _is_within(terms, work.next_batch_id):
        return f"epoch {work.epoch} and batch {work.next_batch_id} are beyond the run"
    numbers = _NUMBERS(counters)
    is_usual = all(map(math.isfinite, numbers)) and max(numbers) <= MAX_COUNT
    wrong = [each for each in (_LOSSES if is_usual else FIGURES) if not _may_be(each, counters)]
    if wrong:
        return f"its {wrong[0].name} is {wrong[0].raw(counters)}"
    for figure in _TEXTS:
        if len(figure.raw(counters)) > MAX_TEXT:
            return f"its {figure.name} is too long"
    return _points(terms, message.points)


def _may_be(figure: Figure, counters: Counters) -> bool:
    """Whether a number can be what it is; a text is none."""
    unit = figure.shown.unit
    return unit == "text" or _is_number(figure.raw(counters), may_lack=unit == "loss")


def _points(terms: RunTerms, points: Iterable[Point]) -> str:
    last = 0
    for point in points:
        if not last < point.updates <= terms.num_updates:
            return f"a point of its curve is at update {point.updates} of {terms.num_updates}"
        last = point.updates
        floats = (getattr(point, name) for name in Point.__dataclass_fields__)
        if not all(_is_number(value, may_lack=True) for value in floats):
            return f"a point of its curve, at update {last}, is not finite"
        if not point.span_s >= 0:
            return f"a point of its curve, at update {last}, took {point.span_s} s"
    return ""


def _trained(terms: RunTerms, message: EpochTrained) -> str:
    if not (math.isfinite(message.seconds) and message.seconds >= 0):
        return f"an epoch took {message.seconds} s"
    return _epoch(terms, message.epoch)


def _reached(terms: RunTerms, message: EndReached) -> str:
    is_none = message.epoch == 0  # the run was asked to end before its first test
    return "" if is_none else _epoch(terms, message.epoch)


def _loss(terms: RunTerms, message: EpochLoss) -> str:
    told = _figures(message.num_samples, message.loss) or _tested(message)
    return _epoch(terms, message.epoch) or told


def _evaluated(terms: RunTerms, message: Evaluated) -> str:
    if terms.num_test is not None and message.num_samples > terms.num_test:
        return f"{message.num_samples} samples were tested of {terms.num_test}"
    told = _figures(message.num_samples, message.loss, *message.metrics.values())
    return _epoch(terms, message.epoch) or told


def _boundary(terms: RunTerms, message: BoundaryEpoch) -> str:
    means = (message.cosine, message.relative_error, message.norm_ratio, message.corrected)
    most = max(message.staleness_median, message.staleness_max, message.num_gradients)
    return _epoch(terms, message.epoch) or _figures(most, *means) or _tested(message)


def _tested(message: EpochLoss | BoundaryEpoch) -> str:
    is_time = math.isfinite(message.tested_s) and message.tested_s >= 0
    return "" if is_time else f"a test took {message.tested_s} s"


def _saved(terms: RunTerms, message: Saved) -> str:
    if not terms.saves:
        return "no checkpoints were asked for"
    if len(message.reason) > MAX_REASON or not _SHA256.fullmatch(message.sha256):
        return "its text is not what it is for"
    if not message.first_layer < message.end_layer <= MAX_COUNT:
        return "it holds no layers"
    if terms.num_batches is None:
        return ""
    train, test = terms.num_batches
    begins = (message.epoch - 1) * (train + test) + message.index
    is_after_last = message.epoch == terms.epochs + 1 and message.index == 0
    is_there = 1 <= message.epoch <= terms.epochs and message.index < train
    if not (is_there or is_after_last) or message.batch_id != begins:
        place = f"batch {message.batch_id}, epoch {message.epoch}, index {message.index}"
        return f"{place} is no place of a checkpoint"
    return ""


def _paused(terms: RunTerms, message: Paused) -> str:
    if message.epoch > terms.epochs or not _is_within(terms, message.batch_id):
        return f"epoch {message.epoch} and batch {message.batch_id} are beyond the run"
    return ""


def _epoch(terms: RunTerms, epoch: int) -> str:
    is_there = 1 <= epoch <= terms.epochs
    return "" if is_there else f"epoch {epoch} is none of {terms.epochs}"


def _figures(count: int, *figures: float) -> str:
    """Of a count, and of what may be NaN where there is none."""
    if count > MAX_COUNT:
        return f"{count} are too many"
    wrong = [each for each in figures if not _is_number(each, may_lack=True)]
    return f"a figure is {wrong[0]}" if wrong else ""


def _is_number(value: float, *, may_lack: bool) -> bool:
    if isinstance(value, int):
        return value <= MAX_COUNT
    return math.isfinite(value) or (may_lack and math.isnan(value))


def _is_within(terms: RunTerms, next_batch_id: int) -> bool:
    return terms.num_batches is None or next_batch_id <= terms.epochs * sum(terms.num_batches)


def _long(*texts: str) -> str:
    return "a name is too long" if any(len(text) > MAX_TEXT for text in texts) else ""


_CHECKS: Final[dict[type, Callable[[RunTerms, Any], str]]] = {
    Join: _join,
    Hello: _hello,
    InboxMoved: _inbox,
    Progress: _progress,
    EpochTrained: _trained,
    EndReached: _reached,
    EpochLoss: _loss,
    Evaluated: _evaluated,
    BoundaryEpoch: _boundary,
    Saved: _saved,
    Paused: _paused,
}
