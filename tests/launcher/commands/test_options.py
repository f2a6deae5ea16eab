"""The command line's options: every setting, by groups, under the same name everywhere."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from dni_async import ConfigError, RunConfig
from dni_async.config.coercion import listed
from dni_async.config.meant import GONE
from dni_async.config.run_config import read_toml
from dni_async.config.settings import SETTINGS
from dni_async.launcher.cli import command, describe
from dni_async.launcher.commands.options import FIRST_GROUP, RUN_GROUP, GroupedOption, run_settings
from dni_async.launcher.options_page import default_of, options_page
from tests.structure import ROOT

# A value for each setting that is not its default, as it is typed.
OTHERS = {
    "rule": "dgl",
    "synthesizer": "mlp",
    "model": "residual",
    "stages": "2",
    "window": "auto",
    "checkpoint_every": "30s",
    "seed": "5",
}


def other_value(name: str) -> str:
    """Something else than the default that the command line takes."""
    each = SETTINGS[name]
    if name in OTHERS:
        return OTHERS[name]
    if each.choices:
        return next(choice for choice in each.choices if choice != each.default)
    if "bool" in each.kinds:
        return "false" if each.default else "true"
    if {"int", "float"} & each.kinds:
        return "7" if "int" in each.kinds else "0.5"
    return "cpu,cuda:1" if each.is_list else "some text"


def parsed(*arguments: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """What the options come to."""
    found: dict[str, Any] = {}

    @click.command(context_settings={"auto_envvar_prefix": "DNI"})
    @run_settings
    def read(**settings: Any) -> None:
        found.update(settings)

    done = CliRunner().invoke(read, arguments, env=environment, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return found


def flagged(name: str) -> str:
    """The flag that gives a setting its other value."""
    value, each = other_value(name), SETTINGS[name]
    if "bool" in each.kinds:
        return each.flag if value == "true" else f"--no-{each.flag[2:]}"
    return f"{each.flag}={value}"


def test_without_flags_every_setting_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DNI_DATA_DIR", raising=False)  # where the tests find MNIST
    expected = {name: each.default for name, each in SETTINGS.items()}
    found = parsed()
    for name, each in SETTINGS.items():
        if each.is_list and found[name] is not None:
            found[name] = listed(found[name])
    assert found == expected


@pytest.mark.parametrize("name", SETTINGS)
def test_flag_variable_and_key_have_the_same_name_and_meaning(name: str, tmp_path: Path) -> None:
    by_flag = parsed(flagged(name))[name]
    assert by_flag != SETTINGS[name].default
    assert parsed(environment={SETTINGS[name].variable: other_value(name)})[name] == by_flag
    path = tmp_path / "run.toml"
    path.write_text(f"{name} = {_toml(by_flag)}\n", encoding="utf-8")
    by_file = read_toml(path)[name]
    assert (",".join(by_file) if SETTINGS[name].is_list else by_file) == by_flag


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def help_of(columns: int = 80) -> str:
    """What --help prints."""
    done = CliRunner().invoke(command, ["--help"], terminal_width=columns)
    assert done.exit_code == 0
    return done.output


def test_help_begins_with_ten_options_and_has_every_other_in_its_group() -> None:
    text = help_of()
    sections = dict(re.findall(r"^(\S.*):\n((?:  .*\n|\n)+)", text, flags=re.MULTILINE))
    titles = [title for title in sections if title != "Usage"]
    groups = dict.fromkeys(each.group for each in SETTINGS.values())
    assert titles == [FIRST_GROUP, *groups, RUN_GROUP, "Help"]
    for name, each in SETTINGS.items():
        title = FIRST_GROUP if each.said.starts_here else each.group
        assert re.search(rf"^  {each.flag}\b", sections[title], re.MULTILINE), name
    assert len(re.findall(r"^  --", sections[FIRST_GROUP], re.MULTILINE)) == 10


def test_help_fits_80_columns() -> None:
    assert not [line for line in help_of().splitlines() if len(line) > 80]


def test_every_option_but_those_of_click_belongs_to_a_group() -> None:
    others = [p for p in command.params if not isinstance(p, GroupedOption)]
    others = [p for p in others if p.name not in GONE]
    assert {param.name for param in others} == {"config_file", "version"}


def test_the_page_of_options_is_what_the_settings_say() -> None:
    """To write it anew: python -m dni_async.launcher.options_page > docs/options.md"""
    written = (ROOT / "docs/options.md").read_text(encoding="utf-8")
    assert written == options_page(ROOT / "docs/decisions")


@pytest.mark.parametrize("name", SETTINGS)
def test_the_page_shows_each_default(name: str) -> None:
    page = (ROOT / "docs/options.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| \**`{SETTINGS[name].flag}[ `].*", page, re.MULTILINE)
    default = re.split(r"(?<!\\)\|", row)[2].strip()
    assert default == default_of(SETTINGS[name])


@pytest.mark.parametrize("asked", [{"targets": "bootstrap"}, {"rule": "fdg"}, {}, {"rule": "dgl"}])
def test_the_page_tells_the_window_that_rules_take(asked: dict[str, str]) -> None:
    config = RunConfig(**asked)
    words = re.fullmatch(
        r"(\d+); (\d+) with --targets bootstrap and with --rule fdg",
        SETTINGS["window"].said.default_text,
    )
    assert words is not None
    is_stale = asked in ({"targets": "bootstrap"}, {"rule": "fdg"})
    assert config.first_window == int(words[2 if is_stale else 1])


def test_the_readme_leads_to_the_page() -> None:
    assert "docs/options.md" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_help_fits_the_terminal(width: int) -> None:
    said = CliRunner().invoke(command, ["--help"], terminal_width=width).output
    assert max(map(len, said.splitlines())) <= width
    assert "PACKAGE.MODULE:FUNCTION" in said


def test_what_is_said_of_the_settings_holds_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DNI_")]:
        monkeypatch.delenv(name)
    ctx = command.make_context("dni-launch", ["--mlflow", "mysql://me:secret@host/db"])
    assert describe(ctx, None) == "settings: mlflow mysql://me:***@host/db (flag)"


@pytest.mark.parametrize("name", GONE)
def test_a_setting_that_there_was_is_refused_by_name(name: str, tmp_path: Path) -> None:
    flag = "--" + name.replace("_", "-")
    given = CliRunner().invoke(command, [flag])
    assert given.exit_code == 2
    assert f"Error: {flag} is gone, as " in given.output
    assert flag not in help_of()
    file = tmp_path / "run.toml"
    file.write_text(f"{flag[2:]} = true\n")
    with pytest.raises(ConfigError, match=f"run.toml: {name}: is gone, as "):
        read_toml(file)
    file.write_text(f"{flag[2:]} = false\n")  # as every run directory of then has it
    assert read_toml(file) == {}
