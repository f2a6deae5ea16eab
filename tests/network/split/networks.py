"""Networks as users write them, none of them a chain, each with inputs that fit."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["CASES", "Adapted", "Tagger", "UNet"]


class Block(nn.Module):
    """Residual, with BatchNorm and an in-place ReLU."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.down = nn.Conv2d(width, out, 1) if width != out else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = x if self.down is None else self.down(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += kept
        return self.relu(out)


class ResNet(nn.Module):
    """Stages of blocks, one ReLU for all, sizes taken from shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(Block(4, 4), Block(4, 4))
        self.layer2 = nn.Sequential(Block(4, 8), Block(8, 8))
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn(self.stem(x)))
        x = self.layer2(self.layer1(x))
        x = functional.adaptive_avg_pool2d(x, 1)
        return self.fc(self.dropout(x.view(x.size(0), -1)))


class UNet(nn.Module):
    """Long skips; what is upsampled takes its size from the skip."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = Block(3, 4)
        self.down2 = Block(4, 8)
        self.middle = Block(8, 8)
        self.up2 = Block(16, 4)
        self.up1 = Block(8, 4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = self.down1(x)
        two = self.down2(functional.max_pool2d(one, 2))
        low = self.middle(functional.max_pool2d(two, 2))
        low = functional.interpolate(low, size=two.shape[-2:])
        low = self.up2(torch.cat([low, two], dim=1))
        low = functional.interpolate(low, scale_factor=2.0)
        return self.head(self.up1(torch.cat((low, one), 1)))


class Residual(nn.Module):
    """A residual MLP with a loop over blocks, dropout called as a function, and a learnt scale."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))
        self.scale = nn.Parameter(torch.full((4,), 0.5))
        self.last = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for block in self.blocks[:2]:
            x = x + 0.5 * functional.dropout(block(x).relu(), 0.2, self.training)
        for block in self.blocks[2:]:
            x = x + torch.tanh(block(x))
        return self.last(x) * self.scale.mean()


class Tagger(nn.Module):
    """Embedding, LSTM and readout; padding is masked from the ids at both ends."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 6, padding_idx=0)
        self.lstm = nn.LSTM(6, 5, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(10, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        mask = (ids != 0).unsqueeze(-1)
        hidden, _ = self.lstm(self.embedding(ids) * mask)
        return self.out(self.drop(hidden) * mask)


class Dense(nn.Module):
    """Every layer takes what all before it made."""

    def __init__(self) -> None:
        super().__init__()
        for index in range(4):
            setattr(self, f"fc{index}", nn.Linear(6 + 4 * index, 4))
        self.out = nn.Linear(22, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = [x]
        for index in range(4):
            layer = getattr(self, f"fc{index}")
            made.append(torch.relu(layer(torch.cat(made, dim=-1))))
        return self.out(torch.cat(made, dim=-1))


class Lora(nn.Module):
    """A frozen linear layer with a trained part of low rank."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.base = nn.Linear(width, width).requires_grad_(False)
        self.a = nn.Parameter(torch.randn(2, width) * 0.1)
        self.b = nn.Parameter(torch.zeros(width, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + x @ self.a.T @ self.b.T


class Adapted(nn.Module):
    """A frozen backbone with adapters and BatchNorm that stays as it was; a trained head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8).requires_grad_(False)
        self.norm = nn.BatchNorm1d(8).requires_grad_(False)
        self.blocks = nn.ModuleList(Lora(8) for _ in range(3))
        self.head = nn.Linear(8, 3)

    def train(self, mode: bool = True) -> Adapted:
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            x = self.norm(self.stem(x))
        for block in self.blocks:
            x = x + torch.relu(block(x))
        return self.head(x)


class ViT(nn.Module):
    """A class token expanded to the batch, positions, and a mapping with logits."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.register_buffer("positions", torch.randn(1, 17, 8))
        self.blocks = nn.Sequential(
            *(nn.TransformerEncoderLayer(8, 2, 16, 0.1, batch_first=True) for _ in range(3))
        )
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.patches(x).flatten(2).transpose(1, 2)
        token = self.token.expand(x.shape[0], -1, -1)
        x = torch.cat([token, x], dim=1) + self.positions
        x = self.blocks(x)
        return {"hidden": x, "logits": self.head(x[:, 0])}


class Causal(nn.Module):
    """A causal mask and positions made of the length; embedding and readout tied."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.places = nn.Embedding(16, 8)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True) for _ in range(3)
        )
        self.readout = nn.Linear(8, 20, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        length = ids.shape[1]
        mask = torch.full((length, length), float("-inf"), device=ids.device).triu(1)
        x = self.embedding(ids) + self.places(torch.arange(length, device=ids.device))
        for block in self.blocks:
            x = block(x, src_mask=mask)
        return self.readout(x)


def _images() -> torch.Tensor:
    return torch.randn(3, 3, 16, 16)


def _ids() -> torch.Tensor:
    return torch.randint(0, 20, (3, 8))


def _numbers() -> torch.Tensor:
    return torch.randn(3, 6)


CASES = {
    "resnet": (ResNet, _images, ["layer1.1", "layer2", "layer2.1", "fc"], [1, 1, 1, 1, 1]),
    "unet": (UNet, _images, ["down2", "middle", "up2", "up1"], [1, 1, 2, 3, 2]),
    "residual": (Residual, _numbers, ["blocks.1", "blocks.2", "blocks.3", "last"], [1, 1, 1, 1, 1]),
    "tagger": (Tagger, _ids, ["lstm", "out"], [1, 2, 1]),
    "dense": (Dense, _numbers, ["fc1", "fc2", "fc3", "out"], [1, 2, 3, 4, 1]),
    "adapted": (Adapted, _numbers, ["blocks.0", "blocks.1", "blocks.2", "head"], [1, 1, 1, 1, 1]),
    "vit": (ViT, _images, ["blocks.0", "blocks.1", "blocks.2", "head"], [1, 1, 1, 1, 1]),
    "causal": (Causal, _ids, ["blocks.0", "blocks.1", "blocks.2", "readout"], [1, 1, 1, 1, 1]),
}
"""By name: the class, samples, split points, and how many values each part takes."""
