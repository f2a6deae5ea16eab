"""dni_async.train in the cells of a real Jupyter kernel, whose event loop runs all the while."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

nbclient = pytest.importorskip("nbclient", reason="no nbclient: pip install -e '.[dev]'")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

# The client is one of zmq's asyncio, which leaves sockets and loops to the collector.
pytestmark = [pytest.mark.system, pytest.mark.filterwarnings("default")]
ROOT = Path(__file__).resolve().parents[2]

MODEL = """
import torch, dni_async
from torch import nn

class Twice(nn.Module):
    def forward(self, x):
        return 2 * x

model = nn.Sequential(Twice(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
"""
TRAIN = """
result = dni_async.train(model, epochs=5, lr=0.01)
assert type(result.model[0]) is Twice
result
"""
INTERRUPTED = """
try:
    dni_async.train(model, epochs=1_000_000)
except KeyboardInterrupt:
    print("INTERRUPTED")
"""


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A kernel whose temporary folder is tmp_path; gone after the test."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=":")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    client = nbclient.NotebookClient(nbformat.v4.new_notebook(), timeout=60)
    with client.setup_kernel():
        yield client


def html_of(cell: Any) -> list[str]:
    """What a cell shows as HTML."""
    shown = [output.get("data", {}) for output in cell.outputs]
    return [data["text/html"] for data in shown if "text/html" in data]


def text_of(cell: Any) -> str:
    """All that a cell printed or showed."""
    parts = [output.get("text") or output.get("data", {}) for output in cell.outputs]
    return "".join(part if isinstance(part, str) else part["text/plain"] for part in parts)


def run_cell(client: Any, source: str) -> str:
    """Run one cell; what it printed. Raises nbclient's error if it failed."""
    cell = nbformat.v4.new_code_cell(source)
    client.nb.cells.append(cell)
    return text_of(client.execute_cell(cell, len(client.nb.cells) - 1))


def test_cells_train_and_can_be_interrupted(client: Any, tmp_path: Path) -> None:
    run_cell(client, MODEL)
    said = run_cell(client, TRAIN)
    assert "epoch   5" in said
    assert "TrainingResult(train_loss=" in said
    shown, value = client.nb.cells[-1].outputs  # one table, which has ended as the result
    assert "what was said" in shown["data"]["text/html"]
    assert "text/html" not in value["data"]
    run_cell(client, "result")
    (page,) = html_of(client.nb.cells[-1])
    assert "test accuracy" in page
    assert page.count("<svg") == 2

    kernel = psutil.Process(client.km.provisioner.pid)
    over = threading.Event()

    def interrupt_once_there_are_workers() -> None:
        while not over.wait(0.05):
            with suppress(psutil.NoSuchProcess):  # a child that has just gone
                names = {child.name() for child in kernel.children(recursive=True)}
                if "dni-stage-0" in names:
                    kernel.send_signal(signal.SIGINT)
                    return

    watcher = threading.Thread(target=interrupt_once_there_are_workers)
    watcher.start()
    try:
        said = run_cell(client, INTERRUPTED)
    finally:
        over.set()
        watcher.join()
    assert said.endswith("INTERRUPTED\n")
    assert kernel.children(recursive=True) == []
    (page,) = html_of(client.nb.cells[-1])
    assert "rule dni: interrupted" in page
    assert "accuracy=" in run_cell(client, TRAIN)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("dni-")] == []
