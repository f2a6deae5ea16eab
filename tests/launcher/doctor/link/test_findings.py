"""What is said of a link: what was measured in, verdicts and remedies out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dni_async.launcher.doctor.finding import Finding
from dni_async.launcher.doctor.link.findings import (
    Figures,
    Load,
    Reach,
    judge_answer,
    judge_link,
    judge_reach,
    quantile,
    rate,
)
from dni_async.launcher.doctor.link.words import Introduction
from dni_async.transport.tcp_buffers import TcpBuffer

PEER = "tcp://10.0.0.6:5555"
US = Introduction("here", "0.1.0", "2.13.0+cpu", 4)
GOOD = Figures((0.0002,) * 100, 0.001, 0.0001, up=1e9, down=1e9)
LOAD = Load(width=1024, batch_size=256, layer_s=0.008)
UNKNOWN = TcpBuffer()


def judged(
    figures: Figures, load: Load, send: TcpBuffer = UNKNOWN, receive: TcpBuffer = UNKNOWN
) -> dict[str, Finding]:
    """What is said of a link, by name."""
    return {finding.name: finding for finding in judge_link(figures, load, send, receive)}


@pytest.mark.parametrize(
    ("reach", "what", "remedy"),
    [
        (Reach("silent", 5), "no answer within 5 s", "firewall"),
        (Reach("refused", 5), "nothing listens", "--serve tcp://ADDRESS:5555"),
        (Reach("unreachable", 5, "No route to host"), "No route to host", "ip route get"),
        (Reach("unknown name", 5, "Name or service not known"), "not known", "address"),
        (Reach("other", 5), "something else", "port that is free"),
        (Reach("zeromq", 5, mechanism="PLAIN"), "without keys", "of the same dni-async"),
        (Reach("zeromq", 5, mechanism="NULL"), "without keys", "of the same dni-async"),
    ],
)
def test_a_peer_that_cannot_be_greeted(reach: Reach, what: str, remedy: str) -> None:
    finding = judge_reach(PEER, reach)
    assert finding is not None
    assert finding.verdict == "bad"
    assert what in finding.what
    assert remedy in finding.remedy


@pytest.mark.parametrize("mechanism", ["CURVE", ""])
def test_a_peer_that_can(mechanism: str) -> None:
    assert judge_reach(PEER, Reach("zeromq", 5, mechanism=mechanism)) is None


@pytest.mark.parametrize(
    ("theirs", "verdict", "remedy"),
    [
        (replace(US, host="there"), "good", ""),
        (replace(US, torch="2.13.1+cu128"), "good", ""),
        (replace(US, torch="2.12.0"), "doubtful", "same versions"),
        (replace(US, version="0.2.0"), "doubtful", "same versions"),
        (replace(US, protocol=5), "bad", "same dni-async"),
        (None, "bad", "the line that it prints"),
    ],
)
def test_an_answer(theirs: Introduction | None, verdict: str, remedy: str) -> None:
    finding = judge_answer(PEER, theirs, US, 5.0)
    assert finding.verdict == verdict
    assert remedy in finding.remedy


def test_silence_behind_keys_names_the_keys() -> None:
    finding = judge_answer(PEER, None, US, 5.0)
    assert finding.what == "connects, but no answer within 5 s"
    assert "--keys" in finding.remedy


LINKS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "a good link": ({}, "", "", ""),
    "an uneven link": (
        {"round_trips_s": (0.0002,) * 98 + (0.5, 0.5)},
        "round trip",
        "doubtful",
        "cable",
    ),
    "a link that eats large packets": ({"up": None}, "bandwidth", "bad", "MTU"),
    "the same from there": ({"down": None}, "bandwidth", "bad", "MTU"),
    "a long link": ({"round_trips_s": (0.1,) * 100}, "window", "doubtful", "--window 22"),
    "a slow link": ({"up": 12.5e6}, "pace", "doubtful", "bf16"),
    "clocks apart": ({"offset_s": -3.0}, "wall clocks", "doubtful", "NTP"),
}


@pytest.mark.parametrize("name", LINKS)
def test_the_verdict_on(name: str) -> None:
    changed, where, verdict, remedy = LINKS[name]
    findings = judged(replace(GOOD, **changed), LOAD)
    ill = [finding for finding in findings.values() if finding.verdict != "good"]
    assert [(finding.name, finding.verdict) for finding in ill] == (
        [(where, verdict)] if where else []
    )
    assert all(remedy in finding.remedy for finding in ill)


def test_the_pace_of_a_hundred_megabits() -> None:
    told = judged(replace(GOOD, up=12.5e6, down=12.5e6), LOAD)
    assert told["bandwidth"].what == "100 Mbit/s to the peer, 100 Mbit/s from it"
    assert "84.0 ms to send a batch of 256 x 1024: at most 3,046 samples/s" in told["pace"].what
    assert "at least 11 layers a stage" in told["pace"].remedy
    unknown = judged(replace(GOOD, up=1.0), replace(LOAD, layer_s=None))
    assert unknown["pace"].verdict == "good"


def test_the_window_covers_what_is_on_its_way() -> None:
    load = Load(width=1023, batch_size=256)
    assert load.activation_bytes == 256 * 4100
    figures = replace(GOOD, up=10.0 * load.activation_bytes, down=1.0)
    for round_trip_s, window in ((1.0, 19), (0.001, 4)):
        told = judged(replace(figures, round_trips_s=(round_trip_s,)), load)
        assert told["window"].what.startswith(f"{window} keeps the link busy")


def test_a_buffer_that_is_full_matters_where_a_layer_waits_for_the_link() -> None:
    figures = replace(GOOD, round_trips_s=(0.05,), up=500e6)
    buffer = TcpBuffer(2**26)
    told = judged(figures, LOAD, buffer)  # 2 ms to send what a layer computes in 8
    assert told["tcp send buffer"].verdict == "good"
    told = judged(figures, replace(LOAD, layer_s=0.001), buffer)
    assert told["tcp send buffer"].verdict == "good"  # 25 of 67 MB
    told = judged(replace(figures, up=600e6), replace(LOAD, layer_s=0.001), buffer)
    assert told["tcp send buffer"].verdict == "doubtful"
    assert f"16384 {2**27}'" in told["tcp send buffer"].remedy


@pytest.mark.parametrize(
    ("round_trip_s", "send", "receive"),
    [
        (0.05, "good", "good"),  # 1 MB and 0.5 MB were under way
        (0.1, "doubtful", "good"),
        (0.2, "doubtful", "doubtful"),
    ],
)
def test_a_tcp_buffer_that_the_bandwidth_may_end_at(
    round_trip_s: float, send: str, receive: str
) -> None:
    figures = replace(GOOD, round_trips_s=(round_trip_s,), up=20e6, down=10e6)
    told = judged(figures, LOAD, TcpBuffer(4_194_304), TcpBuffer(4_194_304))
    assert told["tcp send buffer"].verdict == send
    assert told["tcp receive buffer"].verdict == receive
    assert told["tcp send buffer"].what.startswith("up to 4.2 MB")
    for way, key in (("send", "tcp_wmem"), ("receive", "tcp_rmem")):
        finding = told[f"tcp {way} buffer"]
        assert (key in finding.remedy) == (finding.verdict == "doubtful")


def test_a_tcp_buffer_that_the_system_does_not_tell_of() -> None:
    told = judged(replace(GOOD, up=None), LOAD, TcpBuffer(1), TcpBuffer())
    assert told["tcp send buffer"].what == told["tcp receive buffer"].what == "not known here"


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 2.0), (0.99, 4.0), (0.25, 1.0), (0.26, 2.0), (0.0, 1.0)]
)
def test_quantiles(share: float, expected: float) -> None:
    assert quantile([3.0, 1.0, 4.0, 2.0], share) == expected


@pytest.mark.parametrize(
    ("answered_s", "expected"),
    [
        ([], None),
        ([2.0], 50.0),
        ([2.0, 2.0], 100.0),
        ([1.0, 2.0], 100.0),
        # Eight a second from the first quarter on, however slow the beginning was.
        ([0.5, *(1.0 + k / 8 for k in range(17))], 800.0),
    ],
)
def test_the_rate(answered_s: list[float], expected: float | None) -> None:
    assert rate(answered_s, 100) == expected
