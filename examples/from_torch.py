"""A script of plain torch, moved into four processes: python examples/from_torch.py

The convolutional network, the loss and the loaders are those of torch's own first example. What
was changed stands in docs/models-and-data.md: the loop over epochs has become one call.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import nn, optim
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import dni_async


class Net(nn.Module):
    """Two convolutions and two linear layers, with dropout: images to logarithms of shares."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3)
        self.conv2 = nn.Conv2d(16, 32, 3)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(128, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.conv1(x))
        x = functional.relu(self.conv2(x))
        x = functional.max_pool2d(x, 2)
        x = torch.flatten(self.dropout1(x), 1)
        x = functional.relu(self.fc1(x))
        x = self.fc2(self.dropout2(x))
        return functional.log_softmax(x, dim=1)


def test(model: nn.Module, loader: DataLoader[tuple[torch.Tensor, ...]]) -> None:
    model.eval()
    loss, correct, count = 0.0, 0, 0
    with torch.no_grad():
        for data, target in loader:
            output = model(data)
            loss += functional.nll_loss(output, target, reduction="sum").item()
            correct += int((output.argmax(dim=1) == target).sum())
            count += len(target)
    print(f"Test set: average loss {loss / count:.4f}, accuracy {correct}/{count}")


def main() -> None:
    torch.manual_seed(1)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(y)
    train_loader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=64, shuffle=True)
    test_loader = DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=1000)
    model = Net()

    result = dni_async.train(
        model,
        (train_loader, test_loader),
        loss=functional.nll_loss,
        split=["conv2", "fc1", "fc2"],
        optimizer=optim.Adadelta,
        lr=1.0,
        lr_schedule=lambda update, num_updates: 0.9 ** (10 * update // num_updates),
        epochs=10,
    )
    print(result)
    test(result.model, test_loader)


if __name__ == "__main__":
    main()
