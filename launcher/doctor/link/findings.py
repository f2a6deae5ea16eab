"""Judge a link to another host by what was measured of it: facts in, findings out; no I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dni_async.config.run_config import RunConfig
from dni_async.decisions.windows import window_for
from dni_async.launcher.doctor.finding import Finding
from dni_async.launcher.doctor.link.words import Introduction
from dni_async.transport.tcp_buffers import TcpBuffer

__all__ = [
    "Figures",
    "Load",
    "Reach",
    "judge_answer",
    "judge_link",
    "judge_reach",
    "quantile",
    "rate",
]

UNEVEN = 10  # a p99 so many times the median
UNEVEN_S = 0.01
CLOCK_S = 0.1
FULL = 0.4  # of a buffer, which also holds the kernel's own: from here on it may be the limit
WIDE_BYTES = 64 * 2**20
RAMP = 0.25  # of the answers, while as many requests as the link holds get on their way

Outcome = Literal["zeromq", "other", "refused", "silent", "unreachable", "unknown name"]


@dataclass(frozen=True, slots=True)
class Reach:
    """What a tcp connection to a peer came to, within timeout_s.

    zeromq, other: something listens there, ZeroMQ or not. mechanism: how ZeroMQ there asks who
    connects (CURVE, NULL, ...), empty where it did not say. detail: the system's words.
    """

    outcome: Outcome
    timeout_s: float
    detail: str = ""
    mechanism: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """round_trips_s: of each ping. offset_s: the peer's wall clock minus ours, give or take
    offset_error_s. up, down: bytes per second to the peer and from it; None: not a chunk came.
    """

    round_trips_s: tuple[float, ...]
    offset_s: float
    offset_error_s: float
    up: float | None
    down: float | None

    @property
    def median_s(self) -> float:
        """Of the round trips."""
        return quantile(self.round_trips_s, 0.5)

    @property
    def p99_s(self) -> float:
        """Of the round trips; the longest of fewer than 100."""
        return quantile(self.round_trips_s, 0.99)


@dataclass(frozen=True, slots=True)
class Load:
    """What a link would have to carry: activations of batch_size samples of width numbers.

    layer_s: what forward and weight gradient of a layer of that size take here; None if unknown.
    """

    width: int
    batch_size: int
    layer_s: float | None = None

    @property
    def activation_bytes(self) -> int:
        """Of one activation in float32, with its labels."""
        return self.batch_size * (4 * self.width + 8)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def rate(answered_s: Sequence[float], chunk_bytes: int) -> float | None:
    """Bytes per second from the times of the answers, counted from the first request.

    The first quarter of the time is left out, as requests are still getting on their way. None
    without an answer.
    """
    if not answered_s:
        return None
    late = [at for at in answered_s if at >= RAMP * answered_s[-1]]
    if len(late) < 2 or late[-1] <= late[0]:
        return len(answered_s) * chunk_bytes / max(answered_s[-1], 1e-9)
    return (len(late) - 1) * chunk_bytes / (late[-1] - late[0])


def judge_reach(peer: str, reach: Reach) -> Finding | None:
    """None where it is worth while to greet."""
    name = f"peer {peer}"
    port = peer.rpartition(":")[2]
    start = f"start dni-doctor --serve tcp://ADDRESS:{port} there first"
    if reach.outcome == "silent":
        what = f"no answer within {reach.timeout_s:.0f} s"
        remedy = f"check the address, and that no firewall between the hosts drops port {port}"
        return Finding(name, "bad", what, remedy)
    if reach.outcome == "refused":
        what = "the host answers, but nothing listens on that port (or a firewall refuses it)"
        return Finding(name, "bad", what, f"{start}, on an address that is not its loopback")
    if reach.outcome == "unknown name":
        return Finding(name, "bad", f"the name is not known here: {reach.detail}", "use an address")
    if reach.outcome == "unreachable":
        what = f"cannot be reached: {reach.detail}"
        return Finding(name, "bad", what, "check the address and the routes: ip route get ADDRESS")
    if reach.outcome == "other":
        what = "something else than ZeroMQ listens there"
        return Finding(name, "bad", what, f"{start}, on a port that is free")
    if reach.mechanism not in {"", "CURVE"}:
        what = "ZeroMQ listens there, but without keys, so it is no dni-doctor of this version"
        return Finding(name, "bad", what, f"{start}, of the same dni-async")
    return None


def judge_answer(
    peer: str, theirs: Introduction | None, ours: Introduction, timeout_s: float
) -> Finding:
    """theirs: None where it let us connect, but said nothing within timeout_s."""
    name = f"peer {peer}"
    if theirs is None:
        what = f"connects, but no answer within {timeout_s:.0f} s"
        remedy = "start dni-doctor --serve there, and here by the line that it prints, or with a "
        return Finding(name, "bad", what, f"{remedy}copy of the same --keys DIR at both ends")
    text = f"{theirs.host}, dni-async {theirs.version}, torch {theirs.torch}"
    if theirs.protocol != ours.protocol:
        what = f"{text}: speaks protocol {theirs.protocol}, this end {ours.protocol}"
        return Finding(name, "bad", what, "install the same dni-async at both ends")
    if (theirs.version, _minor(theirs.torch)) != (ours.version, _minor(ours.torch)):
        what = f"{text}; here dni-async {ours.version}, torch {ours.torch}"
        return Finding(name, "doubtful", what, "install the same versions at both ends")
    return Finding(name, "good", text)


def judge_link(figures: Figures, load: Load, send: TcpBuffer, receive: TcpBuffer) -> list[Finding]:
    """What the link is, and what it means for a run. send, receive: the buffers of this end."""
    findings = [_round_trip(figures), _bandwidth(figures)]
    for way, bandwidth, buffer in (("send", figures.up, send), ("receive", figures.down, receive)):
        findings.append(_buffer(way, bandwidth, figures.median_s, buffer, load))
    if figures.up is not None and figures.down is not None:
        findings += [_window(figures, load), _pace(min(figures.up, figures.down), load)]
    return [*findings, _clocks(figures)]


def _round_trip(figures: Figures) -> Finding:
    trips = len(figures.round_trips_s)
    text = f"{_ms(figures.median_s)} median, {_ms(figures.p99_s)} p99 of {trips:,}"
    if figures.p99_s > max(UNEVEN_S, UNEVEN * figures.median_s):
        what = f"{text}: uneven, so stages now and then run out of activations"
        remedy = "a cable rather than radio, less traffic or load beside it, or a larger --window"
        return Finding("round trip", "doubtful", what, remedy)
    return Finding("round trip", "good", text)


def _bandwidth(figures: Figures) -> Finding:
    if figures.up is None or figures.down is None:
        way = "to the peer" if figures.up is None else "from the peer"
        what = f"pings pass, but not one chunk of 64 KB came through {way}"
        remedy = "often packets too large for a tunnel: a smaller MTU (ip link set DEV mtu 1400); "
        remedy += "else see whether the doctor there still serves"
        return Finding("bandwidth", "bad", what, remedy)
    text = f"{_megabits(figures.up)} to the peer, {_megabits(figures.down)} from it"
    return Finding("bandwidth", "good", text)


def _buffer(
    way: str, bandwidth: float | None, trip_s: float, buffer: TcpBuffer, load: Load
) -> Finding:
    """Whether tcp holds as much as the link does, where that link keeps a layer waiting."""
    name = f"tcp {way} buffer"
    if not buffer.most_bytes or bandwidth is None:
        return Finding(name, "good", "not known here")
    under_way = bandwidth * trip_s
    text = f"up to {buffer.most_bytes / 1e6:.1f} MB, {under_way / 1e6:.1f} MB were under way"
    is_fast = load.layer_s is not None and load.activation_bytes / bandwidth <= load.layer_s
    if is_fast or under_way < FULL * buffer.most_bytes:
        return Finding(name, "good", text)
    what = f"{text}: the bandwidth may end at it, not at the link"
    setting = "tcp_wmem='4096 16384" if way == "send" else "tcp_rmem='4096 131072"
    wide = max(WIDE_BYTES, 2 * buffer.most_bytes)
    remedy = f"sysctl -w net.ipv4.{setting} {wide}' on both hosts, and measure again"
    return Finding(name, "doubtful", what, remedy)


def _window(figures: Figures, load: Load) -> Finding:
    bandwidth = max(figures.up or 0.0, figures.down or 0.0)
    needed = window_for(bandwidth, figures.median_s, load.activation_bytes, load.layer_s or 0.0)
    default = RunConfig().places
    text = f"{needed} keeps the link busy ({_megabytes(load)} an activation)"
    if needed > default:
        what = f"{text}, the default is {default}"
        remedy = f"--window {needed} or auto, or a larger --batch-size"
        return Finding("window", "doubtful", what, remedy)
    return Finding("window", "good", f"{text}, the default of {default} will do")


def _pace(bandwidth: float, load: Load) -> Finding:
    """Whether the link or a layer takes longer for a batch."""
    send_s = load.activation_bytes / bandwidth
    text = (
        f"{_ms(send_s)} to send a batch of {load.batch_size} x {load.width}: "
        f"at most {load.batch_size / send_s:,.0f} samples/s"
    )
    if load.layer_s is not None:
        text += f" (a layer takes {_ms(load.layer_s)} here)"
        if send_s > load.layer_s:
            what = f"{text}: the link is slower than a layer"
            layers = math.ceil(send_s / load.layer_s)
            remedy = (
                "--wire-zeros omit after a ReLU, or --wire-dtype bf16, halves it; "
                f"at least {layers} layers a stage beside the link"
            )
            return Finding("pace", "doubtful", what, remedy)
    return Finding("pace", "good", text)


def _clocks(figures: Figures) -> Finding:
    offset, error = figures.offset_s, figures.offset_error_s
    text = f"the peer's is {_ms(abs(offset))} {'ahead' if offset > 0 else 'behind'}"
    text += f" (+-{_ms(error)})"
    if abs(offset) - error > CLOCK_S:
        what = f"{text}: logs of the two hosts do not line up (training does not mind)"
        return Finding(
            "wall clocks", "doubtful", what, "let NTP set both: timedatectl set-ntp true"
        )
    return Finding("wall clocks", "good", text)


def _minor(version: str) -> str:
    return ".".join(version.partition("+")[0].split(".")[:2])


def _ms(seconds: float) -> str:
    ms = seconds * 1000
    return f"{ms:,.0f} ms" if ms >= 100 else f"{ms:.1f} ms" if ms >= 10 else f"{ms:.2f} ms"


def _megabits(bytes_per_second: float) -> str:
    megabits = bytes_per_second * 8 / 1e6
    return f"{megabits:,.0f} Mbit/s" if megabits >= 100 else f"{megabits:.1f} Mbit/s"


def _megabytes(load: Load) -> str:
    return f"{load.activation_bytes / 1e6:.2f} MB"
