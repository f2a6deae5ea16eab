"""What ``--rule auto`` chooses among: settings of a rule and its synthesizer, under a name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dni_async.config.run_config import RunConfig
from dni_async.config.settings import SETTINGS
from dni_async.errors import ConfigError

__all__ = ["CANDIDATES", "Candidate", "candidates_of"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """settings: what it has other than their defaults; those of the user's own stay."""

    name: str
    rule: str
    settings: Mapping[str, Any] = field(default_factory=dict)


# The first is taken where no other is better. All else that a run of them has is its own default,
# the window too: what is changed there changes here.
CANDIDATES: Final = (
    Candidate("dni", "dni"),
    Candidate("dni with copies", "dni", {"synthesizer": "copy"}),
    Candidate("dni with longer copies", "dni", {"synthesizer": "copy", "synthesizer_layers": 1}),
    Candidate("dgl", "dgl"),
    Candidate("fdg", "fdg"),
)


def candidates_of(config: RunConfig) -> dict[str, RunConfig]:
    """By name, in order, the run of config with the settings of each.

    Those that do not go with the other settings are left out, and so are those that come to the
    same as an earlier one.
    """
    found: dict[str, RunConfig] = {}
    for candidate in CANDIDATES:
        is_free = {name: getattr(config, name) == SETTINGS[name].default for name in SETTINGS}
        settings = {name: v for name, v in candidate.settings.items() if is_free[name]}
        try:
            made = dataclasses.replace(config, rule=candidate.rule, **settings)
        except ConfigError:
            continue
        if made not in found.values():
            found[candidate.name] = made
    return found
