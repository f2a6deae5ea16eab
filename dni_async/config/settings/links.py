"""Settings of the links between neighbours: how much they hold, and how it travels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dni_async.config.setting import Check, setting

__all__ = ["LinkSettings"]

WireDtype = Literal["same", "bf16", "fp16", "int8"]
WireRounding = Literal["nearest", "stochastic"]
WireZeros = Literal["send", "omit"]
Transport = Literal["auto", "ipc", "tcp"]


@dataclass(frozen=True, kw_only=True)
class LinkSettings:
    """What passes between neighbours."""

    window: int | Literal["auto"] | None = setting(
        None,
        "Activations that each link may hold in flight; auto: the default at first, and on links "
        "over tcp more, up to 256, while distance keeps a stage waiting.",
        why="a wider one waits less; 4 where every gradient is as stale as it is wide (0017). On "
        "auto: 0083",
        check=Check(
            "at least 1, or auto",
            lambda value: value == "auto" or (isinstance(value, int) and value >= 1),
        ),
        resumable=True,
        metavar="N|auto",
        default_text="16; 4 with --targets bootstrap and with --rule fdg",
        counts="activations",
    )
    transport: Transport = setting(
        "auto",
        "How neighbours talk: auto and ipc use local sockets, tcp the loopback; auto also shares "
        "memory.",
        why="shared memory is the fastest there is (0012)",
        resumable=True,
    )
    interface: str = setting(
        "127.0.0.1",
        "With --transport tcp: the address of this machine to listen on.",
        why="nobody else can reach it (0070)",
        resumable=True,
        metavar="ADDRESS",
    )
    keys: str | None = setting(
        None,
        "Take the keys in DIR, which 'dni-launch keys DIR' made, for every tcp socket; else a run "
        "makes its own.",
        why="nothing has to be set up, and nobody else has them (0111)",
        resumable=True,
        metavar="DIR",
        default_text="made for the run",
    )
    wire_dtype: WireDtype = setting(
        "same",
        "Number format in which activations and gradients travel over links; int8: with a scale "
        "for each sample.",
        why="exact; links on one host are not what a run waits for. On int8: 0080",
    )
    wire_rounding: WireRounding = setting(
        "nearest",
        "With --wire-dtype int8: to the nearest, or at random without bias.",
        why="closer to what was sent, and no worse to learn from (0080)",
    )
    wire_zeros: WireZeros = setting(
        "send",
        "omit: activations that travel in frames do so without their zeros, about half of them "
        "after a ReLU. Nothing is lost; for links that are slower than their stages.",
        why="packing costs 2.5 ms a megabyte, which a fast link does not give back (0085)",
        resumable=True,
    )
