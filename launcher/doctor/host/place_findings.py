"""Judge where a run puts sockets, shares memory and computes: facts in, findings out; no I/O."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dni_async.addresses import another_place
from dni_async.launcher.doctor.finding import Finding

__all__ = [
    "judge_device_sharing",
    "judge_devices",
    "judge_listen",
    "judge_memory_sharing",
]


def judge_memory_sharing(reason: str) -> Finding:
    """reason: why two processes could not use one memory as a link does; empty if they could."""
    if reason:
        return Finding(
            "shared memory",
            "doubtful",
            f"{reason}: large tensors travel in frames, which is slower",
            "allow memfd_create and unix sockets (the seccomp profile of a container, the kernel)",
        )
    return Finding("shared memory", "good", "two processes used the same slots (memfd)")


def judge_devices(
    facts: Mapping[str, Any], *, has_driver: bool, visible: str | None
) -> list[Finding]:
    """facts: of torch_facts. has_driver: an NVIDIA driver shows itself. visible:
    CUDA_VISIBLE_DEVICES, if set.
    """
    devices = facts["devices"]
    if not devices:
        return [_no_device(facts, has_driver=has_driver, visible=visible)]
    return [_device(device) for device in devices]


def judge_device_sharing(reasons: Mapping[str, str]) -> list[Finding]:
    """reasons: as of judge_memory_sharing, for the index of each GPU."""
    findings = []
    for index, reason in reasons.items():
        if reason:
            what = f"cuda:{index}: {reason}: stages there pass tensors through main memory"
            remedy = "in a container: one with all workers, and --ipc host"
            findings.append(Finding("CUDA IPC", "doubtful", what, remedy))
        else:
            what = f"two processes used the same memory of cuda:{index}"
            findings.append(Finding("CUDA IPC", "good", what))
    return findings


def _no_device(facts: Mapping[str, Any], *, has_driver: bool, visible: str | None) -> Finding:
    if not has_driver:
        return Finding("devices", "good", "cpu; no NVIDIA driver, so CUDA IPC is not applicable")
    if visible is not None and visible.strip() in {"", "-1"}:
        what = f"cpu: CUDA_VISIBLE_DEVICES={visible} hides every GPU"
        return Finding("devices", "doubtful", what, "unset CUDA_VISIBLE_DEVICES")
    if facts["cuda"] is None:
        what = f"cpu: a GPU's driver is here, but torch {facts['torch']} was built without CUDA"
        remedy = "install torch with CUDA: https://pytorch.org/get-started/locally"
        return Finding("devices", "doubtful", what, remedy)
    what = f"cpu: a GPU's driver is here, but torch with CUDA {facts['cuda']} finds no device"
    remedy = "nvidia-smi names the driver's version and what is wrong; in a container: --gpus all"
    return Finding("devices", "doubtful", what, remedy)


def _device(device: Mapping[str, Any]) -> Finding:
    free, total = device["free_bytes"] / 2**30, device["total_bytes"] / 2**30
    name = f"cuda:{device['index']}"
    text = f"{device['name']}, {free:.1f} of {total:.1f} GB free"
    if free < 0.5 * total:
        remedy = "nvidia-smi names the processes that hold it"
        return Finding(name, "doubtful", f"{text}: other programs hold the rest", remedy)
    return Finding(name, "good", text)


def judge_listen(address: str, error: int) -> Finding:
    """error: errno of binding it, 0 if it could."""
    name = f"listen {address}"
    if not error:
        return Finding(name, "good", "can be listened on")
    return Finding(
        name, "bad", f"cannot be listened on: {os.strerror(error)}", another_place(error)
    )
