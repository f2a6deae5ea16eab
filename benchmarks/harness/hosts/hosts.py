"""Hosts on this machine: network namespaces, joined by links that are slow, far or cut. As root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from dni_async.errors import ConfigError, DniError

__all__ = ["INTERFACE", "FarHosts", "Host", "check_hosts", "far_hosts", "hosts"]

ROOT = Path(__file__).resolve().parents[3]
SUBNET = "10.177.0"
INTERFACE = "dni0"
FAR_BUFFER_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Host:
    """A network namespace with one interface. port: its end at the switch, empty without one."""

    name: str
    address: str
    switch: str = ""
    port: str = ""

    def command(self, *command: str) -> list[str]:
        """The command line that runs command there."""
        return ["ip", "netns", "exec", self.name, *command]

    def cut(self) -> None:
        """Nothing passes any more, and nobody is told."""
        _run("ip", "-n", self.switch, "link", "set", self.port, "down")

    def heal(self) -> None:
        """Things pass again."""
        _run("ip", "-n", self.switch, "link", "set", self.port, "up")


def check_hosts() -> None:
    """Raises ConfigError where namespaces cannot be made."""
    if shutil.which("ip") is None or shutil.which("tc") is None:
        raise ConfigError("hosts: needs ip and tc of iproute2")
    if os.geteuid() != 0:
        raise ConfigError("hosts: network namespaces need root")


@contextmanager
def hosts(count: int, *, megabits: float | None = None) -> Iterator[list[Host]]:
    """count hosts at one switch, each with a link of so many megabits per second both ways."""
    check_hosts()
    prefix = f"dni{os.getpid()}"
    switch = f"{prefix}-switch"
    made = [
        Host(f"{prefix}-{index}", f"{SUBNET}.{index + 1}", switch, f"port{index}")
        for index in range(count)
    ]
    try:
        _run("ip", "netns", "add", switch)
        _run("ip", "-n", switch, "link", "add", "bridge0", "type", "bridge")
        _run("ip", "-n", switch, "link", "set", "bridge0", "up")
        for host in made:
            _add_host(host, megabits)
        yield made
    finally:
        _remove([switch, *(host.name for host in made)])


def _add_host(host: Host, megabits: float | None) -> None:
    _run("ip", "netns", "add", host.name)
    peer = ("peer", "name", host.port, "netns", host.switch)
    _run("ip", "link", "add", INTERFACE, "netns", host.name, "type", "veth", *peer)
    _run("ip", "-n", host.name, "addr", "add", f"{host.address}/24", "dev", INTERFACE)
    _run("ip", "-n", host.switch, "link", "set", host.port, "master", "bridge0")
    ends = ((host.name, INTERFACE), (host.switch, host.port))
    for namespace, interface in ends:
        _run("ip", "-n", namespace, "link", "set", interface, "up")
        if megabits is not None:
            limit = ("rate", f"{megabits:g}mbit", "burst", "64kb", "latency", "100ms")
            _run("tc", "-n", namespace, "qdisc", "add", "dev", interface, "root", "tbf", *limit)
    _run("ip", "-n", host.name, "link", "set", "lo", "up")


@dataclass(frozen=True, slots=True)
class FarHosts:
    """Hosts, and the process between them, which takes its share of this machine's cores."""

    hosts: list[Host]
    router: psutil.Process

    @property
    def router_cpu_s(self) -> float:
        """Processor time that it has taken."""
        times = self.router.cpu_times()
        return float(times.user + times.system)


@contextmanager
def far_hosts(
    count: int, delay_s: float, buffer_bytes: int = FAR_BUFFER_BYTES
) -> Iterator[FarHosts]:
    """count hosts between which every packet takes delay_s, through a router that holds it back.

    buffer_bytes: as much as tcp may have under way, set as docs/cluster.md says for such links; 0
    leaves what the system sets.
    """
    check_hosts()
    prefix = f"dni{os.getpid()}"
    made = [Host(f"{prefix}-{index}", f"{SUBNET}.{index + 1}") for index in range(count)]
    router = None
    try:
        for host in made:
            _run("ip", "netns", "add", host.name)
            _run("ip", "-n", host.name, "link", "set", "lo", "up")
        router = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "benchmarks.harness.hosts.router",
                str(delay_s),
                *(h.name for h in made),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert router.stdout is not None
        if not router.stdout.readline():
            raise DniError("hosts: the router has not begun")
        for host in made:
            _run("ip", "-n", host.name, "addr", "add", f"{host.address}/24", "dev", INTERFACE)
            _run("ip", "-n", host.name, "link", "set", INTERFACE, "mtu", "60000", "up")
            if buffer_bytes:
                _set(host, "net.ipv4.tcp_wmem", f"4096 16384 {buffer_bytes}")
                _set(host, "net.ipv4.tcp_rmem", f"4096 131072 {buffer_bytes}")
        yield FarHosts(made, psutil.Process(router.pid))
    finally:
        if router is not None:
            assert router.stdin is not None
            assert router.stdout is not None
            router.stdin.close()
            router.wait(10)
            router.stdout.close()
        _remove([host.name for host in made])


def _set(host: Host, key: str, value: str) -> None:
    """Set a sysctl of that namespace."""
    path = f"/proc/sys/{key.replace('.', '/')}"
    _run(*host.command("sh", "-c", f"echo {value} > {path}"))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DniError(f"hosts: {' '.join(command)}: {done.stderr.strip()}")


def _remove(names: list[str]) -> None:
    for name in names:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
