"""dni-doctor as a process: alone, with another one over loopback, refused, and interrupted."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dni_async.launcher.places.local import command_for
from dni_async.transport.keys import write_keys
from dni_async.transport.rings import invitation_of, make_key_pair, make_rings
from tests.marked_process import MarkedProcess

pytestmark = pytest.mark.system

Start = Callable[..., MarkedProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start doctors; all their processes are gone after the test."""
    started: list[MarkedProcess] = []

    def start_one(*arguments: str, invitation: str = "", is_cold: bool = False) -> MarkedProcess:
        started.append(
            MarkedProcess(
                command_for("dni_async.launcher.doctor.cli", *arguments),
                cwd=tmp_path,
                environment={"COLUMNS": "120", "DNI_INVITATION": invitation},
                is_cold=is_cold,
            )
        )
        return started[-1]

    yield start_one
    for each in started:
        each.abort()


def assert_nothing_left(doctor: MarkedProcess) -> None:
    assert doctor.left_after(5.0) == []
    assert list(doctor.temporary.iterdir()) == []


@pytest.fixture(params=["invitation", "keys"])
def membership(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Flags by which two doctors know each other; none, where one invites the other."""
    if request.param == "invitation":
        return []
    write_keys(tmp_path / "ring", coordinator=make_key_pair(), worker=make_key_pair())
    return [f"--keys={tmp_path / 'ring'}"]


def test_two_doctors_measure_the_link_between_them(start: Start, membership: list[str]) -> None:
    serving = start("--serve=tcp://127.0.0.1:0", *membership)
    address = serving.wait_for(r"serving on (tcp://127\.0\.0\.1:\d+)").group(1)
    word = ""
    if not membership:
        word, told = serving.wait_for(r"DNI_INVITATION=(\S+) dni-doctor --peer (\S+)").groups()
        assert told == address
    visiting = start(f"--peer={address}", "--seconds=1", "--json", *membership, invitation=word)
    code = visiting.end()
    told = json.loads(visiting.output)
    assert code == (0 if told["passed"] else 1)
    verdicts = {finding["name"]: finding["verdict"] for finding in told["findings"]}
    assert verdicts[f"peer {address}"] == "good"
    assert verdicts["shared memory"] == "good"
    assert verdicts["bandwidth"] == "good"
    link = told["links"][address]
    assert 0 < link["round_trip_median_seconds"] <= link["round_trip_p99_seconds"]
    assert link["up_bytes_per_second"] > 2**20
    assert link["down_bytes_per_second"] > 2**20
    serving.wait_for("asked by ")
    serving.interrupt()
    assert serving.end() == 130
    assert "Traceback" not in serving.output
    assert_nothing_left(serving)
    assert_nothing_left(visiting)


def test_one_that_serves_ends_when_nobody_asks(start: Start) -> None:
    doctor = start("--serve=tcp://127.0.0.1:0", "--silence-s=1")
    assert doctor.end() == (1 if re.search("^bad", doctor.output, re.MULTILINE) else 0)
    assert "serving on" in doctor.output
    assert_nothing_left(doctor)


def test_another_invitation_and_a_silent_peer_are_bad_and_it_is_said_why(
    start: Start,
) -> None:
    """Both visits at once, as each takes five seconds."""
    another = invitation_of(make_rings()[1])
    serving = start("--serve=tcp://127.0.0.1:0")
    address = serving.wait_for(r"serving on (tcp://127\.0\.0\.1:\d+)").group(1)
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as server,
        socket.create_connection(server.getsockname()),  # fills the queue
    ):
        visiting = start(f"--peer={address}", invitation=another)
        unheard = start(f"--peer=tcp://127.0.0.1:{server.getsockname()[1]}", invitation=another)
        assert visiting.end() == 1
        assert unheard.end() == 1
    assert f"bad       peer {address}: connects, but no answer within 5 s" in visiting.output
    assert "remedy: start dni-doctor --serve there, and here by the line that" in visiting.output
    assert "no answer within 5 s" in unheard.output
    assert "firewall" in unheard.output
    assert_nothing_left(unheard)


@pytest.mark.parametrize(
    "signum", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_an_interrupted_examination_leaves_nothing(start: Start, signum: int) -> None:
    doctor = start(is_cold=True)
    doctor.wait_for("clock: ")  # torch is being looked at now, for as long as its import takes
    doctor.interrupt(signum)
    assert doctor.end() == 128 + signum
    assert "Traceback" not in doctor.output
    assert_nothing_left(doctor)


@pytest.mark.parametrize(
    ("arguments", "invitation", "said"),
    [
        (["--peer=localhost"], "word", "is not tcp://HOST:PORT"),
        (["--peer=tcp://192.0.2.1:5555"], "", "--keys DIR at both ends"),
        (["--peer=tcp://192.0.2.1:5555"], "word", "DNI_INVITATION: is no whole invitation"),
        (["--serve=tcp://127.0.0.1:0", "--keys=nowhere"], "", "cannot be read"),
        (["--insecure-without-keys"], "", "is gone, as every run has keys"),
        (["--seconds=61"], "", "61"),
        (["--nonsense"], "", "No such option"),
    ],
)
def test_usage(start: Start, arguments: list[str], invitation: str, said: str) -> None:
    doctor = start(*arguments, invitation=invitation)
    assert doctor.end() == 2
    assert said in doctor.output


def test_what_cannot_be_listened_on_is_not_served(start: Start) -> None:
    doctor = start("--serve=tcp://192.0.2.1:0")
    assert doctor.end() == 1
    assert "bad       listen tcp://192.0.2.1:0" in doctor.output
    assert "serving on" not in doctor.output
