"""What a report must hold for those who show it: the kind of every value that they read."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dni_async.wire.counters import FIGURES

__all__ = ["fault_in"]

_LEAST: Final = 1e-12  # what is smaller, no run measures, and it may vanish in a quotient

# Nested as the report is: a kind, a table of keys, or a list of things that are all alike. A key
# that ends with "?" may be missing; older reports lack some.
Shape = Any


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    is_one: Callable[[Any], bool]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_whole(value)


def _is_count(value: Any) -> bool:
    return _is_whole(value) and bool(value >= 0)


def _or_none(kind: _Kind) -> _Kind:
    return _Kind(f"{kind.name} or null", lambda value: value is None or kind.is_one(value))


@dataclass(frozen=True, slots=True)
class _Maybe:
    """A shape, or null."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class _Named:
    """A table of any names, with things that are all alike."""

    shape: Shape


_FLAG = _Kind("true or false", lambda value: isinstance(value, bool))
_TEXT = _Kind("text", lambda value: isinstance(value, str))
_COUNT = _Kind("count", _is_count)
_SOME = _Kind("count above 0", lambda value: _is_count(value) and value > 0)
_SCORE = _Kind("number", _is_number)  # a run that diverged has infinite ones
_NUMBER = _Kind("finite number", lambda value: _is_number(value) and math.isfinite(value))
_RATE = _Kind("number above 0", lambda value: _NUMBER.is_one(value) and value > _LEAST)
_AMOUNT = _Kind(
    "number from 0 on", lambda value: _is_number(value) and (value == 0 or _RATE.is_one(value))
)
_SPAN = _Kind(
    "pair of layers",
    lambda value: (
        isinstance(value, list) and len(value) == 2 and all(map(_is_count, value))
    ),
)  # fmt: skip
_AMOUNTS = _Kind(
    "table of numbers",
    lambda value: isinstance(value, dict) and all(map(_AMOUNT.is_one, value.values())),
)
_SCORES = _Kind(
    "table of metrics",
    lambda value: isinstance(value, dict) and all(map(_SCORE.is_one, value.values())),
)
_BY_UNIT: Final = {
    "count": _COUNT, "bytes": _COUNT, "s": _AMOUNT, "part": _NUMBER, "share": _AMOUNT,
}  # fmt: skip

