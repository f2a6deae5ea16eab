"""The options of ``dni-launch`` that are settings of a run, and its help, by groups."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from dni_async.config.coercion import listed
from dni_async.config.meant import GONE, did_you_mean, unknown_variables
from dni_async.config.setting import Setting
from dni_async.config.settings import SETTINGS
from dni_async.errors import ConfigError

__all__ = [
    "CONTEXT",
    "FIRST_GROUP",
    "GOES_ON",
    "RUN_GROUP",
    "GroupedCommand",
    "GroupedOption",
    "as_settings",
    "check_report",
    "check_variables",
    "gone_options",
    "number_or_auto",
    "run_place",
    "run_settings",
]

F = TypeVar("F", bound=Callable[..., Any])
if TYPE_CHECKING:
    _Choice = click.Choice[str]
else:
    _Choice = click.Choice  # which older versions of click cannot subscribe to a type

FIRST_GROUP, RUN_GROUP = "Start here", "This run"
CONTEXT: Final = {
    "help_option_names": ["-h", "--help"],
    "auto_envvar_prefix": "DNI",
    "token_normalize_func": lambda token: token.replace("_", "-"),
    "max_content_width": 100,
}
"""Of a command that takes the settings of a run."""
GOES_ON: Final = "the run goes on without it"
"""What is said where the output of one is lost."""
_TYPES = {"int": int, "float": float}


class GroupedOption(click.Option):
    """An option that knows under which title --help shows it."""

    def __init__(self, *arguments: Any, group: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose --help shows options by group, those to start with first."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group, in the order in which the groups come."""
        sections: dict[str, list[tuple[str, str]]] = {FIRST_GROUP: []}
        others: list[tuple[str, str]] = []
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx)
            if record is None or isinstance(option, click.Argument):
                continue
            record = (_fitted(record[0], formatter.width), record[1])
            if isinstance(option, GroupedOption):
                sections.setdefault(option.group, []).append(record)
            else:
                others.append(record)
        for title, records in [*sections.items(), ("Help", others)]:
            with formatter.section(title):
                formatter.write_dl(records)


def _fitted(heading: str, width: int) -> str:
    """An option as its help is headed, which goes on below where a terminal is narrower than it."""
    if len(heading) + 2 <= width:
        return heading
    first, bar, last = heading.rpartition("|")
    return f"{_fitted(first + bar, width)}\n      {last}" if last and bar else heading


class Words(_Choice):
    """One of these words; of another it says which one may have been meant."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The word. Raises click.BadParameter."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            hint = did_you_mean(str(value), map(str, self.choices))
            self.fail(error.message.removesuffix("." if hint else "") + hint, param, ctx)


def number_or_auto(counts: str) -> Callable[[str | int], int | str]:
    """What reads a number of these things or auto; a file gives it as an int."""

    def read(value: str | int) -> int | str:
        text = str(value)
        if text == "auto":
            return text
        if not text.isascii() or not text.isdigit():
            hint = did_you_mean(text, ("auto",)) or "."
            raise click.BadParameter(f"{text!r} is neither a number of {counts} nor auto{hint}")
        return int(text)

    return read


def run_settings(command: F) -> F:
    """Give command an option for every setting, in their order."""
    for each in reversed(SETTINGS.values()):
        command = _option(each)(command)
    return command


def run_place(*, run_dir: str, overwrite: str, report: str) -> Callable[[F], F]:
    """Give command the options that say where one run goes; each with its help."""
    folder, file = click.Path(path_type=Path), click.Path(path_type=Path)
    own: dict[str, Any] = {"cls": GroupedOption, "group": RUN_GROUP}

    def give(command: F) -> F:
        command = click.option("--report", type=file, metavar="FILE.json", help=report, **own)(
            command
        )
        command = click.option("--overwrite", is_flag=True, help=overwrite, **own)(command)
        return click.option("--run-dir", type=folder, help=run_dir, **own)(command)

    return give


def as_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """What click has read, as RunConfig takes it: lists are written with commas."""
    lists = {name for name, each in SETTINGS.items() if each.is_list}
    return {
        name: listed(value) if name in lists and value is not None else value
        for name, value in values.items()
    }


def gone_options(command: F) -> F:
    """Have command say what has become of settings that there were."""
    for name in GONE:
        flag = "--" + name.replace("_", "-")
        off = f"--no-{flag[2:]}"
        command = click.option(
            f"{flag}/{off}", name, hidden=True, expose_value=False, callback=refuse_gone
        )(command)
    return command


def refuse_gone(_ctx: click.Context, param: click.Parameter, is_given: bool | None) -> None:
    """Raises click.UsageError, which says what has become of it."""
    if is_given:
        raise click.UsageError(f"{param.opts[0]} {GONE[str(param.name)]}")


def check_report(report: Path | None) -> None:
    """Raises ConfigError where --report names a file in no folder."""
    if report is not None and not report.absolute().parent.is_dir():
        raise ConfigError(f"report: the folder {report.absolute().parent} does not exist")


def check_variables() -> None:
    """Raises ConfigError for what stands in the environment as a setting does, and is none."""
    places = ("DNI_RUN_DIR", "DNI_OVERWRITE", "DNI_REPORT", "DNI_RESUME")
    known = {*(each.variable for each in SETTINGS.values()), *places}
    unknown = list(unknown_variables(os.environ, known))
    if unknown:
        raise ConfigError("; ".join(unknown))


def _option(each: Setting) -> Callable[[F], F]:
    """The option of one setting; its default is the setting's."""
    said = each.said
    default = ",".join(each.default) if isinstance(each.default, tuple) else each.default
    help_text = said.help
    if said.default_text:
        help_text += f"  [default: {said.default_text}]"
    return click.option(
        f"{each.flag}/--no-{each.flag[2:]}" if "bool" in each.kinds else each.flag,
        each.name,
        cls=GroupedOption,
        group=FIRST_GROUP if said.starts_here else each.group,
        type=_type(each),
        default=default,
        show_default=not said.default_text and default is not None,
        shell_complete=_completes(each),
        metavar=said.metavar or None,
        help=help_text,
    )


def _completes(each: Setting) -> Callable[..., Any] | None:
    """What tells a shell the names that the value can be; None: as its type does."""
    if each.choices or not each.known:
        return None

    def complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> Any:
        from dni_async.launcher.commands.completion import words_that_fit

        return words_that_fit(each.known, incomplete, is_list=each.is_list)

    return complete


def _type(each: Setting) -> Any:
    """How click reads the value; None: as its default is."""
    if each.choices:
        return Words(each.choices)
    if each.said.counts:
        return number_or_auto(each.said.counts)
    return next((kind for name, kind in _TYPES.items() if name in each.kinds), None)
