"""The stages' weights become one model, and nobody's file brings what is another stage's."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from dni_async import DniError
from dni_async.files.beside import read_values
from dni_async.files.elsewhere import elsewhere
from dni_async.files.weights import TensorForm, WeightsForm
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.model import join_model

STAGES = [
    WeightsForm(
        {"0.weight": TensorForm("F32", (2, 3)), "0.bias": TensorForm("F32", (2,))},
        frozenset({"0", "0.norm"}),
    ),
    WeightsForm({"2.weight": TensorForm("F32", (1, 2))}, frozenset({"2"})),
]
Weights = dict[str, Any]


def zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


def lower() -> Weights:
    return {"0.weight": np.ones((2, 3), np.float32), "0.bias": np.zeros(2, np.float32)}


def upper() -> Weights:
    return {"2.weight": np.full((1, 2), 5, np.float32)}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    """Of a run that has trained."""
    folder = RunFolder(tmp_path / "run")
    folder.create("")
    yield folder
    folder.close()


def leave(folder: RunFolder, *parts: Weights, beside: dict[str, Any] | None = None) -> None:
    """What stages have left; beside: what modules of the last one keep."""
    for stage, part in enumerate(parts):
        told = beside if beside is not None and stage == len(parts) - 1 else {}
        metadata = {"own": json.dumps(told)}
        safetensors.numpy.save_file(part, folder.stage_weights(stage), metadata)


def test_the_stages_weights_become_one_model(folder: RunFolder) -> None:
    leave(folder, lower(), upper())
    assert join_model(folder, STAGES) is None
    path = folder.path / "model.safetensors"
    whole = safetensors.numpy.load_file(path)
    assert whole.keys() == {"0.weight", "0.bias", "2.weight"}
    for name, array in (lower() | upper()).items():
        assert np.array_equal(whole[name], array)
    assert not folder.weights.exists()
    assert not folder.model_state.exists()


def test_what_modules_keep_beside_their_weights_lies_in_a_file_beside_them(
    folder: RunFolder,
) -> None:
    mean = np.full(2, 5, np.float32)
    values = {"2.mean": {"tensor": "2.mean/0"}, "2.temperature": 0.5, "2._extra_state": [1]}
    leave(folder, lower(), upper() | {"own/2.mean/0": mean}, beside=values)
    join_model(folder, STAGES)
    assert "own/2.mean/0" not in safetensors.numpy.load_file(folder.model)
    beside = safetensors.numpy.load_file(folder.model_state)
    assert beside.keys() == {"2.mean/0"}
    assert np.array_equal(beside["2.mean/0"], mean)
    assert read_values(folder.model_state) == values


def upper_but(name: str, array: Any) -> tuple[Weights, dict[str, Any]]:
    """The upper stage's weights, with this among them; and nothing beside."""
    return upper() | {name: array}, {}


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        (upper_but("0.weight", zeros(2, 3)), "has 0.weight, which is not of its layers"),
        (upper_but("7.weight", zeros(1)), "has 7.weight, which is not of its layers"),
        (upper_but("2.weight", zeros(2, 2)), "has 2.weight as F32 [2, 2], not F32 [1, 2]"),
        (upper_but("2.weight", np.zeros((1, 2))), "has 2.weight as F64 [1, 2], not F32 [1, 2]"),
        (({}, {}), "misses 2.weight"),
        (upper_but("own/2.mean/0", zeros(1)), "has own/2.mean/0, which nothing refers to"),
        ((upper(), {"0.temperature": 1.0}), "has 0.temperature, which is not of its layers"),
        ((upper(), {"2.__class__": "x"}), "has 2.__class__, which is not of its layers"),
        ((upper(), {"2.a-b": "x"}), "has 2.a-b, which is not of its layers"),
        ((upper(), {"forward": "x"}), "has forward, which is not of its layers"),
        ((upper(), []), "what lies beside them is no JSON object"),
    ],
)
def test_what_is_not_the_stages_own_is_one_sentence_and_all_stays(
    folder: RunFolder, made: tuple[Weights, Any], fault: str
) -> None:
    weights, beside = made
    leave(folder, lower(), weights, beside=beside)
    with pytest.raises(DniError) as caught:
        join_model(folder, STAGES)
    said = str(caught.value)
    assert said.startswith("model: cannot be put together: what stage 1 left does not do: ")
    assert fault in said
    assert said.endswith(f"; all that the stages left stays in {folder.weights}")
    folder.close()
    assert {path.name for path in folder.weights.iterdir()} == {
        "stage-0.safetensors",
        "stage-1.safetensors",
    }
    assert not folder.model.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b"\xff" * 100),
        lambda path: path.write_bytes((1 << 60).to_bytes(8, "little") + b"{}"),
        lambda path: path.write_bytes(b"\x02" + bytes(7) + b"[]"),
    ],
)
def test_a_broken_file_is_one_sentence_too(
    folder: RunFolder, damage: Callable[[Path], object]
) -> None:
    leave(folder, lower(), upper())
    damage(folder.stage_weights(0))
    with pytest.raises(DniError, match=r"what stage 0 left does not do: .*is no file of weights"):
        join_model(folder, STAGES)
    folder.close()
    assert folder.stage_weights(1).is_file()


def test_weights_that_no_place_took_are_asked_for_in_the_stages_log(folder: RunFolder) -> None:
    leave(folder, lower(), upper())
    folder.stage_weights(0).unlink()
    with pytest.raises(DniError, match=rf"stage 0 left no weights; .*: {folder.log(0)}"):
        join_model(folder, STAGES)
    folder.close()
    assert folder.stage_weights(1).is_file()


@pytest.fixture
def no_model(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run directory takes no model; gives the folder for what is elsewhere."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (folder.path / f"model.safetensors.{os.getpid()}.part").mkdir()
    return elsewhere(folder.model).parent


def test_a_model_that_its_place_does_not_take_is_elsewhere(
    folder: RunFolder, no_model: Path
) -> None:
    leave(folder, lower(), upper())
    said = join_model(folder, STAGES)
    assert said == (
        f"model: {folder.path}/model.safetensors cannot be written: Is a directory; "
        f"it is {no_model}/model.safetensors"
    )
    assert folder.model == no_model / "model.safetensors"
    assert len(safetensors.numpy.load_file(folder.model)) == 3
    assert not folder.weights.exists()
    folder.close()
    assert folder.model.is_file()


def test_a_model_that_nothing_takes_leaves_the_weights_of_the_stages(
    folder: RunFolder, no_model: Path
) -> None:
    leave(folder, lower(), upper())
    no_model.write_text("")
    with pytest.raises(DniError, match=rf"cannot be written: .*; the stages' .* {folder.weights}"):
        join_model(folder, STAGES)
    folder.close()
    assert folder.stage_weights(0).is_file()


def test_stages_weights_that_are_elsewhere_are_joined(folder: RunFolder, no_model: Path) -> None:
    leave(folder, lower(), upper())
    other = elsewhere(folder.stage_weights(0))
    other.parent.mkdir(mode=0o700)
    folder.stage_weights(0).rename(other)
    assert folder.stage_weights(0) == other
    assert join_model(folder, STAGES) is not None
    assert len(safetensors.numpy.load_file(folder.model)) == 3
    assert not other.exists()