_WORKER: Final = {"stage": _COUNT, "pid": _COUNT, "device": _TEXT, "layers": _SPAN} | {
    figure.shown.report + ("" if figure.shown.column else "?"): (
        _or_none(_BY_UNIT[figure.shown.unit]) if figure.may_lack else _BY_UNIT[figure.shown.unit]
    )
    for figure in FIGURES
    if figure.shown.report
} | {"phases": _AMOUNTS}  # fmt: skip
_EPOCH: Final = {
    "epoch": _COUNT,
    "seconds": _AMOUNT,
    "test_seconds?": _AMOUNT,
    "train_loss": _or_none(_SCORE),
    "test_loss": _or_none(_SCORE),
    "test_metrics": _SCORES,
    "num_samples?": _COUNT,
    "num_tested?": _or_none(_COUNT),
}
_BOUNDARY: Final = {
    "stage": _COUNT,
    "epochs": [
        {
            "epoch": _COUNT,
            "num_gradients": _COUNT,
            "cosine": _SCORE,
            "relative_error": _SCORE,
            "norm_ratio": _SCORE,
            "staleness_median": _COUNT,
            "staleness_max": _COUNT,
            "corrected?": _SCORE,
        }
    ],
}
_LINK: Final = {
    "boundary": _COUNT,
    "carrier": _TEXT,
    "wire_dtype": _TEXT,
    "window": _SOME,
    "up_bytes": _AMOUNT,
    "down_bytes": _AMOUNT,
    "up_bytes_per_second": _AMOUNT,
    "credit_median_seconds": _or_none(_AMOUNT),
    "credit_least_seconds": _or_none(_AMOUNT),
}
_BASELINE: Final = {
    "ratio": _or_none(_AMOUNT),
    "why_not": _or_none(_TEXT),
    "figure": {
        "metric": _TEXT,
        "ours": _or_none(_SCORE),
        "theirs": _or_none(_SCORE),
        "epoch": _COUNT,
    },
    "equal": _Maybe({"level": _SCORE, "ours_s": _RATE, "theirs_s": _RATE, "ratio": _AMOUNT}),
}
_COMPARISON: Final = {
    "is_comparable": _FLAG,
    "why_not": _or_none(_TEXT),
    "verdict": _TEXT,
    "baselines": _Named(_BASELINE),
}
_BEST: Final = {"epoch": _COUNT, "metric": _TEXT, "value": _SCORE, "folder": _TEXT}
_STOP: Final = _Kind(
    "table of a stop",
    lambda value: (
        isinstance(value, dict)
        and _TEXT.is_one(value.get("reason"))
        and _or_none(_SCORE).is_one(value.get("test_loss"))
        and _SCORES.is_one(value.get("test_metrics", {}))
    ),
)
_MOVE: Final = {
    "before": [_COUNT],
    "after": [_COUNT],
    "at_seconds": _NUMBER,
    "before_seconds": _or_none(_AMOUNT),
    "foretold_seconds": _or_none(_AMOUNT),
    "stood_still_seconds": _or_none(_AMOUNT),
    "brought_seconds": _or_none(_AMOUNT),
}
_RUN: Final = {
    "name": _TEXT,
    "kind": _TEXT,
    "rule": _TEXT,
    "num_workers": _COUNT,
    "num_threads": _COUNT,
    "startup_seconds": _NUMBER,
    "train_seconds": _AMOUNT,
    "samples_per_second": _AMOUNT,
    "others_cores?": _or_none(_AMOUNT),
    "waiting?": _or_none(_TEXT),
    "test_loss": _or_none(_SCORE),
    "test_metrics": _SCORES,
    "metric": _TEXT,
    "mode?": _TEXT,
    "best_checkpoint?": _Maybe(_BEST),
    "seconds_to_target": _or_none(_AMOUNT),
    "stopped?": _or_none(_STOP),
    "epochs": [_EPOCH],
    "restarts?": [{"stage": _COUNT, "at_seconds": _NUMBER, "seconds": _or_none(_NUMBER)}],
    "moves?": [_MOVE],
    "boundaries?": [_BOUNDARY],
    "links?": [_LINK],
    "workers": [_WORKER],
}
_CHOICE: Final = {
    "taken": _TEXT,
    "sentence": _TEXT,
    "ran_out": _FLAG,
    "candidates": [
        {
            "name": _TEXT,
            "updates": _COUNT,
            "losses": [_or_none(_SCORE)],
            "ms_per_update": _or_none(_AMOUNT),
            "failed": _or_none(_TEXT),
        }
    ],
}
_REPORT: Final = {
    "status": _TEXT,
    "config": {
        "batch_size": _SOME,
        "target?": _or_none(_NUMBER),
        "targets": _TEXT,
        "transport": _TEXT,
        "window": _or_none(_Kind("count or text", lambda v: isinstance(v, str) or _is_count(v))),
        "update_probability?": _RATE,
        "accumulate?": _SOME,
        "evaluate_every?": _SOME,
        "workers?": [_TEXT],
    },
    "environment": {
        "cores": _SOME,
        "load?": _AMOUNT,
        "processor": _TEXT,
        "devices": [_TEXT],
    },
    "data": {
        "name": _TEXT,
        "num_train": _or_none(_SOME),
        "num_train_batches?": _SOME,
        "num_test": _or_none(_COUNT),
        "num_classes": _COUNT,
        "target_shape?": [_COUNT],
        "input_shape?": [_SOME],
    },
    "runs": [_RUN],
    "rule_choice?": _CHOICE,
    "comparison?": _COMPARISON,
    "speedup": _or_none(
        _Kind(
            "table of numbers",
            lambda value: (
                isinstance(value, dict) and all(map(_or_none(_NUMBER).is_one, value.values()))
            ),
        )
    ),
}


def fault_in(report: Mapping[str, Any]) -> str:
    """What is wrong with report, in a few words that name the place; empty where nothing is."""
    return _fault(report, _REPORT, "")


def _fault(value: Any, shape: Shape, at: str) -> str:
    if isinstance(shape, _Kind):
        return "" if shape.is_one(value) else f"{at} is {reprlib.repr(value)}, no {shape.name}"
    if isinstance(shape, _Maybe):
        return "" if value is None else _fault(value, shape.shape, at)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{at} is {reprlib.repr(value)}, no list"
        faults = (_fault(each, shape[0], f"{at}[{index}]") for index, each in enumerate(value))
        return next(filter(None, faults), "")
    if not isinstance(value, dict):
        return f"{at} is {reprlib.repr(value)}, no table"
    if isinstance(shape, _Named):
        named = ((f"{at}[{reprlib.repr(name)}]", value[name]) for name in value)
        return next(filter(None, (_fault(each, shape.shape, place) for place, each in named)), "")
    return next(filter(None, (_fault_of(value, key, shape[key], at) for key in shape)), "")


def _fault_of(table: Mapping[str, Any], key: str, shape: Shape, at: str) -> str:
    """What is wrong with a key of the table at a place."""
    name = key.removesuffix("?")
    if name not in table:
        return "" if key != name else f"{at or 'it'} lacks {name}"
    return _fault(table[name], shape, f"{at}.{name}" if at else name)
