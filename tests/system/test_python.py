"""dni_async.train from scripts and threads, with real processes, as a user's own folder has it."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.conftest import Script

pytestmark = pytest.mark.system
ROOT = Path(__file__).resolve().parents[2]


DATA = """
import numpy as np, torch, dni_async
from torch import nn
rng = np.random.default_rng(0)
y = rng.integers(0, 3, 400)
x = (rng.normal(size=(400, 6)) + 2 * y[:, None]).astype(np.float32)
data = (x[:300], y[:300], x[300:], y[300:])
quick = dict(batch_size=50, lr=0.01, progress=False)
torch.manual_seed(1)
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
"""


@pytest.mark.parametrize("name", ["own_data", "own_rule", "from_torch", "callbacks"])
def test_the_examples_run_from_another_folder(script: Callable[..., Script], name: str) -> None:
    run = script(ROOT / "examples" / f"{name}.py", is_cold=name == "own_data")
    assert run.end() == 0, run.output
    accuracy = re.search(r"TrainingResult\(.*test_accuracy=([\d.]+)[,)]", run.output)
    assert accuracy, run.output
    assert float(accuracy.group(1)) > 0.8
    if name == "own_rule":
        assert "updates by stage: 60 60 120" in run.output
    if name == "callbacks":
        assert "stopped after" in run.output
        assert "4 epochs gained less than 0.5%" in run.output
    uses_torchs = name == "from_torch"  # whose optimizers make a cache
    assert [each for each in run.left() if not (uses_torchs and "torchinductor" in each)] == []


def test_training_starts_from_the_given_weights_and_leaves_them_alone(
    script: Callable[..., Script],
) -> None:
    """Lockstep equals the same steps by torch alone, so workers began where the model stood."""
    run = script(
        DATA
        + """
from dni_async.data import batch_order
before = {name: weight.clone() for name, weight in model.state_dict().items()}
result = dni_async.train(
    model, data, rule="backprop", stages=2, epochs=2, optimizer="sgd", momentum=0.0,
    threads_per_worker=1, baseline=True, run_dir="kept", **quick,
)
after = model.state_dict()
assert all(torch.equal(before[name], after[name]) for name in before)
torch.set_num_threads(1)
for epoch in (1, 2):
    for chosen in batch_order(300, 50, seed=0, epoch=epoch):
        model.zero_grad()
        out = model(torch.from_numpy(x[chosen]))
        nn.functional.cross_entropy(out, torch.from_numpy(y[chosen])).backward()
        for weight in model.parameters():  # torch.optim would leave a compiler's cache behind
            weight.data -= 0.01 * weight.grad
for name, weight in result.model.state_dict().items():
    torch.testing.assert_close(weight, model.state_dict()[name], rtol=1e-5, atol=1e-6)
assert not result.model.training
with torch.no_grad():
    right = (result.model(torch.from_numpy(data[2])).argmax(1).numpy() == data[3]).mean()
assert abs(right - result.accuracy) < 1e-6
ours, one, _ = result.report["runs"]
assert ours["epochs"][-1]["train_loss"] == one["epochs"][-1]["train_loss"]
assert [epoch["epoch"] for epoch in result.epochs] == [1, 2]
print(sorted(path.name for path in result.run_dir.iterdir()))
"""
    )
    assert run.end() == 0, run.output
    assert "model.safetensors" in run.output
    assert run.left() == []


def test_objects_of_a_script_without_a_guard_travel(script: Callable[..., Script]) -> None:
    """A layer, a rule, a synthesizer, a function of __main__; three runs in the same process."""
    own_rule = (ROOT / "examples" / "own_rule.py").read_text(encoding="utf-8")
    rule = own_rule.split("import dni_async\n", 1)[1].split("if __name__")[0]
    run = script(
        DATA
        + rule
        + """
class Twice(nn.Module):
    def forward(self, x):
        return 2 * x
class Silent:
    "Predicts no gradient, so that only the head learns."
    parameters = ()
    def __init__(self, *arguments, **named):
        pass
    def predict(self, hidden, labels):
        return torch.zeros_like(hidden)
    def learn(self, hidden, labels, target):
        pass
first = dni_async.train(nn.Sequential(Twice(), *model), data, rule=EveryOther, epochs=4, **quick)
assert type(first.model[0]) is Twice
assert [w["updates"] for w in first.report["runs"][0]["workers"]] == [12, 12, 24]
second = dni_async.train(
    lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 3)),
    {"x_train": x, "y_train": y, "x_test": x, "y_test": y}, epochs=1, **quick,
)
third = dni_async.train(model, data, synthesizer=Silent, optimizer="sgd", epochs=2, **quick)
kept = [name for name, w in third.model.state_dict().items() if w.equal(model.state_dict()[name])]
assert kept == ["0.weight", "0.bias", "2.weight", "2.bias"], kept
print(second, second.report["config"]["model"])
"""
    )
    assert run.end() == 0, run.output
    assert run.output.count("\n") == 1  # progress=False says nothing
    assert "dni_async.config.given:model_lambda" in run.output
    assert run.left() == []


def test_modules_that_the_script_finds_are_found_by_the_workers(
    script: Callable[..., Script],
) -> None:
    """A path that the script added, and a launcher and workers of its own beside it."""
    run = script(
        """
