"""What docker/ says of the rest of the project is true; its containers run in system/."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from prometheus_client.core import CollectorRegistry
from prometheus_client.exposition import generate_latest

from dni_async import RunConfig
from dni_async.config.run_config import read_toml
from dni_async.launcher.monitoring.prometheus import Figures
from dni_async.transport.keys import read_keys
from tests.launcher.told import EPOCH, decoupled, progress

DOCKER = Path(__file__).resolve().parents[1] / "docker"


def test_every_figure_of_the_dashboard_is_served() -> None:
    figures = Figures(RunConfig())
    figures.begin(decoupled(EPOCH))
    figures.progress(progress(0, loss=0.5))
    registry = CollectorRegistry()
    registry.register(figures)
    served = set(re.findall(r"^(dni_\w+)\{", generate_latest(registry).decode(), re.MULTILINE))
    dashboard = json.loads((DOCKER / "grafana" / "dashboards" / "dni.json").read_text())
    shown = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"dni_\w+", target["expr"])
    }
    assert shown <= served
    assert len(shown) > 20


def test_panels_lie_beside_each_other() -> None:
    panels = json.loads((DOCKER / "grafana" / "dashboards" / "dni.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)


def test_the_run_has_a_service_for_each_stage() -> None:
    config = RunConfig.from_dict(read_toml(DOCKER / "run.toml"))
    services = re.findall(r"^  stage-(\d+):$", (DOCKER / "compose.yaml").read_text(), re.MULTILINE)
    assert [int(stage) for stage in services] == list(range(config.stages or config.layers))


def test_nothing_secret_goes_into_the_image() -> None:
    ignored = (DOCKER.parent / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert not [line for line in ignored if "keys" in line and line.startswith("!")]
    assert "/docker/keys/" in (DOCKER.parent / ".gitignore").read_text().splitlines()


def test_what_the_image_copies_is_in_what_is_sent_to_the_engine() -> None:
    sent = {line[1:] for line in (DOCKER.parent / ".dockerignore").read_text().splitlines()}
    copies = re.findall(r"^COPY (?!--)(.+) \S+$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    assert len(copies) > 5
    assert {name for words in copies for name in words.split()} <= sent


def test_on_gpus_every_stage_has_its_own() -> None:
    text = (DOCKER / "compose.gpu.yaml").read_text()
    ranks = re.findall(r'^  stage-(\d):\n    <<: \*stage\n.*LOCAL_RANK: "(\d)"', text, re.MULTILINE)
    assert ranks == [(stage, stage) for stage in "0123"]


def test_no_registry_is_asked_for_our_image() -> None:
    compose = (DOCKER / "compose.yaml").read_text()
    assert "  pull_policy: never" in compose[: compose.index("services:")]
    assert compose.count("image:") == 1


def test_ports_are_published_to_this_host_alone() -> None:
    for path in DOCKER.glob("compose*.yaml"):
        for ports in re.findall(r"^ *ports: (.*)$", path.read_text(), re.MULTILINE):
            assert ports.startswith('["127.0.0.1:')
            assert "," not in ports


def keys_made(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run what the coordinator's container begins with, its volumes being folders of folder."""
    script = (DOCKER / "coordinator").read_text()
    for volume in ("/stage-keys/", "/keys/"):
        script = script.replace(f"={volume}", f"={folder}{volume}")
        (folder / volume.strip("/")).mkdir(exist_ok=True)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-s", "--", *command],
        input=script,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_coordinator_s_container_makes_keys_once_for_each_side(tmp_path: Path) -> None:
    made = keys_made(tmp_path, "echo", "begun")
    assert (made.returncode, made.stdout) == (0, "begun\n"), made.stderr
    own, stages = (tmp_path / volume / str(os.getuid()) for volume in ("keys", "stage-keys"))
    names = [{str(file.relative_to(side)) for file in side.rglob("*.*")} for side in (own, stages)]
    public = {"coordinator.public", "worker.public", "allowed/worker.public"}
    assert names == [public | {"coordinator.secret"}, public | {"worker.secret"}]
    assert read_keys(own, "coordinator").allowed == {read_keys(stages, "worker").own.public}
    secret = (stages / "worker.secret").read_bytes()
    assert keys_made(tmp_path, "true").returncode == 0
    assert (stages / "worker.secret").read_bytes() == secret
    (own / "coordinator.secret").unlink()  # one volume is gone: both sides anew
    assert keys_made(tmp_path, "true").returncode == 0
    assert read_keys(own, "coordinator").allowed == {read_keys(stages, "worker").own.public}
    refused = keys_made(tmp_path, "--epochs=none")
    assert refused.returncode == 2
    assert "Invalid value for '--epochs'" in refused.stderr


def test_the_stage_s_health_is_about_the_port_that_it_joins() -> None:
    (port,) = set(re.findall(r"tcp://[\w.]+:(\d+)", (DOCKER / "compose.yaml").read_text()))
    assert f":{int(port):04X} 01 " in (DOCKER / "stage").read_text()


def test_neither_side_of_the_stack_has_the_other_s_secret() -> None:
    stack = (DOCKER / "stack.yaml").read_text()
    coordinator, stage = stack[stack.index("  coordinator:") :].split("\n  stage:\n")
    stage = stage[: stage.index("\nconfigs:")]
    assert "worker-secret" not in coordinator
    assert "coordinator-secret" in coordinator
    assert "coordinator-secret" not in stage
    assert "worker-secret" in stage


def test_every_image_is_named_by_its_digest() -> None:
    dockerfile = (DOCKER / "Dockerfile").read_text()
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", dockerfile, re.MULTILINE)
    named = [base, *re.findall(r"^ *image: (\S+)", metrics_compose(), re.MULTILINE)]
    assert len(named) == 3
    for image in named:
        assert re.fullmatch(r"[a-z/]+:[a-z0-9.-]+@sha256:[0-9a-f]{64}", image), image
    assert f"PYTHON_IMAGE: ${{PYTHON_IMAGE:-{base}}}" in (DOCKER / "compose.yaml").read_text()
    begun = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert begun == ["${PYTHON_IMAGE}"] * 2


def test_every_package_of_the_image_is_checked_by_its_hash() -> None:
    dockerfile = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ")
    installs = re.findall(r"pip install ([^&;|\n]*)", dockerfile)
    assert len(installs) == 2
    for arguments in installs:
        assert "--no-deps" in arguments
        if "locks/" in arguments:
            assert "--require-hashes" in arguments
        else:  # the package itself, by the setuptools that is there
            assert arguments.split() == ["--no-deps", "--no-build-isolation", "."]


def metrics_compose() -> str:
    """The file with Prometheus and Grafana."""
    return (DOCKER / "compose.metrics.yaml").read_text()


def test_nobody_has_an_account_in_grafana() -> None:
    set_to = dict(re.findall(r'^ +(GF_\w+): "?(\w+)', metrics_compose(), re.MULTILINE))
    expected = {
        "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION": "true",
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
        "GF_AUTH_BASIC_ENABLED": "false",
        "GF_AUTH_DISABLE_LOGIN_FORM": "true",
        "GF_USERS_ALLOW_SIGN_UP": "false",
    }
    assert {name: set_to.get(name) for name in expected} == expected
    assert not [name for name in set_to if "PASSWORD" in name]
