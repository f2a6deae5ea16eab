"""The command for GPUs, as far as a machine without one can tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchmarks.gpu import (
    Cell,
    config_of,
    main,
    outcomes,
    run_tests,
    write_numbers,
)
from benchmarks.rivals.arms import train_arm
from benchmarks.workloads.gpu.timetable import Network, arms_of
from dni_async import ConfigError

pytestmark = pytest.mark.timeout(400)

RESULTS = """<testsuites><testsuite>
<testcase name="good"/>
<testcase name="late"><skipped message="needs a second CUDA device"/></testcase>
<testcase name="bad"><failure message="no"/></testcase><testcase name="worse"><error/></testcase>
</testsuite></testsuites>"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so_in_a_sentence_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    ended = CliRunner().invoke(main, ["--json", str(path)])
    assert isinstance(ended.exception, ConfigError)  # which enter makes exit code 2
    assert "torch finds no CUDA device here" in str(ended.exception)
    assert not path.exists()


def test_the_results_of_tests_are_counted_and_named(tmp_path: Path) -> None:
    found = tmp_path / "tests.xml"
    assert outcomes(found, "it hung")["failed"] == ["all"]
    found.write_text(RESULTS)
    told = outcomes(found, "the end")
    assert (told["passed"], told["failed"]) == (1, ["bad", "worse"])
    assert told["skipped"] == {"late": "needs a second CUDA device"}
    assert told["said"] == "the end"


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_its_tests_are_found_and_skipped_with_a_reason() -> None:
    told = run_tests(300.0)
    assert told["failed"] == []
    assert told["passed"] == 0
    assert len(told["skipped"]) >= 10
    assert all("needs a CUDA device" in reason for reason in told["skipped"].values())


@pytest.mark.slow
@pytest.mark.system
def test_what_it_measures_trains_on_the_cpu_too(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    network = Network(64, "fp32")
    write_numbers(path, network)
    cell = Cell(network)
    for arm in arms_of(2, 4)[:3]:
        config = config_of(network, arm, str(path))
        assert config.devices == arm.devices
        config = replace(config, devices=("cpu",), compile=False)
        trained = train_arm("dni" if arm.num_stages > 1 else "baseline-all-threads", config)
        cell.rates[arm.name] = [trained.samples_per_second]
        cell.losses[arm.name] = trained.train_loss
    assert all(loss < 2.0 for loss in cell.losses.values())
    assert cell.to_dict()["samples_per_second"].keys() == cell.losses.keys()
