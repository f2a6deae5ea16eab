"""The benchmark commands run, write what they measured with the facts beside it, leave nothing."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.facts import Observation
from benchmarks.harness.shares import shares
from dni_async.errors import ConfigError
from tests.marked_process import MarkedProcess

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]
slow = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
FACTS = set(Observation().facts())
LONG_S = 390.0
COLD = ("cores", "deep", "training")  # forked, torch leaves a compiler's cache behind


class Command(MarkedProcess):
    """One ``python -m benchmarks.NAME --quick``."""

    def __init__(self, folder: Path, name: str, *arguments: str) -> None:
        self.json = folder / "result.json"
        arguments = ("--quick", "--json", str(self.json), *arguments)
        super().__init__(
            [sys.executable, "-m", f"benchmarks.{name}", *arguments],
            cwd=ROOT,
            is_cold=name in COLD,
        )

    def ended(self) -> tuple[int, str]:
        """Exit code and output."""
        return self.end(LONG_S), self.output

    def result(self) -> dict[str, Any]:
        """The JSON, with the facts that each must have."""
        document: dict[str, Any] = json.loads(self.json.read_text())
        assert set(document["machine"]) == FACTS
        assert document["settings"]["repeats"] == 1
        return document


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Start one command; all its processes are gone after the test."""
    started: list[Command] = []

    def begin(name: str, *arguments: str) -> Command:
        started.append(Command(tmp_path, name, *arguments))
        return started[-1]

    yield begin
    for command in started:
        command.abort()


def assert_clean_end(command: Command) -> None:
    """Exit code 0, no process, no file."""
    code, output = command.ended()
    assert code == 0, output
    assert command.left_after(5) == []
    assert list(command.temporary.iterdir()) == []


@slow
def test_defaults(start: Callable[..., Command]) -> None:
    command = start("workloads.defaults")
    assert_clean_end(command)
    result = command.result()
    (row,) = result["rows"]
    assert 0 < row["accuracy"][0] <= 1
    if result["machine"]["not_comparable"] is None:
        assert row["speedup"][0] > 0
        assert row["equal"][0] > 0
        assert result["best"] == row["settings"]
    else:
        assert row["speedup"] is row["equal"] is result["best"] is None


@slow
def test_watching(start: Callable[..., Command]) -> None:
    command = start("workloads.watching")
    assert_clean_end(command)
    rates = command.result()["rates"]
    assert {"nothing", "curves", "best checkpoint"} <= rates.keys()
    assert all(rate > 0 for each in rates.values() for rate in each)


def test_links(start: Callable[..., Command]) -> None:
    command = start("links", "--sizes", "1024,262144")
    assert_clean_end(command)
    rows = {(row["lane"], row["size_bytes"]): row for row in command.result()["rows"]}
    lanes = {"link-slots", "link-ipc", "link-tcp", "raw-ipc", "raw-tcp", "raw-tcp-parts"}
    lanes |= {"unix-socket", "gloo", "memcpy"}
    assert {(lane, size) for lane in lanes for size in (1024, 262144)} <= set(rows)
    assert {key[0] for key, row in rows.items() if "doorbell_p50_us" in row} == lanes - {"memcpy"}
    assert [key for key, row in rows.items() if row.get("shared")] == [("link-slots", 262144)]
    assert all(row["gb_per_s"]["median"] > 0 for row in rows.values() if "gb_per_s" in row)


@pytest.fixture
def groups() -> Path:
    """Where control groups are made; a test is skipped where none may be."""
    try:
        with shares(1, 0.5) as (group,):
            return group.parent.parent
    except ConfigError as error:
        pytest.skip(str(error))


def test_cores(start: Callable[..., Command], groups: Path) -> None:
    command = start("cores", "--arms", "dni,one-core", "--figures", "rates,simulation")
    assert_clean_end(command)
    (cell,) = command.result()["cells"]
    assert (cell["name"], cell["cores"], cell["failed"]) == ("64-64x1-10, batch 64", 2, {})
    (row,) = cell["rounds"]
    assert [len(row[arm]["epochs"]) for arm in ("dni", "one-core")] == [2, 2]
    quiet = not any(each["not_comparable"] for each in row.values())
    assert (cell["arms"]["one-core"]["dni_over_it"] is not None) == quiet
    assert cell["foretold"]["samples_per_second"] > 0
    assert not list(groups.glob(f"dni-cores-{command.process.pid}"))


