"""A module split at names computes what it did, whatever the mode, batch size and length."""

from __future__ import annotations

import copy
import importlib.util
from typing import Any

import pytest
import torch
from torch import nn

from dni_async.network.split.recording.failures import Unsplittable
from tests.network.split.networks import CASES, Adapted, Causal, Tagger, UNet
from tests.network.split.sameness import assert_same, split


@pytest.mark.parametrize("name", CASES)
def test_the_chain_is_the_module_bit_for_bit(name: str) -> None:
    kind, samples, points, takes = CASES[name]
    torch.manual_seed(1)
    module, x = kind(), samples()
    chain = split(module, x, points)
    assert chain.points == tuple(points)
    assert [len(part._programs[True].takes) for part in chain] == takes
    assert_same(module, chain, [x, torch.cat([x, x[:2]]), x[:1].repeat(2, *[1] * (x.ndim - 1))])


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("tagger", torch.randint(0, 20, (5, 11))),
        ("causal", torch.randint(0, 20, (2, 13))),
        ("resnet", torch.randn(2, 3, 32, 24)),
        ("unet", torch.randn(2, 3, 32, 24)),
    ],
)
def test_lengths_may_change_where_the_module_takes_them(name: str, other: torch.Tensor) -> None:
    kind, samples, points, _ = CASES[name]
    module, x = kind(), samples()
    assert_same(module, split(module, x, points), [other, x])


def test_a_state_dict_of_the_module_loads_strictly() -> None:
    kind, samples, points, _ = CASES["resnet"]
    chain, other = split(kind(), samples(), points), kind()
    chain.load_state_dict(other.state_dict(), strict=True)
    assert_same(other, chain, [samples()])
    with pytest.raises(RuntimeError, match="Missing"):
        chain.load_state_dict({})


def test_parts_hold_what_is_theirs_and_the_whole_is_the_users_own() -> None:
    module = Adapted()
    chain = split(module, torch.randn(3, 6), ["blocks.1", "head"])
    assert [part.pieces for part in chain] == [
        ("stem", "norm", "blocks.0"),
        ("blocks.1", "blocks.2"),
        ("head",),
    ]
    assert isinstance(chain.whole, Adapted)
    assert chain.whole.head.weight is chain[2].head.weight
    chain.train()
    assert not chain[0].norm.training  # as the module's own train wants it
    assert not chain.whole.norm.training


def test_without_points_there_is_one_part_and_a_point_at_the_beginning_is_none() -> None:
    x = torch.randn(3, 6)
    assert len(split(Adapted(), x, [])) == 1
    assert split(Adapted(), x, ["stem", "head"]).points == ("head",)
    linear = nn.Linear(6, 2)
    assert_same(linear, split(linear, x, []), [x])


def test_causal_masks_and_positions_are_made_again_and_not_passed_on() -> None:
    chain = split(Causal(), torch.randint(0, 20, (3, 8)), ["blocks.1", "blocks.2"])
    hidden = chain[0](torch.randint(0, 20, (2, 5)))
    assert isinstance(hidden, torch.Tensor)
    assert hidden.shape == (2, 5, 8)


def test_a_mask_of_the_ids_is_relayed_with_the_activation() -> None:
    chain = split(Tagger(), torch.randint(0, 20, (3, 8)), ["lstm", "drop"])
    hidden, mask = chain[0](torch.randint(0, 20, (2, 5)))
    assert hidden.requires_grad
    assert mask.dtype == torch.bool


def test_long_skips_pass_through_every_part_between() -> None:
    chain = split(UNet(), torch.randn(3, 3, 16, 16), ["down2", "middle", "up2", "up1"])
    shapes, hidden = [], torch.randn(2, 3, 16, 16)
    for part in chain:
        hidden = part(hidden)
        shapes.append([tuple(h.shape) for h in (hidden if isinstance(hidden, tuple) else [hidden])])
    one, two = (2, 4, 16, 16), (2, 8, 8, 8)
    assert shapes[:3] == [[one], [two, one], [(2, 8, 4, 4), two, one]]


def test_tied_weights_are_one_in_one_part_and_refused_in_two() -> None:
    module, x = Causal(), torch.randint(0, 20, (3, 8))
    module.readout.weight = module.embedding.weight
    with pytest.raises(Unsplittable) as caught:
        split(module, x, ["blocks.0", "readout"])
    assert str(caught.value) == (
        "embedding.weight and readout.weight are one tensor (tied weights), in parts 0 and 2, but "
        "weights live in one; leave out the split points between them: blocks.0, readout; or untie "
        "them"
    )
    assert_same(module, split(module, x, []), [x])


def test_inputs_of_another_shape_than_the_recorded_are_refused() -> None:
    class Halves(nn.Module):
        """Cuts its input at a place that int() has made a plain number."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x[:, : int(x.shape[1] / 2)] * self.scale).sum(1)

    chain = split(Halves(), torch.randn(3, 6), [])
    assert_same(Halves(), chain, [torch.randn(5, 6)])
    with pytest.raises(
        ValueError, match=r"was split for inputs of shape \['any', 6\], not \[5, 8\]"
    ):
        chain(torch.randn(5, 8))


def test_a_part_can_be_copied_and_moved_like_any_module() -> None:
    kind, samples, points, _ = CASES["vit"]
    module, x = kind(), samples()
    chain = copy.deepcopy(split(module, x, points))
    assert chain.whole.head.weight is chain[-1].head.weight
    assert_same(module.double(), chain.double(), [x.double()])


def _transformers() -> dict[str, Any]:
    from transformers import (
        GPT2Config,
        GPT2LMHeadModel,
        ResNetConfig,
        ResNetForImageClassification,
        ViTConfig,
        ViTForImageClassification,
    )

    return {
        "gpt2": (
            GPT2LMHeadModel,
            GPT2Config(
                n_layer=2, n_head=2, n_embd=8, vocab_size=20, n_positions=16,
                bos_token_id=0, eos_token_id=0, tie_word_embeddings=False,
            ),
            torch.randint(0, 20, (3, 8)),
            ["transformer.h.1", "lm_head"],
            torch.randint(0, 20, (2, 11)),
        ),
        "vit": (
            ViTForImageClassification,
            ViTConfig(
                hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
                image_size=16, patch_size=4, num_labels=5, hidden_dropout_prob=0.1,
            ),
            torch.randn(3, 3, 16, 16),
            ["vit.layers.1", "classifier"],
            torch.randn(2, 3, 16, 16),
        ),
        "resnet": (
            ResNetForImageClassification,
            ResNetConfig(
                embedding_size=4, hidden_sizes=[4, 8], depths=[2, 1], layer_type="basic",
                num_labels=5,
            ),
            torch.randn(3, 3, 16, 16),
            ["resnet.encoder.stages.0.layers.1", "resnet.encoder.stages.1", "classifier"],
            torch.randn(2, 3, 32, 32),
        ),
    }  # fmt: skip


@pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="needs the transformers extra"
)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["gpt2", "vit", "resnet"])
def test_transformers_own_classes(name: str) -> None:
    kind, config, x, points, other = _transformers()[name]
    torch.manual_seed(1)
    module = kind(config)
    assert_same(module, split(module, x, points), [x, other])
