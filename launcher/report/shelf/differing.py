"""How the settings and the machines of several runs differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dni_async.launcher.report.rows import setting_text

__all__ = ["differences", "machine_of"]

_MACHINE: Final = ("processor", "cores", "devices", "torch")


def differences(settings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The settings that are not the same in all of them: name, and the values as text."""
    known = dict.fromkeys(name for each in settings for name in each)
    found = []
    for name in known:
        values = [setting_text(each[name]) if name in each else "not there" for each in settings]
        if len(set(values)) > 1:
            found.append({"name": name, "values": values})
    return found


def machine_of(environment: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's speed depends on beside its settings, as far as its report tells."""
    return {name: environment[name] for name in _MACHINE if name in environment}
