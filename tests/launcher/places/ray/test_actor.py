"""What a Ray actor does with its process; without Ray, which only decides where that is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from dni_async.launcher.places.ray.actor import StageActor
from dni_async.transport.rings import invitation_of, make_rings
from tests.marked_process import MarkedProcess

ROOT = Path(__file__).resolve().parents[4]
HOSTS_STAGE_1 = """
from dni_async.launcher.places.ray.actor import StageActor
print("code", StageActor(1).run({arguments}, {{"DNI_INVITATION": "{invitation}"}}))
"""
INVITATION = invitation_of(make_rings()[1])


@pytest.fixture
def actor(tmp_path: Path) -> Iterator[Callable[..., MarkedProcess]]:
    """Start a process that hosts stage 1 as an actor does; it is gone after the test."""
    started: list[MarkedProcess] = []

    def start(*arguments: str) -> MarkedProcess:
        program = HOSTS_STAGE_1.format(arguments=list(arguments), invitation=INVITATION)
        process = MarkedProcess(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            environment={"PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        return process

    yield start
    for each in started:
        each.abort()


def test_the_worker_hosts_the_stage_and_its_exit_code_is_told(
    actor: Callable[..., MarkedProcess],
) -> None:
    process = actor("--join=tcp://127.0.0.1:9", "--join-timeout-s=0.2", "--device=cpu")
    assert process.end() == 0
    assert "joining tcp://127.0.0.1:9" in process.output
    assert process.output.splitlines()[-1] == "code 75"


def test_the_worker_dies_with_the_actor(actor: Callable[..., MarkedProcess]) -> None:
    process = actor("--join=tcp://127.0.0.1:9", "--device=cpu")
    process.wait_for("joining tcp://127.0.0.1:9")
    (worker,) = psutil.Process(process.process.pid).children()
    assert worker in process.alive()
    process.process.kill()
    assert process.left_after(5) == []


def test_a_node_without_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"dni-async is not installed on .* for "):
        StageActor(0).run([], {})


def test_an_actor_is_named_for_its_stage() -> None:
    assert repr(StageActor(3)) == "stage 3"
