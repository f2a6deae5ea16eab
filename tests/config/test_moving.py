"""What layers cannot move with, each in a sentence that names the setting."""

from __future__ import annotations

from typing import Any

import pytest

from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"rebalance": "on", "moves": ("5:2+2",)},
            "rebalance: layers move by themselves; leave out moves",
        ),
        ({"rebalance": "on", "rule": "backprop"}, "rebalance: evens out stages that work at once"),
        ({"moves": ("5:2+2",), "unlock": "forward"}, "moves: layers cannot move with --unlock"),
        ({"rebalance": "on", "compile": True}, "rebalance: each move would compile stages anew"),
        (
            {"moves": ("5:2+2",), "workers": ("remote",), "listen": "tcp://127.0.0.1:1"},
            "moves: layers move by files that workers elsewhere",
        ),
        ({"moves": ("9:2+2", "5:1+3")}, "moves: each must come after a batch, behind"),
        ({"moves": ("0:2+2",)}, "moves: each must come after a batch"),
    ],
)
def test_what_layers_cannot_move_with(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        RunConfig(**{"layers": 4, "stages": 2, **settings})


def test_moves_are_batches_and_layers() -> None:
    config = RunConfig(layers=4, stages=2, rule="backprop", moves=("5:1+3", "12:3+1"))
    assert config.asked_moves == [(5, [1, 3]), (12, [3, 1])]
    assert config.may_move
    assert config.saves
    assert RunConfig.from_dict(config.to_dict()) == config
    assert not RunConfig().may_move
