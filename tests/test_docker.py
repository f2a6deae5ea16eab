"""What docker/ says of the rest of the project is true; its containers run in system/."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client.core import CollectorRegistry
from prometheus_client.exposition import generate_latest

from dni_async import RunConfig
from dni_async.config.run_config import read_toml
from dni_async.launcher.monitoring.prometheus import Figures
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


def test_the_stage_s_health_is_about_the_port_that_it_joins() -> None:
    (port,) = set(re.findall(r"tcp://[\w.]+:(\d+)", (DOCKER / "compose.yaml").read_text()))
    assert f":{int(port):04X} 01 " in (DOCKER / "stage").read_text()
