"""What a neighbour sent is refused unless activation, labels and gradient belong together."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dni_async.errors import LinkError
from dni_async.stage.losses.catalog import make_loss
from dni_async.stage.values import Values, arranged, gathered, tensors_of
from dni_async.transport.staging import Staging
from dni_async.wire.messages import Activation, ReturnedGradient
from dni_async.workers.training.arrivals import check_activation, check_gradient

ACTIVATION = Activation("run", 7, 0, "train", False, ())
GRADIENT = ReturnedGradient("run", 7, 0, True, ())
DTYPES = {torch.float32}
LOSS = make_loss("cross-entropy", (10,))


def ints(*shape: int) -> torch.Tensor:
    """Labels of this shape."""
    return torch.zeros(shape, dtype=torch.int64)


@pytest.mark.parametrize(
    ("hidden", "labels"), [((3, 4), (3,)), ((3, 2, 4), (3,)), ((3, 2, 4), (3, 2))]
)
def test_labels_are_the_leading_shape(hidden: tuple[int, ...], labels: tuple[int, ...]) -> None:
    sent = [torch.zeros(hidden), ints(*labels)]
    (parts,), structure, found = check_activation(1, ACTIVATION, sent, DTYPES, LOSS)
    assert [*parts, found] == sent
    assert structure is None


def test_targets_of_numbers_lead_with_the_samples_alone() -> None:
    loss = make_loss("mse", (2,))
    sent = [torch.zeros(3, 4), torch.zeros(3, 2)]
    (parts,), _, found = check_activation(1, ACTIVATION, sent, DTYPES, loss)
    assert [*parts, found] == sent
    with pytest.raises(LinkError, match=r"need torch\.float32 and torch\.float32"):
        check_activation(1, ACTIVATION, [torch.zeros(3, 4), ints(3)], DTYPES, loss)
    with pytest.raises(LinkError, match="do not belong together"):
        check_activation(1, ACTIVATION, [torch.zeros(3, 4), torch.zeros(4, 2)], DTYPES, loss)


def small(*shape: int) -> torch.Tensor:
    """8-bit integers."""
    return torch.zeros(shape, dtype=torch.int8)


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 4)])
def test_8_bits_come_with_a_scale_for_each_sample(shape: tuple[int, ...]) -> None:
    parts = [small(*shape), torch.zeros(3)]
    sent = [*parts, ints(3)]
    (arrived,), _, labels = check_activation(1, ACTIVATION, sent, {torch.int8}, LOSS)
    assert list(arrived) == parts
    assert torch.equal(labels, ints(3))
    (returned,) = check_gradient(1, GRADIENT, parts, torch.zeros(shape), {torch.int8})
    assert list(returned) == parts


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([small(3, 4)], "2 tensors, needs 3"),
        ([small(3, 4), torch.zeros(3), torch.zeros(3)], "4 tensors, needs 3"),
        ([torch.zeros(3, 4), torch.zeros(3)], "activation is torch.float32"),
        ([small(3, 4), small(3)], "scales are torch.int8 [3], need torch.float32 [3]"),
        ([small(3, 4), torch.zeros(4)], "scales are torch.float32 [4], need torch.float32 [3]"),
        ([small(3, 4), torch.zeros(3, 4)], "scales are torch.float32 [3, 4]"),
        ([small(3, 4), torch.zeros(3, 1)], "scales are torch.float32 [3, 1]"),
        ([small(3, 4), torch.zeros(1)], "scales are torch.float32 [1]"),
        ([small(2, 4), torch.zeros(2)], "do not belong together"),
        ([small(3), torch.zeros(3)], "do not belong together"),
    ],
)
def test_unfit_scales_are_refused(parts: list[torch.Tensor], message: str) -> None:
    expected = f"stage 1, Activation of batch 7: .*{re.escape(message)}"
    with pytest.raises(LinkError, match=expected):
        check_activation(1, ACTIVATION, [*parts, ints(3)], {torch.int8}, LOSS)
    with pytest.raises(LinkError, match=r"stage 1, ReturnedGradient of batch 7: "):
        check_gradient(1, GRADIENT, parts, torch.zeros(3, 4), {torch.int8})


ANY_DTYPE = st.sampled_from([torch.int8, torch.float32, torch.bfloat16, torch.float16, torch.int64])
ANY_SHAPE = st.lists(st.integers(0, 3), min_size=1, max_size=4)
ANY_TENSOR = st.builds(lambda shape, dtype: torch.ones(shape, dtype=dtype), ANY_SHAPE, ANY_DTYPE)


@settings(deadline=None, max_examples=200, database=None)
@given(st.lists(ANY_TENSOR, max_size=4))
def test_whatever_tensors_come_are_refused_or_computed_with(tensors: list[torch.Tensor]) -> None:
    staging = Staging("cpu", wire_dtype=torch.int8)
    hidden = torch.zeros(tensors[0].shape) if tensors else None
    for look in (
        lambda: check_activation(1, ACTIVATION, tensors, {torch.int8}, LOSS)[0],
        lambda: check_gradient(1, GRADIENT, tensors, hidden, {torch.int8}),
    ):
        try:
            (parts,) = look()
        except LinkError:
            continue
        arrived = staging.from_link(parts)
        assert (arrived.dtype, arrived.shape) == (torch.float32, tensors[0].shape)


def passed(*given: object) -> tuple[str, Values]:
    """The text that goes with a tuple of these, and what it is."""
    values = gathered(given)
    assert isinstance(values, Values)
    return values.structure.text, values


def test_several_values_come_with_their_structure() -> None:
    text, values = passed(
        torch.zeros(3, 4).requires_grad_(), torch.arange(7), {"a": torch.ones(())}
    )
    sent = [torch.zeros(3, 4), torch.arange(7), torch.ones(()), ints(3)]
    message = replace(ACTIVATION, structure=text)
    parts, structure, found = check_activation(1, message, sent, DTYPES, LOSS)
    assert [tensor for of_value in parts for tensor in of_value] == sent[:-1]
    assert structure == values.structure
    assert found is sent[-1]
    (gradient,) = check_gradient(1, GRADIENT, [torch.ones(3, 4)], values, DTYPES)
    assert len(gradient) == 1
    for wrong in ([], [torch.ones(3, 4)] * 2, [torch.ones(7)]):
        with pytest.raises(LinkError, match=r"needs \[\[3, 4\]\]"):
            check_gradient(1, GRADIENT, wrong, values, DTYPES)


def test_of_several_values_only_those_that_need_a_gradient_have_scales() -> None:
    text, values = passed(torch.zeros(4), torch.zeros(3, 4).requires_grad_())
    sent = [torch.zeros(4), small(3, 4), torch.zeros(3), ints(3)]
    message = replace(ACTIVATION, structure=text)
    parts, _, _ = check_activation(1, message, sent, {torch.int8}, LOSS)
    assert [len(of_value) for of_value in parts] == [1, 2]
    (gradient,) = check_gradient(1, GRADIENT, sent[1:3], values, {torch.int8})
    assert list(gradient) == sent[1:3]


@pytest.mark.parametrize(
    ("text", "tensors", "message"),
    [
        ("[", [torch.zeros(3, 4)], "no structure of values"),
        ('["tuple",[1,0]]', [torch.zeros(3, 4)], "2 tensors, needs 3"),
        ('["tuple",[1,1]]', [torch.zeros(3, 4), ints(3)], "activation is torch.float32, torch.in"),
        ('["tuple",[1,1]]', [torch.zeros(3, 4), torch.zeros(4)], "do not belong together"),
        ('["tuple",[0,1]]', [torch.zeros(3, 4), torch.zeros(2, 3)], "do not belong together"),
    ],
)
def test_unfit_values_are_refused(text: str, tensors: list[torch.Tensor], message: str) -> None:
    activation = replace(ACTIVATION, structure=text)
    with pytest.raises(LinkError, match=f"stage 1, Activation of batch 7: .*{re.escape(message)}"):
        check_activation(1, activation, [*tensors, ints(3)], DTYPES, LOSS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2)
    | st.sampled_from(["tuple", "dict", "is", "named", "list", "class"])
    | st.sampled_from(["collections:OrderedDict", "os:system", "sys:float_info"]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None, max_examples=300, database=None)
@given(JSON.map(json.dumps) | st.text(max_size=20), st.lists(ANY_TENSOR, max_size=4))
def test_whatever_structure_comes_is_refused_or_built(
    text: str, tensors: list[torch.Tensor]
) -> None:
    message = replace(ACTIVATION, structure=text)
    try:
        parts, structure, _ = check_activation(1, message, tensors, DTYPES, LOSS)
    except LinkError:
        return
    hidden = arranged([of_value[0] for of_value in parts], structure)
    if isinstance(hidden, Values):
        again = gathered(hidden.restored())
        assert all(map(torch.equal, tensors_of(again), tensors_of(hidden)))


def test_scales_without_8_bits_are_refused() -> None:
    tensors = [torch.zeros(3, 4), torch.zeros(3), ints(3)]
    with pytest.raises(LinkError, match="3 tensors, needs 2"):
        check_activation(1, ACTIVATION, tensors, DTYPES, LOSS)
    with pytest.raises(LinkError, match="gradient"):
        check_gradient(1, GRADIENT, tensors[:2], torch.zeros(3, 4), DTYPES)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([torch.zeros(3, 4)], "1 tensors, needs 2"),
        ([torch.zeros(3, 4).half(), ints(3)], "activation is torch.float16"),
        ([torch.zeros(3, 4), torch.zeros(3)], "targets torch.float32"),
        ([torch.zeros(3), ints(3)], "activation [3] and targets [3] do not belong together"),
        ([torch.zeros(3, 4), ints(2)], "do not belong together"),
        ([torch.zeros(3, 4), ints(3, 4)], "do not belong together"),
        ([torch.zeros(3, 2, 4), ints(3, 4)], "do not belong together"),
        ([torch.zeros(3, 2, 4, 5), ints(3, 2, 4)], "do not belong together"),
        ([torch.zeros(3, 4), ints()], "do not belong together"),
    ],
)
def test_unfit_activations_are_refused(tensors: list[torch.Tensor], message: str) -> None:
    expected = f"stage 1, Activation of batch 7: .*{re.escape(message)}"
    with pytest.raises(LinkError, match=expected):
        check_activation(1, ACTIVATION, tensors, DTYPES, LOSS)


@pytest.mark.parametrize(
    ("tensors", "hidden", "message"),
    [
        ([torch.zeros(3, 4)], None, "not in hand"),
        ([torch.zeros(3, 4)] * 2, torch.zeros(3, 4), "gradient [[3, 4], [3, 4]], needs [[3, 4]]"),
        ([torch.zeros(6, 4)], torch.zeros(3, 2, 4), "gradient [[6, 4]], needs [[3, 2, 4]]"),
        ([ints(3, 4)], torch.zeros(3, 4), "gradient is torch.int64"),
    ],
)
def test_unfit_gradients_are_refused(
    tensors: list[torch.Tensor], hidden: torch.Tensor | None, message: str
) -> None:
    expected = f"stage 1, ReturnedGradient of batch 7: .*{re.escape(message)}"
    with pytest.raises(LinkError, match=expected):
        check_gradient(1, GRADIENT, tensors, hidden, DTYPES)
