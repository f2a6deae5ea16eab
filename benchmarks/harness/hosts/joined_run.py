"""A run whose launcher and workers are on hosts of their own."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness.hosts.hosts import Host
from dni_async.errors import DniError, WorkerDied
from dni_async.launcher.places.local import command_for, thread_environment
from dni_async.transport.keys import write_keys
from dni_async.transport.rings import make_key_pair

__all__ = ["JoinedRun", "accuracy", "joined_run", "samples_per_second"]

PORT = 5555
PATIENCE_S = 900.0
LEAVE_S = 10.0


class JoinedRun:
    """A launcher on the first host, and a worker on each."""

    def __init__(self, hosts: Sequence[Host], flags: Sequence[str], folder: Path) -> None:
        self.run_dir = folder / "run"
        self._output = (folder / "output").open("w+b")
        self._environment = {
            **thread_environment(1, shares_cores=True),
            "TMPDIR": str(folder),
        }
        keys = folder / "keys"
        write_keys(keys, coordinator=make_key_pair(), worker=make_key_pair())
        self._keys = f"--keys={keys}"
        address = f"tcp://{hosts[0].address}:{PORT}"
        self._launcher = self._start(
            hosts[0],
            *("dni_async.launcher.cli", "--workers=remote", f"--listen={address}"),
            *(self._keys, f"--run-dir={self.run_dir}", *flags),
        )
        self._address = address
        self.workers = [self._join(host, f"--stage={k}") for k, host in enumerate(hosts)]

    def add_spare(self, host: Host) -> None:
        """A worker on one more host, for whatever stage loses its own."""
        self.workers.append(self._join(host))

    def _join(self, host: Host, *flags: str) -> subprocess.Popen[bytes]:
        how = (self._keys, "--threads=1", f"--join={self._address}")
        return self._start(host, "dni_async.workers.__main__", *how, *flags)

    def _start(self, host: Host, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            host.command(*command_for(module, *arguments)),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,
        )

    @property
    def output(self) -> str:
        """What everybody has printed so far."""
        return Path(self._output.name).read_text(errors="replace")

    @property
    def num_epochs(self) -> int:
        """How many have ended."""
        try:
            return (self.run_dir / "metrics.jsonl").read_text().count('"train_loss"')
        except OSError:
            return 0

    def wait_for(self, pattern: str) -> None:
        """Until somebody has printed that. Raises DniError after a quarter of an hour."""
        deadline = time.monotonic() + PATIENCE_S
        while not re.search(pattern, self.output):
            if self._launcher.poll() is not None or time.monotonic() > deadline:
                raise DniError(f"{pattern!r} did not come:\n{self.output[-3000:]}")
            time.sleep(0.1)

    def end(self) -> dict[str, Any]:
        """Wait for the end; the report. Raises WorkerDied if it did not end well."""
        try:
            code = self._launcher.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise WorkerDied(f"the run has not ended:\n{self.output[-3000:]}", 1) from None
        if code != 0:
            raise WorkerDied(f"the run ended with {code}:\n{self.output[-3000:]}", code)
        report: dict[str, Any] = json.loads((self.run_dir / "report.json").read_text())
        return report

    def close(self) -> None:
        """End all that is left: at once where the run goes on, else as they leave by themselves."""
        deadline = time.monotonic() + LEAVE_S
        goes_on = self._launcher.poll() is None
        for process in (self._launcher, *self.workers):
            if goes_on:
                process.kill()
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._output.close()


@contextmanager
def joined_run(hosts: Sequence[Host], *flags: str) -> Iterator[JoinedRun]:
    """A run that is going, a host for each stage; flags are dni-launch's. Nothing is left after."""
    with tempfile.TemporaryDirectory(prefix="dni-cluster-") as name:
        run = JoinedRun(hosts, flags, Path(name))
        try:
            yield run
        finally:
            run.close()


def samples_per_second(report: dict[str, Any]) -> float:
    """Of the decoupled run, without its first epoch."""
    epochs = report["runs"][0]["epochs"]
    counted = epochs[1:] or epochs
    return float(sum(e["num_samples"] for e in counted) / sum(e["seconds"] for e in counted))


def accuracy(report: dict[str, Any]) -> float:
    """At the end, of the decoupled run."""
    return float(report["runs"][0]["test_metrics"]["accuracy"])
