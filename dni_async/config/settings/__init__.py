"""All settings of a run, declared by group: each in one place, with all that is said about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dni_async.config.setting import declared_in
from dni_async.config.settings.gradients import RuleSettings, SynthesizerSettings
from dni_async.config.settings.learning import LearningSettings
from dni_async.config.settings.links import LinkSettings
from dni_async.config.settings.losses import LossSettings
from dni_async.config.settings.measures import MeasureSettings
from dni_async.config.settings.network import DataSettings, NetworkSettings
from dni_async.config.settings.placement import HostSettings, StageSettings
from dni_async.config.settings.record import ComparisonSettings, FailureSettings, RecordSettings

__all__ = ["CHOICES", "RESUMABLE", "SETTINGS", "Settings"]

_GROUPS: Final = {
    "The network": NetworkSettings,
    "The data": DataSettings,
    "What it minimises": LossSettings,
    "How it learns": LearningSettings,
    "How a stage gets its gradient": RuleSettings,
    "What predicts gradients": SynthesizerSettings,
    "Stages and what they compute on": StageSettings,
    "Links between stages": LinkSettings,
    "Other hosts": HostSettings,
    "When something fails": FailureSettings,
    "What is measured, and when a run ends": MeasureSettings,
    "What it is compared with": ComparisonSettings,
    "What is recorded": RecordSettings,
}


@dataclass(frozen=True, kw_only=True)
class Settings(  # fields come in the order of the groups: a dataclass reads its last base first
    RecordSettings,
    ComparisonSettings,
    MeasureSettings,
    FailureSettings,
    HostSettings,
    LinkSettings,
    StageSettings,
    SynthesizerSettings,
    RuleSettings,
    LearningSettings,
    LossSettings,
    DataSettings,
    NetworkSettings,
):
    """The values of one run, not checked: see run_config."""

    @property
    def over_tcp(self) -> bool:
        """Whether workers talk to the launcher by a port."""
        return self.transport == "tcp" or self.has_remote


SETTINGS: Final = {
    each.name: each for title, group in _GROUPS.items() for each in declared_in(group, title)
}
"""Name to what is said about it, in the order of the groups."""

CHOICES: Final = {each.name: each.choices for each in SETTINGS.values() if each.choices}
"""The words that a setting can be, where it can be nothing else."""

RESUMABLE: Final = frozenset(each.name for each in SETTINGS.values() if each.said.resumable)
"""What a resumed run may set anew: none of it changes what has been learnt so far."""