@slow
def test_balance(start: Callable[..., Command], groups: Path) -> None:
    command = start("workloads.balance")
    assert_clean_end(command)
    result = command.result()
    (done,) = result["rounds"]
    assert set(done) == {"undisturbed", "rebalance off", "rebalance on"}
    assert [len(run["epochs"]) for run in done.values()] == [3, 2, 3]
    assert all(run["skipped"] == 0 for run in done.values())
    assert (result["hashes"]["moves"], result["hashes"]["different"]) == (1, [])


@slow
def test_cores_with_rivals(start: Callable[..., Command], groups: Path) -> None:
    command = start("cores")
    assert_clean_end(command)
    (cell,) = command.result()["cells"]
    assert cell["failed"] == {}
    assert set(cell["arms"]) == {"dni", "one-core", "all-cores", "1f1b", "data-parallel"}
    assert cell["chosen"]["waiting"] in ("spin", "sleep")
    losses = {arm: run["train_loss"] for arm, run in cell["rounds"][0].items() if arm != "dni"}
    assert max(losses.values()) - min(losses.values()) < 1e-3
    (learnt,) = cell["learnt"]
    assert len(learnt["dni"]) == len(learnt["backprop"])


@slow
def test_learning(start: Callable[..., Command]) -> None:
    command = start("learning", "--rows", "fdg;no-bprop")
    assert_clean_end(command)
    fdg, control = command.result()["rows"]
    assert fdg["name"] == "fdg, 4 x 256 BN"
    assert [len(fdg[f"{arm}errors"]) for arm in ("", "backprop_", "in_order_")] == [1, 1, 1]
    assert [said.split(": ")[0] for said in fdg["verdicts"]] == ["backprop + 0.1"]
    assert (control["published"], control["verdicts"]) == (12.6, [])


@slow
def test_quantised(start: Callable[..., Command]) -> None:
    command = start("workloads.quantised")
    assert_clean_end(command)
    rows = {(r["rule"], r["wire"], r["is_in_order"]): r for r in command.result()["rows"]}
    assert len(rows) == 3 * (8 + 4)
    for rule in ("dni, anchors", "dni, bootstrap", "fdg"):
        same, int8 = (rows[rule, wire, False]["batch_bytes"][0] for wire in ("same", "int8"))
        assert 3 < same / int8 < 4
        assert rows[rule, "same", True]["up"] == [0.0]
        assert 0 < rows[rule, "int8", True]["up"][0] < rows[rule, "int8 stochastic", True]["up"][0]


@slow
def test_deep(start: Callable[..., Command]) -> None:
    command = start(
        *("deep", "--rows", "CNN 8", "--delays", "2", "--lrs", "1e-3,3e-3", "--jobs", "2"),
        *("--arm", "default:", "--arm", "late: --rule fdg"),
    )
    assert_clean_end(command)
    plain, ours, late = command.result()["rows"]
    assert [row["arm"] for row in (plain, ours, late)] == ["backprop", "default", "late"]
    assert [len(row["grid"]) for row in (plain, ours, late)] == [2, 2, 2]
    assert ours["lr"] == min(ours["grid"], key=lambda rate: rate["quality"])["lr"]
    assert 0.6 < ours["work"] < late["work"]
    assert (
        ours["behind"]
        == ours["seeds"][0]["epochs"][-1]["error"] - (plain["seeds"][0]["epochs"][-1]["error"])
    )
    assert len(ours["seeds"][0]["agreement"]) == 3
    assert late["verdict"].startswith("+0.30: ")


@slow
def test_deep_by_real_workers(start: Callable[..., Command]) -> None:
    arguments = ("--real", "--rows", "transformer 4", "--arm", "default:", "--no-count")
    command = start("deep", *arguments)
    assert_clean_end(command)
    plain, ours = command.result()["rows"]
    ratio = ours["seeds"][0]["epochs"][-1]["loss"] / plain["seeds"][0]["epochs"][-1]["loss"]
    assert ours["behind"] == ratio
    assert ours["verdict"].startswith("1.000x: ")


