"""Look at this host and judge what is seen: everything of the doctor that needs no peer."""

from __future__ import annotations

import errno
import os
import platform
import re
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from dni_async.addresses import try_listening
from dni_async.errors import WorkerDied
from dni_async.files.scratch import make_scratch, remove_scratch
from dni_async.launcher.doctor.finding import Finding
from dni_async.launcher.doctor.host.findings import (
    judge_clock,
    judge_descriptors,
    judge_libzmq,
    judge_load,
    judge_packages,
    judge_ptrace,
    judge_python,
    judge_shm,
    judge_system,
)
from dni_async.launcher.doctor.host.place_findings import (
    judge_device_sharing,
    judge_devices,
    judge_listen,
    judge_memory_sharing,
)
from dni_async.launcher.doctor.link.reach import Address
from dni_async.launcher.places.local import ask
from dni_async.launcher.plan.host.facts import look_at_cores, look_at_loopback, look_at_temporary
from dni_async.launcher.plan.host.findings import judge_memory, judge_threads
from dni_async.system.machine import available_bytes, available_cores, has_nvidia_device
from dni_async.transport.sockets import has_encryption, library_version

__all__ = [
    "installed",
    "look_at_host",
    "look_at_listening",
    "look_at_sharing",
    "look_at_torch",
]

PACKAGES = ("torch", "pyzmq", "msgpack")
TORCH_S = 60.0  # to import it from a cold disk, and for a driver to come up
SHARING_S = 90.0
CLOCK_CALLS = 1000


def installed(name: str) -> str:
    """The version of a distribution; empty where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def look_at_host() -> Iterator[Finding]:
    """What takes no time and no torch."""
    yield judge_python(sys.version_info[:3])
    yield from judge_packages({name: installed(name) for name in PACKAGES}, _floors())
    yield judge_libzmq(library_version(), has_encryption=has_encryption())
    yield judge_system(platform.system(), platform.release(), platform.machine())
    yield look_at_cores()
    yield judge_load(os.getloadavg()[0], available_cores())
    yield judge_memory(available_bytes())
    yield from judge_threads(os.environ)
    yield judge_descriptors(*map(_limit, resource.getrlimit(resource.RLIMIT_NOFILE)))
    yield look_at_temporary()
    yield judge_shm(_size_of(Path("/dev/shm")))
    yield judge_ptrace(_number(Path("/proc/sys/kernel/yama/ptrace_scope")))
    yield look_at_loopback()
    yield judge_clock(*_clock())


def look_at_torch(width: int, batch_size: int) -> tuple[list[Finding], dict[str, Any] | None]:
    """Its devices; with the facts of torch_facts, None where torch does not work here."""
    try:
        job = {"width": width, "batch_size": batch_size}
        facts = ask("dni_async.launcher.doctor.host.torch_facts", job, 1, TORCH_S)
    except WorkerDied as error:
        what = f"cannot be used: {_last_line(error)}"
        remedy = f"{sys.executable} -c 'import torch; torch.cuda.is_available()' shows it"
        return [Finding("torch", "bad", what, remedy)], None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return judge_devices(facts, has_driver=has_nvidia_device(), visible=visible), facts


def look_at_sharing(facts: dict[str, Any]) -> list[Finding]:
    """Whether two processes can share memory, here and on each GPU of facts."""
    devices = [device["index"] for device in facts["devices"]]
    try:
        folder = make_scratch().path
        with ExitStack() as after:
            after.callback(remove_scratch, folder)
            job = {"folder": folder, "devices": devices}
            told = ask("dni_async.launcher.doctor.host.sharing_trial", job, 1, SHARING_S)
    except (WorkerDied, OSError) as error:
        return [judge_memory_sharing(f"the trial failed ({_last_line(error)})")]
    return [judge_memory_sharing(told["memory"]), *judge_device_sharing(told["devices"])]


def look_at_listening(address: Address) -> Finding:
    """Bind it and let go."""
    code = 0
    try:
        try_listening(address.host, address.port)
    except OSError as error:
        code = error.errno or errno.EINVAL
    return judge_listen(address.text, code)


def _floors() -> dict[str, str]:
    """The oldest version of each package that dni-async says it needs."""
    try:
        wishes = requires("dni-async") or []
    except PackageNotFoundError:
        return {}
    found = (re.match(r"([\w.-]+)\s*>=\s*([\d.]+)", wish) for wish in wishes)
    return {each.group(1): each.group(2) for each in found if each}


def _clock() -> tuple[float, float, str]:
    begun = time.perf_counter()
    for _ in range(CLOCK_CALLS):
        time.monotonic()
    call_s = (time.perf_counter() - begun) / CLOCK_CALLS
    kernel = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    source = kernel.read_text(encoding="ascii").strip() if kernel.is_file() else ""
    return time.get_clock_info("monotonic").resolution, call_s, source


def _size_of(folder: Path) -> int | None:
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_blocks * status.f_frsize


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _limit(value: int) -> int:
    return -1 if value == resource.RLIM_INFINITY else value


def _last_line(error: Exception) -> str:
    return str(error).strip().rpartition("\n")[2]
