"""What shells are told that complete a line: by the protocol, and in a real bash."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dni_async.config.names import OPTIMIZERS
from dni_async.config.settings import SETTINGS
from dni_async.data.catalog import DATASET_NAMES
from dni_async.decisions.rules import AUTO, RULES
from dni_async.launcher.cli import SUBCOMMANDS, command
from dni_async.launcher.commands import report
from dni_async.launcher.commands.completion import run_dirs
from dni_async.launcher.commands.exits import exit_code_of

Ask = Callable[..., list[str]]


@pytest.fixture
def completed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """The answers to a line as bash cuts it, the last word of which is completed."""

    def ask(*words: str, name: str = "dni-launch") -> list[str]:
        monkeypatch.setenv("COMP_WORDS", "\n".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        monkeypatch.setenv(f"_{name.replace('-', '_').upper()}_COMPLETE", "bash_complete")
        asked, below = (command, SUBCOMMANDS) if name == "dni-launch" else (report.command, {})
        assert exit_code_of(asked, [], name, below) == 0
        told = capsys.readouterr()
        assert told.err == ""
        return told.out.split()

    return ask


def plain(*names: str) -> list[str]:
    return [f"plain,{name}" for name in names]


def test_options_and_their_values_are_completed(completed: Ask) -> None:
    options = completed("dni-launch", "--")
    assert {f"plain,{each.flag}" for each in SETTINGS.values()} < set(options)
    assert completed("dni-launch", "--rule", "") == plain(*RULES, AUTO)
    assert completed("dni-launch", "--data", "") == plain(*DATASET_NAMES)
    assert completed("dni-launch", "--optimizer", "")[: len(OPTIMIZERS)] == plain(*OPTIMIZERS)
    assert completed("dni-launch", "--dtype", "b") == plain("bf16")
    assert completed("dni-launch", "--stages", "a") == plain("auto")
    assert completed("dni-launch", "--data", "own") == ["file,own"]


def test_of_a_list_the_last_name_is_completed(completed: Ask) -> None:
    assert completed("dni-launch", "--metrics", "accuracy,r") == plain(
        "accuracy,r2", "accuracy,rmse"
    )
    assert completed("dni-launch", "--workers", "local,l") == ["file,local,l"]


def test_words_that_bash_cuts_are_put_together(completed: Ask) -> None:
    assert completed("dni-launch", "--rule", "=", "no") == plain("no-bprop")
    assert completed("dni-launch", "--rule", "=") == plain(*RULES, AUTO)
    assert completed("dni-launch", "--optimizer", "torch.optim", ":", "NA") == plain("NAdam")
    assert completed("dni-launch", "--optimizer", "=", "torch.optim", ":") != []
    assert completed("dni-launch", "--model", "a", ":", "b", "--rule", "f") == plain("fdg")


def test_subcommands_and_theirs_are_completed(completed: Ask) -> None:
    assert completed("dni-launch", "k")[-1] == "plain,keys"
    assert completed("dni-launch", "keys", "--h") == plain("--help")


def test_run_directories_are_completed(
    completed: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("plain", "place"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.toml").write_text("")
    (tmp_path / "runs" / "foreign").mkdir()
    assert completed("dni-report", "", name="dni-report") == plain("runs/place", "runs/plain")
    assert completed("dni-report", "runs/p", name="dni-report")[-1] == "plain,runs/plain"
    assert completed("dni-launch", "--resume", "runs/") == plain("runs/place", "runs/plain")
    assert completed("dni-launch", "--resume", "ru") == ["dir,ru"]
    assert run_dirs(f"{tmp_path}/runs/pla") == [f"{tmp_path}/runs/{n}" for n in ("place", "plain")]
    assert run_dirs("nowhere/x") == run_dirs("x" * 300 + "/") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_their_own_script(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_DNI_LAUNCH_COMPLETE", f"{shell}_source")
    assert exit_code_of(command, [], "dni-launch", SUBCOMMANDS) == 0
    assert f"_DNI_LAUNCH_COMPLETE={shell}_complete" in capsys.readouterr().out
    monkeypatch.setenv("_DNI_LAUNCH_COMPLETE", "tcsh_source")
    assert exit_code_of(command, [], "dni-launch", SUBCOMMANDS) == 1


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_a_real_bash_completes_without_torch(tmp_path: Path) -> None:
    """The function that the script defines fills in what bash shows."""
    program = (
        "import sys; from dni_async.launcher import cli\n"
        "try: cli.main()\n"
        "finally: assert 'torch' not in sys.modules\n"
    )
    launcher = tmp_path / "dni-launch"
    launcher.write_text(f"#!{sys.executable}\n{program}")
    launcher.chmod(0o755)
    script = """
    PATH=$1:$PATH
    eval "$(_DNI_LAUNCH_COMPLETE=bash_source dni-launch)"
    complete -p dni-launch
    COMP_WORDS=(dni-launch --rule d) COMP_CWORD=2
    _dni_launch_completion dni-launch 2>/dev/null
    echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", script, "bash", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    told, answer = done.stdout.splitlines()
    assert told.endswith("-F _dni_launch_completion dni-launch")
    assert answer.split() == ["dni", "dgl"]
