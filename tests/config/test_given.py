"""What is given as objects: how it is named, who may read it, and what is refused."""

from __future__ import annotations

import functools
import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from dni_async import ConfigError
from dni_async.config import given as module
from dni_async.config.extensions import find_callable
from dni_async.config.given import give, given_folder, open_folder
from dni_async.data import load_dataset
from dni_async.errors import DataError
from dni_async.network.partition import split_layers


def made_here(number: int) -> int:
    """A function that claims to be of a script."""
    return number + 1


made_here.__module__ = "__main__"


def test_what_has_a_module_keeps_its_name(tmp_path: Path) -> None:
    assert give(tmp_path, "model", split_layers) == "dni_async.network.partition:split_layers"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (made_here, "dni_async.config.given:rule_made_here"),
        (lambda number: number + 1, "dni_async.config.given:rule_lambda"),
        ((1).__add__, "dni_async.config.given:rule___add__"),
        (functools.partial(max, 2), "dni_async.config.given:rule_max"),
    ],
)
def test_what_has_none_is_found_by_the_name_it_gets(value: Callable[[int], int], name: str) -> None:
    with open_folder() as folder:
        assert give(folder, "rule", value) == name
        found = cast("Callable[[int], int]", find_callable("rule", name))
        assert found is not value
        assert found(1) == 2
        written = folder / name.partition(":")[2]
        assert written.stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_a_setting_of_two_words_keeps_both(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_folder() as folder:
        name = give(folder, "lr_schedule", lambda update, num_updates: 1 - update / num_updates)
        assert name == "dni_async.config.given:lr_schedule_lambda"
        found = cast("Callable[[int, int], float]", find_callable("lr_schedule", name))
        assert found(1, 4) == 0.75
    monkeypatch.delenv(module.VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=r"^lr_schedule: .* was an object given to"):
        find_callable("lr_schedule", name)


def test_the_folder_is_known_while_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(module.VARIABLE, raising=False)
    assert given_folder() is None
    with open_folder() as outer:
        with open_folder() as inner:
            assert given_folder() == inner
        assert given_folder() == outer
    assert module.VARIABLE not in os.environ


def test_what_cannot_travel_is_named(tmp_path: Path) -> None:
    lock = threading.Lock()
    with pytest.raises(ConfigError, match=r"^synthesizer: .*lambda.* cannot travel to the workers"):
        give(tmp_path, "synthesizer", lambda: lock)


def test_without_a_folder_the_names_say_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the settings of a kept run are given to dni-launch."""
    monkeypatch.delenv(module.VARIABLE, raising=False)
    said = "model: dni_async.config.given:model_make was an object given to dni_async.train"
    with pytest.raises(ConfigError, match=re.escape(said)):
        find_callable("model", "dni_async.config.given:model_make")
    with pytest.raises(DataError, match="data: 'given' stands for arrays"):
        load_dataset("given")


@pytest.mark.parametrize("name", ["data.npz", "path.json", "../model_x", "model_x/../../y", "x"])
def test_no_name_reaches_another_file(name: str) -> None:
    with open_folder(), pytest.raises(ConfigError, match="has no callable"):
        find_callable("model", f"dni_async.config.given:{name}")


def test_what_others_could_have_written_is_not_read() -> None:
    with open_folder() as folder:
        name = give(folder, "rule", made_here)
        written = folder / name.partition(":")[2]
        written.chmod(0o620)
        with pytest.raises(ConfigError, match=r"rule: .* is not this user's alone"):
            find_callable("rule", name)
        written.chmod(0o600)
        folder.chmod(0o710)
        with pytest.raises(ConfigError, match=r"is no folder that is this user's alone"):
            find_callable("rule", name)
        folder.chmod(0o700)
        written.rename(folder / "elsewhere")
        written.symlink_to(folder / "elsewhere")
        with pytest.raises(ConfigError, match=r"^rule: .* cannot be read: "):
            find_callable("rule", name)


def test_what_cannot_be_made_again_says_why() -> None:
    with open_folder() as folder:
        name = give(folder, "rule", made_here)
        (folder / name.partition(":")[2]).write_bytes(b"cno_such_module\nRule\n.")
        with pytest.raises(ConfigError, match="rule: rule_made_here cannot be made again: Module"):
            find_callable("rule", name)
    assert "no_such_module" not in sys.modules
