"""The arms of a row: settings under a name, as ``NAME: --flags`` of dni-launch, with delays."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import click
from click.core import ParameterSource

from dni_async.config.settings.gradients import RuleSettings, SynthesizerSettings
from dni_async.errors import ConfigError
from dni_async.launcher.commands.options import CONTEXT, as_settings, run_settings

__all__ = ["BACKPROP", "DEFAULT_ARMS", "Arm", "arm_of"]

BACKPROP = "backprop"
DEFAULT_ARMS = ("default:", "dgl: --rule dgl", "fdg: --rule fdg")
# What a rule does, and backpropagation does not.
OF_RULES = {
    *(each.name for kind in (RuleSettings, SynthesizerSettings) for each in fields(kind)),
    "window",
    "stages",
    "partition",
}


@dataclass(frozen=True, slots=True)
class Arm:
    """settings: of a run. delays: see delays_of. watch: see ordered.train."""

    name: str
    flags: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    delays: str = "0"
    watch: str | None = None

    @property
    def is_reference(self) -> bool:
        """Whether it is backpropagation in one stage."""
        return self.settings.get("rule") == "backprop"

    @property
    def label(self) -> str:
        """The name, with the delay if there is one."""
        return self.name if self.delays == "0" else f"{self.name}, delay {self.delays}"

    @property
    def reference(self) -> Arm:
        """Backpropagation with the same optimizer, and whatever else is not of a rule."""
        kept = {name: value for name, value in self.settings.items() if name not in OF_RULES}
        said = " ".join(f"{name}={value}" for name, value in sorted(kept.items()))
        name = f"{BACKPROP}, {said}" if said else BACKPROP
        return Arm(name, settings=kept | {"rule": "backprop"})


@click.command(context_settings=CONTEXT)
@click.option("--watch")
@run_settings
def _flags(**_settings: Any) -> None:
    """What may stand behind an arm's name."""


def arm_of(text: str, delays: str = "0") -> Arm:
    """``NAME: --flags`` of dni-launch; --watch too, see ordered.train. Raises ConfigError."""
    name, colon, flags = text.partition(":")
    if not colon or not name.strip():
        raise ConfigError(f"arm: {text!r} is not like 'NAME: --rule dgl'")
    try:
        context = _flags.make_context("arm", shlex.split(flags))
    except (click.ClickException, ValueError) as error:
        said = error.format_message() if isinstance(error, click.ClickException) else str(error)
        raise ConfigError(f"arm {name.strip()!r}: {said}") from None
    given = _given(context, as_settings(context.params))
    watch = given.pop("watch", None)
    return Arm(name.strip(), flags.strip(), given, delays, watch)


def _given(context: click.Context, values: Mapping[str, Any]) -> dict[str, Any]:
    """What was said, not what stands in the environment or is so by itself."""
    said = ParameterSource.COMMANDLINE
    return {n: v for n, v in values.items() if context.get_parameter_source(n) == said}


def references(arms: Sequence[Arm]) -> list[Arm]:
    """Of all arms, each once."""
    found = {arm.reference.name: arm.reference for arm in arms}
    return list(found.values())
