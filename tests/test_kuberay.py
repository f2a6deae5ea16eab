"""The manifest for Kubernetes asks for what there is: options, pods for all stages, their CPUs."""

from __future__ import annotations

import re
from pathlib import Path

from dni_async.config.run_config import RunConfig
from dni_async.launcher.cli import command

MANIFEST = (Path(__file__).resolve().parents[1] / "docker" / "kuberay.yaml").read_text("utf-8")


def settings() -> dict[str, str | bool]:
    """The options on the command line of the job."""
    found = re.search(r"entrypoint: >-\n((?:    .*\n)+?)  \w", MANIFEST)
    assert found is not None
    program, *words = found.group(1).split()
    assert program == "dni-launch"
    context = command.make_context("dni-launch", words, resilient_parsing=False)
    return dict(context.params)


def test_its_command_line_is_one_that_runs() -> None:
    fields = RunConfig.__dataclass_fields__
    given = {name: value for name, value in settings().items() if name in fields}
    given["devices"] = ("cpu",)
    given["workers"] = ("local",)
    config = RunConfig(**given)  # type: ignore[arg-type]
    assert config.engine == "ray"
    assert config.keys == "/keys/ring"


def test_there_is_a_pod_for_each_stage_with_a_cpu_for_each_thread() -> None:
    asked = settings()
    for name in ("replicas", "minReplicas", "maxReplicas"):
        (count,) = re.findall(rf"^ +{name}: (\d+)$", MANIFEST, re.MULTILINE)
        assert int(count) == asked["layers"]
    worker = MANIFEST.partition("workerGroupSpecs")[2]
    (cpus,) = re.findall(r'limits: {cpu: "(\d+)"', worker)
    assert int(cpus) == asked["threads_per_worker"]
