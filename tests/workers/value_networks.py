"""Networks for the digits, between whose layers more than a tensor passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

__all__ = [
    "FACTORIES",
    "Lengths",
    "Pair",
    "beside",
    "lengths",
    "masked",
    "named_pairs",
    "nested",
    "recurrent",
    "sequences",
    "skip",
    "tied",
    "unet",
]

WIDTH = 32


class Pair(NamedTuple):
    """What a layer gives under names of its own."""

    hidden: torch.Tensor
    first: torch.Tensor


class Begin(nn.Module):
    """An activation, and the same for later."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(64, WIDTH)

    def forward(self, x: torch.Tensor) -> Any:
        """A tuple of both."""
        hidden = torch.relu(self.inner(x))
        return hidden, hidden


class Carry(nn.Module):
    """One layer on the first value; the second only passes through."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.1), nn.ReLU())

    def forward(self, values: Any) -> Any:
        """What came, with another first."""
        hidden, *rest = values
        return (self.inner(hidden), *rest)


class Join(nn.Module):
    """The skip comes back in."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)

    def forward(self, values: Any) -> torch.Tensor:
        """Their sum."""
        hidden, first = values
        return torch.relu(self.inner(hidden) + first)


class Named(nn.Module):
    """A named tuple in, one out; both values are used on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)

    def forward(self, values: Any) -> Pair:
        """Its first value is relayed, and used here too."""
        hidden, first = values
        return Pair(torch.relu(self.inner(hidden) + 0.5 * first), first)


class Masking(nn.Module):
    """Gives ids, positions, a mask and a scale beside the activation, as a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(64, WIDTH)
        self.register_buffer("places", torch.arange(WIDTH), persistent=False)

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        """Of which only the activation needs a gradient."""
        hidden = torch.relu(self.inner(x))
        return {
            "hidden": hidden,
            "mask": hidden > 0,
            "inner": [torch.tensor(0.5), (self.places, None)],
            "counts": x.sum(1).to(torch.int32),
            "name": "digits",
            "num": len(x),
        }


class Masked(nn.Module):
    """Uses all of it and passes it on."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)

    def forward(self, given: dict[str, Any]) -> dict[str, Any]:
        """With another activation."""
        scale, (places, nothing) = given["inner"]
        assert nothing is None
        assert given["name"] == "digits"
        assert given["num"] == len(given["counts"])
        hidden = self.inner(given["hidden"] * given["mask"]) + scale * (places > 3)
        return {**given, "hidden": torch.relu(hidden)}


class Unmask(nn.Module):
    """The activation alone."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, 10)

    def forward(self, given: dict[str, Any]) -> torch.Tensor:
        """Logits."""
        return self.inner(given["hidden"]) * torch.sign(given["counts"].abs() + 1).unsqueeze(1)


class Nest(nn.Module):
    """Two values that need a gradient, in a list in a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 8)

    def forward(self, x: torch.Tensor) -> Any:
        """(a, [b])."""
        return torch.relu(self.one(x)), [torch.tanh(self.two(x))]


class Unnest(nn.Module):
    """Takes both again."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(WIDTH, 10), nn.Linear(8, 10)

    def forward(self, given: Any) -> torch.Tensor:
        """Logits."""
        hidden, (other,) = given
        return self.one(hidden) + self.two(other)


class Embed(nn.Module):
    """Ids of any length, with what a sequence model hands from block to block."""

    def __init__(self) -> None:
        super().__init__()
        self.ids, self.places = nn.Embedding(10, WIDTH), nn.Embedding(99, WIDTH)

    def forward(self, ids: torch.Tensor) -> Any:
        """(activation, mask, positions)."""
        places = torch.arange(ids.shape[1], device=ids.device)
        return self.ids(ids) + self.places(places), ids != 0, places


