"""docker/compose.yaml for real: five containers train one network, and some of them die."""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import shutil
import socket
import subprocess
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.marked_process import MarkedProcess

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "dni-async:test"
BUILD_S = 1800.0

# Ends the worker as the kernel does when memory is short; its container's shell sees that.
KILL_WORKER = """
import os, pathlib, signal
for entry in pathlib.Path("/proc").glob("[0-9]*"):
    words = (entry / "cmdline").read_bytes().split(b"\\0")
    if any(word.endswith(b"dni-worker") for word in words[:2]):
        os.kill(int(entry.name), signal.SIGKILL)
"""


def succeeds(*command: str) -> bool:
    """Whether there is such a command, and it ends well and soon: an engine may hang."""
    if shutil.which(command[0]) is None:
        return False
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0
    except subprocess.TimeoutExpired:
        return False


HAS_ENGINE = succeeds("docker", "info")
# Both versions are tried where both are there.
WAYS = [
    way
    for way in (["docker", "compose"], ["docker-compose"])
    if HAS_ENGINE and succeeds(*way, "version")
]
pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.timeout(BUILD_S + 600),
    pytest.mark.skipif(not HAS_ENGINE, reason="no docker engine answers"),
    pytest.mark.skipif(HAS_ENGINE and not WAYS, reason="there is no docker compose"),
]


@pytest.fixture(scope="module")
def image() -> str:
    """Built from the sources as they are; TORCH_INDEX says where torch comes from.

    On the pinned image of Python where it is there or can be had, else on what is there.
    """
    settings = {
        name: os.environ[name] for name in ("TORCH_INDEX", "PYTHON_IMAGE") if name in os.environ
    }
    pinned = re.findall(
        r"^ARG PYTHON_IMAGE=(\S+)", (ROOT / "docker" / "Dockerfile").read_text(), re.M
    )[0]
    if not any(succeeds("docker", *how, pinned) for how in (("image", "inspect"), ("pull", "-q"))):
        settings.setdefault("PYTHON_IMAGE", "python:3.11-slim")
    arguments = [
        word for name, value in settings.items() for word in ("--build-arg", f"{name}={value}")
    ]
    subprocess.run(
        ["docker", "build", "-q", "-f", "docker/Dockerfile", *arguments, "-t", IMAGE, "."],
        cwd=ROOT,
        check=True,
        timeout=BUILD_S,
    )
    return IMAGE


