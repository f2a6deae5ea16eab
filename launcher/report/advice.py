"""What to change about a decoupled run, in sentences; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dni_async.decisions.windows import QUEUEING, window_for
from dni_async.launcher.report.ceiling import Line, StageLoad

__all__ = ["MUCH", "Case", "advise", "ms"]

AT_CEILING = 0.85  # from this share on a run is at its ceiling
MUCH = 0.2  # a share of the time that is worth a sentence
SATURATED = 0.8  # a stage that waits less than the rest of its time has none to spare
UNEVEN = 1.25  # the slowest stage over the mean of all
SHORT_EPOCH = 10  # batches per stage: with fewer, filling and draining the line shows
FAR_S = 0.02  # a credit that takes so long came from afar, where tcp's buffers may be too small
DISTURBED = 0.75  # of the cores that stages were ready to use, so few were had


@dataclass(frozen=True, slots=True)
class Case:
    """All that advice is drawn from. baseline: the faster one's samples per second, 0 if none.

    links: by the stage below, as report.json has them; empty in older reports. is_drained: whether
    the line was for tests.
    """

    line: Line
    config: Mapping[str, Any]
    baseline: float
    links: Mapping[int, Mapping[str, Any]]
    is_drained: bool = True

    @property
    def is_at_ceiling(self) -> bool:
        """Whether little more is possible as the run stands."""
        return self.line.share >= AT_CEILING

    @property
    def may_choose_stages(self) -> bool:
        """Whether --stages auto is possible, and was not asked for."""
        is_here = (
            "remote" not in self.config.get("workers", []) and self.config.get("engine") != "ray"
        )
        return self.is_decoupled and is_here and self.config.get("stages") != "auto"

    @property
    def is_decoupled(self) -> bool:
        """Whether stages work at the same time."""
        return self.line.limit != "lockstep" and len(self.line.loads) > 1


def advise(case: Case) -> tuple[str, ...]:
    """All that is worth changing, what matters most first."""
    return tuple(said for adviser in _ADVISERS if (said := adviser(case)))


def _advise_data(case: Case) -> str:
    source = case.line.loads[0]
    if source.starved < MUCH:
        return ""
    return (
        "Batches come sooner from more processes of the loader (DataLoader(num_workers=...)) where "
        "cores are free, with less work for each sample, or prepared before the run."
    )


def _advise_lockstep(case: Case) -> str:
    if case.line.limit != "lockstep" or len(case.line.loads) == 1:
        return ""
    return "In lockstep only one stage works at a time: --rule dni lets all work at once."


def _advise_cores(case: Case) -> str:
    if case.line.limit != "cores" or not case.is_at_ceiling:
        return ""
    less = "a larger --batch-size"
    if case.is_decoupled and case.config["targets"] == "bootstrap":
        less += " or --targets anchor"
    text = f"All cores are busy: the run is at the ceiling. Less work per sample helps: {less}."
    if case.may_choose_stages and len(case.line.loads) > max(2, case.line.cores):
        text += " --stages auto finds out whether fewer workers do."
    return text


def _advise_bottleneck(case: Case) -> str:
    line, slowest = case.line, case.line.slowest
    if line.limit != "stage" or not case.is_at_ceiling or not case.is_decoupled:
        return ""
    if slowest.batch_seconds < UNEVEN * line.mean_batch_seconds:
        return "The stages are even and the run is at the ceiling: only faster stages help."
    start = f"Stage {slowest.stage} is busy {slowest.busy:.0%} and the others wait for it: "
    if case.config.get("partition") == "even":
        return start + "--partition balanced groups the layers by the time they take."
    if slowest.num_layers > 1:
        return start + f"give it fewer than its {slowest.num_layers} layers."
    return start + "its one layer cannot be divided, so fewer stages (--stages) lose nothing."


def _advise_window(case: Case) -> str:
    """Look at the highest stage that its window holds up: those below it only follow."""
    blocked = [load for load in case.line.loads[:-1] if load.blocked >= MUCH]
    if not blocked or not case.is_decoupled or case.is_at_ceiling:
        return ""
    load = blocked[-1]
    above = case.line.loads[case.line.loads.index(load) + 1]
    start = (
        f"Stage {load.stage} waits {load.blocked:.0%} of the time for credits from stage "
        f"{above.stage}"
    )
    if 1 - above.waiting >= SATURATED:
        return f"{start}, which has no time left: that stage needs less work, or fewer beside it."
    link = case.links.get(load.stage)
    if link is None or None in (link["credit_least_seconds"], link["credit_median_seconds"]):
        return f"{start}: raise --window (now {case.config['window']})."
    return f"{start}: {_advise_link(link, case.line.slowest, case.config)}"


def _advise_link(link: Mapping[str, Any], slowest: StageLoad, config: Mapping[str, Any]) -> str:
    """What would fill a link whose window is full while the stage above has time left.

    Where credits take no longer than the first ones did, nothing queues: there is room for more on
    the way. Where they take much longer, the link passes no more, and more would only queue.
    """
    least_s, rate = link["credit_least_seconds"], link["up_bytes_per_second"]
    is_queueing = link["credit_median_seconds"] >= QUEUEING * least_s and rate > 0
    bandwidth = rate if is_queueing else float("inf")
    delay_s = max(0.0, least_s - link["up_bytes"] / bandwidth - slowest.batch_seconds)
    window = window_for(bandwidth, delay_s, link["up_bytes"], slowest.batch_seconds)
    if window > link["window"]:
        text = (
            f"a credit takes {ms(least_s)} and the slowest stage {ms(slowest.batch_seconds)}, so "
            f"--window {window} would fill the link"
        )
        if config.get("window") == "auto":  # set as the run goes
            return f"{text} from the start (--window auto has come to {link['window']})."
        found = ", and --window auto finds it" if link["carrier"] == "tcp" else ""
        return f"{text} (now {link['window']}){found}."
    if not (is_queueing and link["carrier"] == "tcp"):
        return f"raise --window (now {link['window']})."
    text = f"the link passes {rate / 1e6:,.1f} MB/s, and a larger --window would only queue"
    if least_s >= FAR_S:
        text += " (dni-doctor says whether that is the link's limit or tcp's buffers')"
    return f"{text}. {_advise_bytes(link, config)}"


def _advise_bytes(link: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """How a link that passes no more would have less to pass."""
    zeros = "" if config.get("wire_zeros") == "omit" else "--wire-zeros omit loses nothing"
    if link["wire_dtype"] == "int8":
        return "Smaller activations at that boundary help."
    quarter = "--wire-dtype int8 sends a quarter of float32's bytes"
    return f"{zeros}, {quarter}." if zeros else f"{quarter}."


def _advise_epochs(case: Case) -> str:
    num_stages = len(case.line.loads)
    num_batches = case.line.num_batches * case.config.get("evaluate_every", 1)
    is_short = num_batches < SHORT_EPOCH * num_stages
    if not (case.is_decoupled and case.is_drained and is_short):
        return ""
    lost = (num_stages - 1) / (num_batches + num_stages - 1)
    return (
        f"A test of the network follows after only {num_batches} batches: to fill and drain "
        f"{num_stages} stages takes about {lost:.0%} of the time. --evaluate-every tests less "
        "often; more data and a smaller --batch-size help too."
    )


def _advise_threads(case: Case) -> str:
    line = case.line
    idle = line.cores - line.num_threads
    if line.limit != "lockstep" and idle >= len(line.loads):
        return f"{idle} of {line.cores} cores have no thread: raise --threads-per-worker."
    return ""


def _advise_neighbours(case: Case) -> str:
    line = case.line
    ready = min(line.ready_cores, float(line.cores))
    if line.limit == "lockstep" or line.used_cores >= DISTURBED * ready:
        return ""
    return (
        f"The stages were ready to use {ready:.1f} cores and had {line.used_cores:.1f}: other "
        "programs, or calls in the model that block, held them up."
    )


def _advise_sending(case: Case) -> str:
    most = max(case.line.loads, key=lambda load: load.sending)
    if most.sending < MUCH:
        return ""
    start = f"Stage {most.stage} spends {most.sending:.0%} of the time sending: "
    if case.config["transport"] != "auto":
        return start + "--transport auto passes large tensors in shared memory."
    return start + "fewer stages (--stages) or larger layers make it worth while."


def _advise_baseline(case: Case) -> str:
    if not case.is_decoupled or case.baseline <= case.line.ceiling:
        return ""
    return (
        f"Plain backpropagation does {case.baseline:,.0f} samples/s, more than this line could at "
        "best: such layers cost more to pass on than to compute. Larger --width or --batch-size, "
        f"or fewer workers (--stages{' auto' if case.may_choose_stages else ''})."
    )


def ms(seconds: float) -> str:
    """Seconds in milliseconds."""
    return f"{seconds * 1000:.2f} ms"


_ADVISERS: tuple[Callable[[Case], str], ...] = (
    _advise_data,
    _advise_lockstep,
    _advise_cores,
    _advise_bottleneck,
    _advise_window,
    _advise_epochs,
    _advise_threads,
    _advise_neighbours,
    _advise_sending,
    _advise_baseline,
)
