"""What somebody may have meant: names, files, environment variables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dni_async.config.meant import (
    did_you_mean,
    did_you_mean_file,
    nearest,
    unknown_variables,
)
from dni_async.config.settings import SETTINGS


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("mnits", ("digits", "mnist"), "mnist"),
        ("ADM", ("sgd", "adam"), "adam"),
        ("nadm", ("adamw", "torch.optim:NAdam"), "torch.optim:NAdam"),
        ("tpc", ("auto", "tcp", "ipc"), "tcp"),
        ("cda:0", ("cuda", "cuda:0"), "cuda:0"),
        ("quite another", ("digits", "mnist"), None),
        ("", ("a",), None),
        ("a", (), None),
    ],
)
def test_the_nearest_name_is_found_and_no_distant_one(
    word: str, known: tuple[str, ...], meant: str | None
) -> None:
    assert nearest(word, known) == meant
    assert did_you_mean(word, known) == ("" if meant is None else f"; did you mean {meant!r}?")


def test_a_file_that_is_not_there_is_looked_for_beside_it(tmp_path: Path) -> None:
    (tmp_path / "runs" / "plain").mkdir(parents=True)
    (tmp_path / "mydata.npz").write_text("")
    (tmp_path / "mydata.txt").write_text("")

    def meant(name: str, pattern: str = "*") -> str:
        hint = did_you_mean_file(tmp_path / name, pattern)
        return hint.removeprefix(f"; did you mean '{tmp_path}/").removesuffix("'?")

    assert meant("mydta.npz", "*.npz") == "mydata.npz"
    assert meant("runs/plian") == "runs/plain"
    assert meant("run/plain") == "runs/plain"
    assert meant("run/nothing") == "runs"
    assert meant("mydata.npz") == meant("quite-another") == meant("xyz/plain") == ""
    assert meant("x" * 300) == meant("x" * 300 + "/plain") == ""  # longer than a name can be


def test_what_begins_as_a_setting_and_is_none_is_named() -> None:
    known = [each.variable for each in SETTINGS.values()]
    foreign = ["DNI_COORDINATOR_SERVICE_HOST", "DNI_COORDINATOR_PORT", "DNI_A_PORT_5555_TCP_ADDR"]
    foreign += ["DNI_A_SERVICE_PORT_HTTP", "DNI_IMAGE", "DNI_USER", "DNI_GIVEN", "DNI_INVITATION"]
    foreign += ["DNI_WORKER_JOIN", "DNI_WORKER_NAME", "BATCH_SIZ", "_DNI_LAUNCH_COMPLETE", "DNIX"]
    assert list(unknown_variables([*known, *foreign], known)) == []
    one, other = unknown_variables(["DNI_QUITE_ANOTHER", "DNI_BATCH_SIZ"], known)
    assert one == "DNI_BATCH_SIZ in the environment is no setting; did you mean 'DNI_BATCH_SIZE'?"
    assert other == "DNI_QUITE_ANOTHER in the environment is no setting; unset it"
    (gone,) = unknown_variables(["DNI_INSECURE_WITHOUT_KEYS"], known)
    assert gone.startswith("DNI_INSECURE_WITHOUT_KEYS in the environment is gone, as every run has")


def test_what_docker_reads_is_no_mistake() -> None:
    known = [each.variable for each in SETTINGS.values()]
    docker = Path(__file__).parents[2] / "docker"
    read = {
        name
        for path in docker.iterdir()
        if path.suffix in (".yaml", "") and path.is_file()
        for name in re.findall(r"DNI_[A-Z_]+", path.read_text())
    }
    assert len(read) > 5
    assert list(unknown_variables(read, known)) == []