@slow
def test_chaos(start: Callable[..., Command]) -> None:
    command = start("chaos")
    code, output = command.ended()
    assert code == 0, output
    result = command.result()
    (row,) = result["disturbed"]
    stages = [name for name in result["killed"][0] if name.startswith("dni-stage-")]
    assert row["num_restarts"] == len(stages) >= 1
    assert result["undisturbed"][0]["num_restarts"] == 0
    assert row["num_epochs"] == 40
    assert row["broken"] == []
    assert command.left_after(5) == []


@slow
def test_checkpointing(start: Callable[..., Command]) -> None:
    command = start("workloads.checkpointing")
    assert_clean_end(command)
    result = command.result()
    (pair,) = result["pairs"]
    assert pair["with"]["num_checkpoints"] >= 1
    assert pair["with"]["checkpoint_bytes"] > 0
    assert pair["without"]["num_checkpoints"] == 0
    assert (result["slower"] is None) == (result["machine"]["not_comparable"] is not None)
    for name, spread in (result["slower"] or {}).items():
        assert spread["median"] == pair["with"][name] / pair["without"][name] - 1


@slow
def test_learning_a_text(start: Callable[..., Command]) -> None:
    command = start("learning", "--rows", "transformer, deep")
    assert_clean_end(command)
    (text,) = command.result()["rows"]
    assert text["config"]["data"] == "characters.npz"
    ratio = text["losses"][0] / text["backprop_losses"][0]
    assert text["verdicts"][0].startswith(f"loss {ratio:.3f}x, 1.05: ")


def test_rows_that_do_not_exist_are_refused(start: Callable[..., Command]) -> None:
    code, output = start("learning", "--rows", "nothing").ended()
    assert code == 2
    assert "rows: none is called 'nothing'; default, 4 x 256 BN;" in output


@slow
def test_training_throughput(start: Callable[..., Command]) -> None:
    command = start("training", "--data", "digits", "--batch-sizes", "32", "--widths", "16")
    assert_clean_end(command)
    (cell,) = command.result()["cells"]
    assert cell["failed"] == {}
    assert set(cell["arms"]) == {
        "dni",
        "baseline-1-thread",
        "baseline-all-threads",
        "gpipe",
        "1f1b",
        "data-parallel",
    }
    losses = {arm: row["train_loss"][0] for arm, row in cell["arms"].items() if arm != "dni"}
    # All that backpropagate do the same arithmetic; only their sums are in another order.
    assert max(losses.values()) - min(losses.values()) < 1e-3
    share = cell["ceiling"]["share_reached"]
    assert share is None if cell["not_comparable"] else share["median"] > 0


@slow
def test_training_to_an_accuracy(start: Callable[..., Command]) -> None:
    arguments = ("--data", "digits", "--max-samples", "0", "--batch-sizes", "32", "--epochs", "3")
    command = start("training", "--target", "0.5", *arguments)
    assert_clean_end(command)
    (cell,) = command.result()["cells"]
    assert set(cell["arms"]) == {"dni", "baseline-1-thread", "baseline-all-threads"}
    assert all(row["seconds_to_target"]["median"] > 0 for row in cell["arms"].values())


@slow
def test_scaling(start: Callable[..., Command]) -> None:
    command = start("scaling", "--data", "digits", "--stages", "1,2", "--longest", "16")
    assert_clean_end(command)
    result = command.result()
    for mode in ("strong", "weak"):
        assert [row["stages"] for row in result[mode]] == [1, 2]
        assert all(row["simulated_samples_per_second"] > 0 for row in result[mode])
    assert {point["stages"] for point in result["simulated"]} == {4, 16}


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("links", ["--repeats", "50", "--sizes", "1024"], "round 1"),
        pytest.param(
            *("training", ["--data", "digits", "--arms", "gpipe", "--repeats", "50"], "round 1"),
            marks=slow,
        ),
    ],
)
def test_a_signal_leaves_no_process_and_no_file(
    start: Callable[..., Command], name: str, arguments: list[str], words: str
) -> None:
    command = start(name, *arguments)
    command.wait_for(words, LONG_S)
    command.process.send_signal(signal.SIGTERM)
    code, output = command.ended()
    assert code == 128 + signal.SIGTERM, output
    assert command.left_after(5) == []
    assert list(command.temporary.iterdir()) == []


