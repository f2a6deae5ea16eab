"""Reads the files of Weights & Biases that wait for a network: a log as LevelDB has it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK = 32 * 1024
HEADER = 7  # of the file, and of every piece of a record: checksum, length, type
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass(slots=True)
class OfflineRun:
    """One file: rows as they were logged, and what was said of the run."""

    run: Any = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None


def records(path: Path) -> Iterator[bytes]:
    """The records of a file in their order."""
    data, at, record = path.read_bytes(), HEADER, b""
    assert data[:4] == b":W&B"
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:  # the rest of a block that no piece fits into
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + HEADER])
        record += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (FULL, LAST):
            yield record
            record = b""


def offline_runs(folder: Path) -> list[OfflineRun]:
    """Those below folder, in the order in which they were begun."""
    from wandb.proto import wandb_internal_pb2

    found = []
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        read = OfflineRun()
        for each in records(path):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(each)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                read.run = record.run
                read.config |= _values(record.run.config.update)
            elif kind == "history":
                read.rows.append(_values(record.history.item))
            elif kind == "summary":
                read.summary |= _values(record.summary.update)
            elif kind == "exit":
                read.exit_code = record.exit.exit_code
        found.append(read)
    return found


def _values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
