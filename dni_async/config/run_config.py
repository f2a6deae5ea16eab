"""What a run is: one frozen value, validated when made, read from and written to TOML."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import tomli_w

from dni_async.config.checks import check_together, check_with_rule
from dni_async.config.coercion import coerce, unknown_key
from dni_async.config.extensions import make_extension
from dni_async.config.meant import GONE, did_you_mean_file
from dni_async.config.metric_names import default_metrics, label_of, traits_of_metric
from dni_async.config.own_loss import taken_by
from dni_async.config.settings import RESUMABLE, SETTINGS, Settings
from dni_async.config.target_form import Taken
from dni_async.decisions.goal import LOSS, Goal
from dni_async.decisions.rules import RULE_MEMBERS, Rule, Traits, built_in, traits_of
from dni_async.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["RunConfig", "read_toml"]

MAX_CHARACTERS = 2**20  # of a file of settings
MAX_AUTO_WINDOW = 256
"""As wide as --window auto makes any: 50 ms there and back, and a batch every 0.2 ms."""
_LISTS = tuple(name for name, each in SETTINGS.items() if each.is_list)


@dataclass(frozen=True, kw_only=True)
class RunConfig(Settings):
    """One run. Field names are the long options of ``dni-launch`` with underscores.

    Raises ConfigError when a value is out of range or two values do not go together. What
    needs the data or the machine (enough samples, devices that exist) is checked by the launcher;
    what a rule of the user's own asks for, when that is made, as its module may not be here.
    """

    def __post_init__(self) -> None:
        for name, each in SETTINGS.items():
            each.check(getattr(self, name))
        check_together(self)
        if built_in(self.rule) is not None:
            check_with_rule(self, self.rule_traits)

    def make_rule(self) -> Rule:
        """The rule that the run names; a class of the user's own is given the config.

        Raises ConfigError when that is no rule, or does not go with the other settings.
        """
        named = built_in(self.rule)
        if named is not None:
            return named.made(self)
        rule = cast("Rule", make_extension("rule", self.rule, RULE_MEMBERS, self))
        check_with_rule(self, traits_of(rule))
        return rule

    @cached_property
    def _rule(self) -> Rule:
        """One to be asked, not to train by."""
        return self.make_rule()

    @property
    def rule_traits(self) -> Traits:
        """What the run's rule says of itself. Raises ConfigError, as make_rule."""
        return traits_of(self._rule)

    @property
    def places(self) -> int:
        """The places of every link, as many as its window can ever be with the run's rule."""
        most = MAX_AUTO_WINDOW if self.window == "auto" else self.first_window
        return self._rule.window(most)

    @property
    def first_window(self) -> int:
        """The window of every link, with "auto" the one that it begins with.

        As asked, else the rule's default; and no wider than the rule uses.
        """
        asked = self.window if isinstance(self.window, int) else self.rule_traits.default_window
        return self._rule.window(asked)

    @cached_property
    def taken(self) -> Taken:
        """What the run's loss takes for targets. Raises ConfigError if it does not import."""
        return taken_by(self.loss, self.ignore_index)

    def fixed(self) -> dict[str, Any]:
        """The settings that a resumed run may not change, as plain values."""
        return {name: v for name, v in self.to_dict().items() if name not in RESUMABLE}

    def tested_at(self, epoch: int) -> int:
        """The end of which epoch the network is tested at next, when this one is trained.

        Every evaluate_every-th and the last one; epochs in between go on without a pause.
        """
        return min(self.epochs, -(-epoch // self.evaluate_every) * self.evaluate_every)

    @property
    def is_drained(self) -> bool:
        """Whether the line is drained before each test and behind it.

        Else batches follow markers at once: each stage works in order, so a test is of the weights
        that it follows. It is drained where stages update out of order or do without their
        neighbours, and where a test decides what comes next or is kept.
        """
        decides = self.early_stop or self.patience is not None or self.keep_best
        waits = self.when_full == self.when_empty == "wait" and self.unlock != "forward"
        return decides or not waits or not self.rule_traits.updates_in_turn

    @property
    def saves(self) -> bool:
        """Whether the run makes checkpoints, asked for or to move layers."""
        return self.checkpoint_every is not None or self.keep_best or self.may_move

    @property
    def measured(self) -> tuple[str, ...]:
        """The metrics of the run, as settings write them: those asked for, and the chosen one."""
        asked = default_metrics(self.taken) if self.metrics is None else self.metrics
        chosen = () if self.metric is None else (self.metric,)
        labels = {LOSS, *map(label_of, asked)}
        return (*asked, *(each for each in chosen if each not in labels))

    @property
    def goal(self) -> Goal:
        """What the run is judged by."""
        chosen = self.metric or next(map(label_of, self.measured), LOSS)
        return Goal(
            metric=chosen,
            mode=self.metric_mode or traits_of_metric(chosen).mode,
            target=self.target,
            ends_early=self.early_stop,
            patience=self.patience,
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values (str, int, float, bool, None, list of str)."""
        values = {name: getattr(self, name) for name in SETTINGS}
        lists = {name: list(value) for name in _LISTS if (value := values[name]) is not None}
        return values | lists

    def to_toml(self) -> str:
        """The run as TOML text; unset values are left out, so it reads back the same."""
        return tomli_w.dumps({k: v for k, v in self.to_dict().items() if v is not None})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """Check keys and types, then build. Raises ConfigError for what is unknown or ill-typed."""
        return cls(**{key: _coerced(key, value) for key, value in values.items()})


def read_toml(path: Path) -> dict[str, Any]:
    """The keys of a TOML run file, dashes as underscores.

    Raises ConfigError when the file is missing, is no TOML, holds an unknown key or a wrong type.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_CHARACTERS + 1)
        if len(text) > MAX_CHARACTERS:
            raise ConfigError(f"{path}: has more than {MAX_CHARACTERS:,} characters")
        values = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}{did_you_mean_file(path)}"
        ) from error
    except (ValueError, RecursionError) as error:  # also for numbers or nesting without end
        raise ConfigError(f"{path}: is not valid TOML: {error}") from error
    values = {key.replace("-", "_"): value for key, value in values.items()}
    values = {key: value for key, value in values.items() if key not in GONE or value}  # was off
    try:
        return {key: _coerced(key, value) for key, value in values.items()}
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _coerced(key: str, value: Any) -> Any:
    """A setting's value as the type that it has. Raises ConfigError."""
    if key not in SETTINGS:
        raise ConfigError(unknown_key(key, SETTINGS))
    return coerce(key, value, SETTINGS[key].annotation)