def test_a_signal_leaves_no_control_group(start: Callable[..., Command], groups: Path) -> None:
    command = start("cores", "--arms", "dni", "--figures", "rates", "--repeats", "50")
    command.wait_for("round 1", LONG_S)
    assert list(groups.glob(f"dni-cores-{command.process.pid}"))
    command.process.send_signal(signal.SIGINT)
    code, output = command.ended()
    assert code == 128 + signal.SIGINT, output
    assert command.left_after(5) == []
    assert not list(groups.glob(f"dni-cores-{command.process.pid}"))


def test_a_kill_leaves_no_process(start: Callable[..., Command]) -> None:
    command = start("links", "--repeats", "50", "--sizes", "1024")
    command.wait_for("round 1", LONG_S)
    assert len(command.alive()) >= 3  # a git that tells the commit may be there as well
    command.process.kill()
    assert command.left_after(5) == []


@pytest.mark.parametrize(
    ("name", "arguments", "complaint"),
    [
        ("links", ["--lanes", "link-slots,carrier-pigeon"], "carrier-pigeon"),
        ("links", ["--sizes", "1023"], "multiples of 4"),
        ("training", ["--arms", "horse"], "horse"),
        ("cores", ["--figures", "seven"], "unknown 'seven'"),
        ("training", ["--depths", "zero"], "zero"),
        ("scaling", ["--json", "/nowhere/at/all.json"], "/nowhere/at"),
    ],
)
def test_what_cannot_be_measured_is_said_at_once(
    start: Callable[..., Command], name: str, arguments: list[str], complaint: str
) -> None:
    code, output = start(name, *arguments).ended()
    assert code == 2, output
    assert complaint in output
    assert "Traceback" not in output


@slow
def test_uneven_stages(start: Callable[..., Command]) -> None:
    command = start("workloads.uneven", "--layers", "3", "--width", "32", "--slow", "1")
    assert_clean_end(command)
    cases = {case["name"]: case for case in command.result()["cases"]}
    assert list(cases) == ["no slow stage", "wait", "skip", "replay", "skip and replay"]
    batches = -(-1437 // 64)
    assert cases["wait"]["updates"] == [batches] * 3
    for case in cases.values():
        assert len(case["errors"]) == 1
        if case["when_full"] == "wait":
            assert case["skipped"] == [0, 0, 0]
        if case["when_empty"] == "wait":
            assert case["replayed"] == [0, 0, 0]
        assert case["updates"][0] == batches  # the source replays nothing and sees every batch


@slow
def test_users(start: Callable[..., Command]) -> None:
    """A network that trains, one that is refused, and what is asked of either."""
    command = start("users", "--rows", "annealed;through an object")
    code, output = command.ended()
    assert code == 0, output
    assert command.left_after(5) == []
    left = [path.name for path in command.temporary.iterdir()]
    assert [name for name in left if not name.startswith("torchinductor_")] == []  # torch.optim's
    trained, refused = command.result()["rows"]
    assert (trained["verdict"], trained["bound"]) == ("met (runs)", None)
    (seed,) = trained["seeds"]
    assert (seed["refused"], seed["complaints"]) == ("", [])
    assert min(seed["ours"], seed["plain"], seed["ours_seconds"], seed["plain_seconds"]) > 0
    assert refused["verdict"] == "met (refused)"
    assert "share a dict, which is not shared" in refused["seeds"][0]["refused"]


@slow
def test_hostile(start: Callable[..., Command]) -> None:
    """The command itself fails where a stranger costs more than may be."""
    command = start("hostile", "--connections", "60", "--frames", "6000")
    assert_clean_end(command)
    (row,) = command.result()["rows"]
    assert row["decoded_messages"] + row["decoded_refused"] == 6000
    assert row["decoded_refused"] > 3000
    assert (row["let_in"], row["lines_about_strangers"]) == (0, 0)


@slow
def test_hostile_members(start: Callable[..., Command]) -> None:
    command = start("hostile", "--by", "members", "--frames", "6000")
    assert_clean_end(command)
    (row,) = command.result()["rows"]
    assert (row["forged_accepted"], row["forged_figures_stand"]) == (0, True)
    assert row["flood_not_heard"] > 3000
    assert min(row["offered_beside"], row["offered_elsewhere"]) > 1000
    assert row["epochs_with_forged_figures"] == 0