import sys
from pathlib import Path
Path("deep").mkdir()
Path("deep/layers.py").write_text(
    "from torch import nn\\n"
    "def make():\\n"
    "    return nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))\\n"
)
sys.path.insert(0, "deep")
import dni_async, layers
result = dni_async.train(layers.make, epochs=1, progress=False)
print(result.report["config"]["model"])
""",
        launcher="raise SystemExit('the wrong launcher')",
        workers="raise SystemExit('the wrong workers')",
    )
    assert run.end() == 0, run.output
    assert run.output == "layers:make\n"
    assert run.left() == []


def test_ctrl_c_is_a_keyboard_interrupt_and_leaves_nothing(script: Callable[..., Script]) -> None:
    run = script(
        """
import signal, dni_async
before = signal.getsignal(signal.SIGINT)
try:
    dni_async.train(layers=3, epochs=100_000)
except KeyboardInterrupt:
    assert signal.getsignal(signal.SIGINT) is before
    print("interrupted")
print(dni_async.train(layers=2, epochs=1, progress=False).epochs[0]["epoch"])
"""
    )
    run.wait_for(r"epoch   3")
    run.interrupt()
    assert run.end() == 0, run.output
    assert run.output.endswith("interrupted\n1\n")
    assert run.left() == []


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_script_that_is_ended_leaves_no_worker_and_no_data(
    script: Callable[..., Script], signum: int, code: int
) -> None:
    run = script(DATA + "dni_async.train(model, data, epochs=100_000, batch_size=50)")
    run.wait_for(r"epoch   3")
    run.process.send_signal(signum)
    assert run.end() == code
    left = run.left()
    assert not any(name.startswith("dni-given") for name in left)
    assert signum == signal.SIGKILL or left == []


def test_a_failing_worker_is_the_first_cause_and_its_logs_stay(
    script: Callable[..., Script],
) -> None:
    run = script(
        DATA
        + """
class Fails(nn.Linear):
    seen = 0  # beyond the few batches that are tried before the start
    def forward(self, x):
        self.seen += self.training
        if self.seen > 5:
            raise RuntimeError("too much")
        return super().forward(x)
try:
    dni_async.train(nn.Sequential(nn.Linear(6, 8), Fails(8, 3)), data, **quick)
except dni_async.WorkerDied as error:
    print(str(error).splitlines()[-1])
"""
    )
    assert run.end() == 0, run.output
    assert run.output == "stage 1 (cpu): RuntimeError: too much\n"
    (kept,) = run.left()
    assert (run.temporary / kept / "logs" / "worker-1.log").is_file()


def test_a_module_that_trains_when_imported_is_told_of_the_guard(
    script: Callable[..., Script],
) -> None:
    run = script(
        'import dni_async\ndni_async.train(rule="script:Rule", progress=False)\n'
        "class Rule:\n    pass\n"
    )
    assert run.end() == 1
    assert "put the call under if __name__ == '__main__'" in run.output.splitlines()[-1]
    assert "ConfigError: rule: cannot import 'script'" in run.output
    assert run.left() == []


def test_other_threads_and_event_loops_may_train_one_run_at_a_time(
    script: Callable[..., Script],
) -> None:
    run = script(
        """
import asyncio, threading, dni_async

async def main():
    inside = dni_async.train(layers=2, epochs=1, progress=False)
    apart = asyncio.to_thread(dni_async.train, layers=2, epochs=1, progress=False)
    return inside, await apart

print(*asyncio.run(main()))
entered, release = threading.Event(), threading.Event()
class Held:
    @property
    def tensors(self):
        entered.set()
        release.wait(30)
first = []
def hold():
    try:
        dni_async.train(data=[Held(), Held()])
    except dni_async.DataError as error:
        first.append(error)
thread = threading.Thread(target=hold)
thread.start()
entered.wait(30)
try:
    dni_async.train(layers=2, epochs=1)
except dni_async.ConfigError as error:
    print(error)
release.set()
thread.join()
print(first[0])
"""
    )
    assert run.end() == 0, run.output
    assert run.output.count("TrainingResult") == 2
    assert "train: another run is under way in this process" in run.output
    assert "data: must be (x_train, y_train, x_test, y_test)" in run.output
    assert run.left() == []


def test_the_result_predicts_and_the_run_loads_again(script: Callable[..., Script]) -> None:
    """Of torch's data sets with one-hot labels: figures, outputs, the network of the folder."""
    run = script(
        DATA
        + """
from torch.utils.data import DataLoader, Subset, TensorDataset
one_hot = torch.from_numpy(np.eye(3)[y])
whole = TensorDataset(torch.from_numpy(x.astype(np.float64)), one_hot)
parts = Subset(whole, range(300)), Subset(whole, range(300, 400))
loaders = DataLoader(parts[0], batch_size=50, shuffle=True), DataLoader(parts[1], batch_size=100)
result = dni_async.train(model, loaders, epochs=3, lr=0.01, progress=False, run_dir="kept")
assert result.report["config"]["batch_size"] == 50
outputs = result.predict(x[300:])
right = (outputs.argmax(1) == y[300:]).mean()
assert abs(right - result.accuracy) < 1e-6 and result.metrics["test_accuracy"] == result.accuracy
again = dni_async.load("kept", model=nn.Sequential(*model))
with torch.no_grad():
    assert torch.equal(again(torch.from_numpy(x[300:])), result.model(torch.from_numpy(x[300:])))
try:
    dni_async.load("kept")
except dni_async.ConfigError as error:
    print(error)
dni_async.train(layers=2, width=16, norm="none", epochs=1, progress=False, run_dir="ours")
print(sum(weight.numel() for weight in dni_async.load("ours").parameters()))
"""
    )
    assert run.end() == 0, run.output
    assert "was given to dni_async.train as an object" in run.output
    assert run.output.endswith(f"{64 * 16 + 16 + 16 * 10 + 10}\n")
    assert run.left() == []
