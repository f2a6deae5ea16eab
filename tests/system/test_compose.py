"""docker/compose.yaml for real: five containers train one network, and some of them die."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dni_async.transport.keys import write_keys
from dni_async.transport.sockets import make_key_pair
from tests.marked_process import MarkedProcess

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "dni-async:test"
BUILD_S = 1800.0
USER = 1000

# Ends the worker as the kernel does when memory is short; its container's shell sees that.
KILL_WORKER = """
import os, pathlib, signal
for entry in pathlib.Path("/proc").glob("[0-9]*"):
    words = (entry / "cmdline").read_bytes().split(b"\\0")
    if any(word.endswith(b"dni-worker") for word in words[:2]):
        os.kill(int(entry.name), signal.SIGKILL)
"""


def succeeds(*command: str) -> bool:
    """Whether there is such a command, and it ends well."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def compose() -> list[str] | None:
    """The command for compose here, of whatever version."""
    ways = (["docker", "compose"], ["docker-compose"])
    return next((way for way in ways if succeeds(*way, "version")), None)


HAS_ENGINE = succeeds("docker", "info")
COMPOSE = compose() if HAS_ENGINE else None
pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.timeout(BUILD_S + 600),
    pytest.mark.skipif(not HAS_ENGINE, reason="no docker engine answers"),
    pytest.mark.skipif(COMPOSE is None, reason="there is no docker compose"),
]


@pytest.fixture(scope="module")
def image() -> str:
    """Built from the sources as they are; TORCH_INDEX says where torch comes from."""
    arguments = []
    if "TORCH_INDEX" in os.environ:
        arguments = ["--build-arg", f"TORCH_INDEX={os.environ['TORCH_INDEX']}"]
    subprocess.run(
        ["docker", "build", "-q", "-f", "docker/Dockerfile", *arguments, "-t", IMAGE, "."],
        cwd=ROOT,
        check=True,
        timeout=BUILD_S,
    )
    return IMAGE


class Project:
    """The containers of one compose project, whatever becomes of them."""

    def __init__(self, folder: Path, image: str, settings: dict[str, str]) -> None:
        assert COMPOSE is not None
        self._folder = folder
        self.name = f"dni-test-{uuid.uuid4().hex[:12]}"
        keys = folder / "keys"
        write_keys(keys, coordinator=make_key_pair(), worker=make_key_pair())
        user = f"{os.getuid()}:{os.getgid()}"
        if os.getuid() == 0:
            for path in (keys, *keys.rglob("*")):
                os.chown(path, USER, USER)
            user = f"{USER}:{USER}"
        extra = folder / "settings.json"  # JSON is YAML
        extra.write_text(json.dumps({"services": {"coordinator": {"environment": settings}}}))
        self._environment = {"DNI_IMAGE": image, "DNI_USER": user, "DNI_KEYS": str(keys)}
        self._compose = [
            *COMPOSE, "-p", self.name, "-f", str(ROOT / "docker" / "compose.yaml"), "-f", str(extra)
        ]  # fmt: skip
        self._followed: list[MarkedProcess] = []

    def compose(self, *arguments: str) -> str:
        """Run compose to its end; what it printed."""
        done = subprocess.run(
            [*self._compose, *arguments],
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, f"{arguments}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def follow(self, command: Sequence[str]) -> MarkedProcess:
        """Start command beside the test."""
        process = MarkedProcess(
            command,
            cwd=self._folder,
            environment=self._environment,
        )
        self._followed.append(process)
        return process

    def up(self, *arguments: str) -> MarkedProcess:
        """Start compose up and go on."""
        return self.follow([*self._compose, "up", *arguments])

    def container(self, service: str) -> str:
        """The id of a service's own container, dead or alive."""
        labels = {"project": self.name, "service": service, "oneoff": "False"}
        filters = [f"--filter=label=com.docker.compose.{key}={labels[key]}" for key in labels]
        return docker("ps", "-a", "-q", *filters).strip()

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's container."""
        found: list[dict[str, Any]] = json.loads(docker("inspect", self.container(service)))
        return found[0]

    def report(self, image: str) -> dict[str, Any]:
        """The report of the one run in the volume, beside which there must be a model."""
        volume = f"{self.name}_runs:/work/runs:ro"
        script = "ls runs/*/model.safetensors >&2 && cat runs/*/report.json"
        told = docker("run", "--rm", "--network=none", "-v", volume, image, "sh", "-c", script)
        report: dict[str, Any] = json.loads(told)
        return report

    def drop(self) -> None:
        """Leave no container, network or volume."""
        for process in self._followed:
            process.abort()
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "2")


