"""The transformer: no position sees a character to come, and every label is one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

EXAMPLE = Path(__file__).parents[2] / "examples" / "transformer.py"


@pytest.fixture(scope="module")
def transformer() -> ModuleType:
    """The example, imported from its file."""
    spec = importlib.util.spec_from_file_location("transformer", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_position_sees_nothing_behind_it(transformer: ModuleType) -> None:
    network = transformer.model().eval()
    ids = torch.arange(2 * transformer.CONTEXT).view(2, -1) % len(transformer.SYMBOLS)
    changed = ids.clone()
    changed[:, 40:] += 1
    with torch.no_grad():
        before, after = network(ids), network(changed)
    assert before.shape == (2, transformer.CONTEXT, len(transformer.SYMBOLS))
    torch.testing.assert_close(before[:, :40], after[:, :40])
    assert not torch.isclose(before[:, 40:], after[:, 40:]).all(-1).any()


def test_every_label_is_the_character_that_follows(transformer: ModuleType) -> None:
    text = transformer.text_of("test")
    ids, labels = transformer.samples_of(text)
    assert "".join(transformer.SYMBOLS[i] for i in ids.flatten()) == text[: ids.size]
    assert "".join(transformer.SYMBOLS[i] for i in labels.flatten()) == text[1 : ids.size + 1]


def test_the_parts_are_the_whole_text(transformer: ModuleType) -> None:
    sizes = {part: len(transformer.text_of(part)) for part in ("train", "tuning", "test")}
    total = sum(len(text) + 1 for text in transformer.topics.topics.values()) - 1
    assert sum(sizes.values()) == total
    assert sizes["tuning"] > total / 12
    assert sizes["test"] > total / 12