class Block(nn.Module):
    """Mixes positions that are not masked."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)

    def forward(self, given: Any) -> Any:
        """Their mean so far is added to each."""
        hidden, mask, places = given
        seen = (hidden * mask.unsqueeze(2)).cumsum(1) / (1 + places.unsqueeze(1))
        return hidden + torch.relu(self.inner(seen)), mask, places


class ReadOut(nn.Linear):
    """Logits of each position."""

    def forward(self, given: Any) -> torch.Tensor:
        """Of the activation alone."""
        return super().forward(given[0])


class Recurrent(nn.Module):
    """An LSTM that goes on from the state of the one before, as torch gives it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.LSTM(8, 8, batch_first=True)

    def forward(self, given: Any) -> Any:
        """(outputs, (h, c)); of the states the samples come second."""
        outputs, state = given if isinstance(given, tuple) else (given.unflatten(1, (8, 8)), None)
        return self.inner(outputs, state)


class Final(nn.Linear):
    """Of the last position."""

    def forward(self, given: Any) -> torch.Tensor:
        """Logits."""
        return super().forward(given[0][:, -1])


def recurrent() -> nn.Sequential:
    """Rows of the digits, one after another; states pass on as torch has them."""
    return nn.Sequential(Recurrent(), Recurrent(), Final(8, 10))


class Down(nn.Module):
    """Of the last value an activation for later, and it at half the size; the others pass by."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters)
        )

    def forward(self, given: Any) -> Any:
        """(..., h, pooled h)."""
        *others, x = given if isinstance(given, tuple) else (given,)
        hidden = torch.relu(self.inner(x))
        return (*others, hidden, nn.functional.max_pool2d(hidden, 2))


class Up(nn.Module):
    """The last two values become one."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(channels, filters, 3, padding=1)

    def forward(self, given: Any) -> Any:
        """(..., h), or h where nothing else is left."""
        *others, first, x = given
        x = torch.cat([first, nn.functional.interpolate(x, scale_factor=2.0)], 1)
        hidden = torch.relu(self.inner(x))
        return (*others, hidden) if others else hidden


def unet() -> nn.Sequential:
    """Images [B, 1, 8, 8] to logits [B, 3, 8, 8], with skips over two, four layers."""
    return nn.Sequential(Down(1, 4), Down(4, 8), Up(16, 4), Up(8, 4), nn.Conv2d(4, 3, 1))


class Lengths:
    """Batches whose length changes from one to the next, the shortest first."""

    def __len__(self) -> int:
        return 12

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Ids [64, T], to be told which came before."""
        for index in range(12):
            draw = torch.Generator().manual_seed(index)
            ids = torch.randint(10, (64, 9 + 17 * index % 60), generator=draw)
            yield ids, ids.roll(1, 1)


def lengths() -> tuple[Lengths, Lengths]:
    """To train and to test."""
    return Lengths(), Lengths()


def sequences() -> nn.Sequential:
    """Ids [B, T] to logits [B, T, 10], T as it comes."""
    return nn.Sequential(Embed(), Block(), Block(), ReadOut(WIDTH, 10))


def skip() -> nn.Sequential:
    """A skip over two layers, each of which relays it."""
    return nn.Sequential(Begin(), Carry(), Carry(), Join(), nn.Linear(WIDTH, 10))


def named_pairs() -> nn.Sequential:
    """Named tuples, whose second value is used by three layers."""
    return nn.Sequential(Begin(), Named(), Named(), Join(), nn.Linear(WIDTH, 10))


def masked() -> nn.Sequential:
    """Masks, scalars, positions and plain values in a dict."""
    return nn.Sequential(Masking(), Masked(), Masked(), Unmask())


class Widen(Carry):
    """Takes the digits and what is beside them; for a plan that knows the digits alone, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(64, WIDTH)

    def forward(self, values: Any) -> Any:
        """(activation, z)."""
        x, beside = values if isinstance(values, tuple) else (values, values[:, :WIDTH])
        return torch.relu(self.wide(x)), beside


def beside() -> nn.Sequential:
    """A second input passes by a layer, and needs no gradient."""
    return nn.Sequential(Widen(), Carry(), Join(), nn.Linear(WIDTH, 10))


def nested() -> nn.Sequential:
    """Several values that need a gradient, between layers that pass one."""
    return nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), Nest(), Unnest())


def tied() -> nn.Sequential:
    """Layers 1 and 2 have one weight."""
    network = nn.Sequential(
        nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(),
        nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10),
    )  # fmt: skip
    network[4].weight = network[2].weight
    return network


FACTORIES = ("skip", "named_pairs", "masked", "nested")