def docker(*arguments: str) -> str:
    """Run docker to its end; what it printed."""
    return subprocess.run(
        ["docker", *arguments], stdout=subprocess.PIPE, text=True, check=True, timeout=120
    ).stdout


@pytest.fixture
def project(tmp_path: Path, image: str, request: pytest.FixtureRequest) -> Iterator[Project]:
    """A project whose coordinator has the settings that the test asks for."""
    project = Project(tmp_path, image, request.param)
    yield project
    project.drop()


@pytest.mark.parametrize("project", [{"DNI_EPOCHS": "20"}], indirect=True)
def test_five_containers_train_to_the_end_and_the_exit_code_is_the_coordinators(
    project: Project, image: str
) -> None:
    run = project.up("--abort-on-container-exit")
    assert run.end(300) == 0, run.output
    assert "4 workers started" in run.output
    assert "workers of dni" in run.output
    report = project.report(image)
    assert report["status"] == "finished"
    assert report["runs"][0]["test_metrics"]["accuracy"] > 0.9
    assert project.inspect("coordinator")["State"]["ExitCode"] == 0


@pytest.mark.parametrize(
    "project", [{"DNI_EPOCHS": "300", "DNI_CHECKPOINT_EVERY": "2s"}], indirect=True
)
def test_up_ends_well_although_a_container_dies_and_comes_back(
    project: Project, image: str
) -> None:
    """Without --abort-on-container-exit, which ends everything at the first death."""
    run = project.up()
    run.wait_for("epoch +20 ", 180)
    docker("exec", project.container("stage-1"), "python", "-c", KILL_WORKER)
    run.wait_for("stage 1 trains again", 120)
    assert run.end(600) == 0, run.output
    assert "workers of dni" in run.output
    report = project.report(image)
    assert report["status"] == "finished"
    assert [restart["stage"] for restart in report["runs"][0]["restarts"]] == [1]
    assert report["runs"][0]["test_metrics"]["accuracy"] > 0.9
    assert project.inspect("stage-1")["RestartCount"] == 1


@pytest.mark.parametrize(
    "project", [{"DNI_EPOCHS": "400", "DNI_CHECKPOINT_EVERY": "2s"}], indirect=True
)
def test_containers_that_die_are_replaced_and_the_others_go_on(
    project: Project, image: str
) -> None:
    project.compose("up", "-d")
    coordinator = project.container("coordinator")
    log = project.follow(["docker", "logs", "-f", coordinator])
    log.wait_for("epoch +20 ", 180)
    docker("exec", project.container("stage-1"), "python", "-c", KILL_WORKER)
    log.wait_for("stage 1 trains again", 120)  # its own container has come back
    project.compose("run", "-d", "--no-deps", "stage-0", "dni-stage")  # a spare, of any stage
    docker("kill", project.container("stage-2"))
    log.wait_for("stage 2 trains again", 120)  # in the spare
    assert log.end(600) == 0
    assert docker("wait", coordinator).strip() == "0", log.output
    row = project.report(image)["runs"][0]
    assert [restart["stage"] for restart in row["restarts"]] == [1, 2]
    epochs = [epoch["epoch"] for epoch in row["epochs"]]
    assert epochs[-1] == 400
    assert len(epochs) >= 398  # what the dead had not told of an epoch is not in the report
    assert row["test_metrics"]["accuracy"] > 0.9
    for stage, restarts in ((0, 0), (1, 1), (3, 0)):
        assert project.inspect(f"stage-{stage}")["RestartCount"] == restarts
    print("recovered in", [restart["seconds"] for restart in row["restarts"]], "s")


@pytest.mark.parametrize("project", [{}], indirect=True)
def test_every_compose_file_can_be_read(project: Project) -> None:
    for name in ("compose.metrics.yaml", "compose.gpu.yaml"):
        told = project.compose("-f", str(ROOT / "docker" / name), "config")
        assert "stage-3" in told