class Project:
    """The containers of one compose project, whatever becomes of them."""

    def __init__(
        self, folder: Path, image: str, settings: dict[str, str], way: Sequence[str]
    ) -> None:
        self._folder = folder
        self.name = f"dni-test-{uuid.uuid4().hex[:12]}"
        extra = folder / "settings.json"  # JSON is YAML
        extra.write_text(json.dumps({"services": {"coordinator": {"environment": settings}}}))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._environment = {"DNI_IMAGE": image, "DNI_DASHBOARD_PORT": str(self.port)}
        self._compose = [
            *way, "-p", self.name, "-f", str(ROOT / "docker" / "compose.yaml"), "-f", str(extra)
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


Make = Callable[..., Project]


@pytest.fixture
def make(tmp_path: Path, image: str) -> Iterator[Make]:
    """Make a project whose coordinator has these settings, for one of WAYS."""
    made: list[Project] = []

    def make(settings: dict[str, str], way: Sequence[str] = ()) -> Project:
        made.append(Project(tmp_path, image, settings, way or WAYS[0]))
        return made[-1]

    yield make
    for project in made:
        project.drop()


def look(url: str) -> dict[str, Any]:
    """What the dashboard tells a browser that opens url, which has its token."""
    browser = urllib.request.build_opener(
        urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    )
    with browser.open(url, timeout=10) as page:
        assert b"<script" in page.read()
    with browser.open(url.partition("?")[0] + "api/runs", timeout=10) as answer:
        runs: dict[str, Any] = json.load(answer)
    return runs


in_both_versions = pytest.mark.parametrize("way", WAYS, ids="-".join)


@in_both_versions
def test_one_command_trains_and_ends_with_the_report_beside_the_baseline(
    make: Make, image: str, way: Sequence[str]
) -> None:
    project = make({"DNI_EPOCHS": "15", "DNI_WIDTH": "256", "DNI_EVALUATE_EVERY": "1"}, way)
    run = project.up("--abort-on-container-exit")
    url = run.wait_for(rf"dashboard: (http://127\.0\.0\.1:{project.port}/\?token=\S+)", 180)[1]
    run.wait_for("epoch +2 ", 180)
    look(url)
    ports = project.inspect("coordinator")["NetworkSettings"]["Ports"]
    assert [port["HostIp"] for ways in ports.values() if ways for port in ways] == ["127.0.0.1"]
    assert run.end(600) == 0, run.output
    assert "4 workers started" in run.output
    assert "workers of dni" in run.output
    report = project.report(image)
    assert report["status"] == "finished"
    names = [row["name"] for row in report["runs"]]
    assert names == ["dni", "baseline-1-thread", "baseline-all-threads"]
    assert report["runs"][0]["test_metrics"]["accuracy"] > 0.9
    assert project.inspect("coordinator")["State"]["ExitCode"] == 0


def test_each_side_finds_its_own_secret_alone_and_the_keys_stay(make: Make) -> None:
    project = make({})
    print_keys = ["sh", "-c", "cd /keys && find . -type f | sort && cat */*.public */*/*.public"]
    coordinator = project.compose("run", "--rm", "-T", "coordinator", *print_keys)
    names = {line.rpartition("/")[2] for line in coordinator.split() if line.startswith("./")}
    assert names == {"coordinator.public", "coordinator.secret", "worker.public"}
    stage = project.compose("run", "--rm", "-T", "--no-deps", "stage-0", *print_keys)
    names = {line.rpartition("/")[2] for line in stage.split() if line.startswith("./")}
    assert names == {"coordinator.public", "worker.secret", "worker.public"}
    assert [line for line in stage.split() if not line.startswith("./")] == [
        line for line in coordinator.split() if not line.startswith("./")
    ]
    assert project.compose("run", "--rm", "-T", "coordinator", *print_keys) == coordinator
    # Another user gets keys of its own instead of a refusal.
    other = ["run", "--rm", "-T", "--user=1234:1234", "coordinator", "ls", "-ln", "/keys"]
    assert " 1234 " in project.compose(*other)


@in_both_versions
@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"DNI_EPOCHS": "none"}, "Error: Invalid value for '--epochs': 'none'"),
        ({"DNI_KEYS": "/nowhere", "DNI_SEED": "-1"}, "Error: seed: "),
    ],
    ids=["bad-value", "bad-setting"],
)
def test_a_coordinator_that_cannot_begin_says_why_and_ends_all(
    make: Make, way: Sequence[str], settings: dict[str, str], sentence: str
) -> None:
    run = make(settings, way).up("--abort-on-container-exit")
    assert run.end(120) == 2, run.output
    assert sentence in run.output


def test_what_was_left_out_of_the_image_is_not_missed(image: str) -> None:
    train = "--layers 2 --width 64 --epochs 1 --no-baseline --profile --run-dir runs/a"
    script = f"""set -e
        dni-launch {train} --model residual --width 4 --optimizer torch.optim:AdamW >/dev/null
        dni-launch {train.replace("runs/a", "runs/b")} --tensorboard && exit 9
        dni-report runs/a >/dev/null
        dni-report --html runs/page.html runs/a
        dni-doctor || test $? -eq 1
        tail -c 20 runs/page.html
    """
    place = ["--network=none", "--tmpfs=/work/runs:uid=1000", image]
    assert "</html>" in docker("run", "--rm", *place, "sh", "-c", script)


SHORT_BATCHES = {
    "DNI_WIDTH": "256",
    "DNI_BATCH_SIZE": "128",
    "DNI_EVALUATE_EVERY": "1",
    "DNI_CHECKPOINT_EVERY": "2s",
    "DNI_BASELINE": "false",
}


def test_up_ends_well_although_a_container_dies_and_comes_back(make: Make, image: str) -> None:
    """Without --abort-on-container-exit, which ends everything at the first death."""
    project = make({"DNI_EPOCHS": "300", **SHORT_BATCHES})
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


def test_containers_that_die_are_replaced_and_the_others_go_on(make: Make, image: str) -> None:
    project = make({"DNI_EPOCHS": "400", **SHORT_BATCHES})
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


@in_both_versions
def test_every_compose_file_can_be_read(make: Make, way: Sequence[str]) -> None:
    project = make({}, way)
    for name in ("compose.metrics.yaml", "compose.gpu.yaml"):
        told = project.compose("-f", str(ROOT / "docker" / name), "config")
        assert "stage-3" in told
