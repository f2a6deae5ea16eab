"""Commands in the docs are commands that there are, with options that they take."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import pytest

from dni_async.launcher.cli import SUBCOMMANDS
from dni_async.launcher.cli import command as launch
from dni_async.launcher.commands.report import command as report
from dni_async.launcher.doctor.cli import command as doctor
from dni_async.workers.__main__ import main as worker
from tests.documented import OURS, PAGES, arguments, blocks, commands
from tests.structure import ROOT

COMMANDS = dict(zip(OURS, (launch, report, doctor, worker), strict=True))
BENEATH = {("dni-launch", name): command for name, command in SUBCOMMANDS.items()}
ELLIPSIS = re.compile(r"\[?\.\.\.\]?")
WHOLE = [(block, text) for page in PAGES for block in blocks(page) for text in commands(block)]


@pytest.mark.parametrize("name", [page.relative_to(ROOT).as_posix() for page in PAGES])
def test_the_commands_of_a_page_are_understood(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for block, text in WHOLE:
        if block.page != name:
            continue
        for program, words in arguments(text):
            kept = [word for word in words if not ELLIPSIS.fullmatch(word)]
            beneath = BENEATH.get((program, *kept[:1]))
            command = beneath or COMMANDS[program]
            for word in kept:
                if word.endswith(".toml"):
                    Path(word).touch()
            try:
                command.make_context(program, kept[1:] if beneath else kept).close()
            except click.exceptions.Exit as ended:  # of --help
                if ended.exit_code:
                    pytest.fail(f"{block.place}: {text}")
            except Exception as error:
                pytest.fail(f"{block.place}: {text}\n{error}")


def test_there_are_commands_in_the_docs() -> None:
    assert len(WHOLE) > 40


def test_python_in_the_docs_is_python() -> None:
    for page in PAGES:
        for block in blocks(page):
            if block.kind == "python":
                try:
                    ast.parse(block.text)
                except SyntaxError as error:
                    pytest.fail(f"{block.place}: {error}")
