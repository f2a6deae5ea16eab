"""The options of ``dni-launch`` that are settings of a run: one for each field of RunConfig."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from dni_async.config.run_config import CHOICES, RunConfig

__all__ = ["run_settings", "stage_count", "window_size"]

DEFAULTS = RunConfig()


def stage_count(value: str | int) -> int | str:
    """auto, or a number that the configuration looks at; a file gives it as an int."""
    return _number_or_auto(value, "a number of workers")


def window_size(value: str | int) -> int | str:
    """The same for windows."""
    return _number_or_auto(value, "a number of activations")


def _number_or_auto(value: str | int, what: str) -> int | str:
    text = str(value)
    if text == "auto":
        return text
    if not text.isascii() or not text.isdigit():
        raise click.BadParameter(f"{text!r} is neither {what} nor auto.")
    return int(text)


def _setting(name: str, help_text: str, **options: Any) -> Callable[[Any], Any]:
    """The option of one RunConfig field; its default is the field's."""
    flag = name.replace("_", "-")
    default = getattr(DEFAULTS, name)
    if isinstance(default, tuple):
        default = ",".join(default)
    flags = f"--{flag}/--no-{flag}" if isinstance(default, bool) else f"--{flag}"
    if name in CHOICES:
        options.setdefault("type", click.Choice(CHOICES[name]))
    return click.option(
        flags, name, default=default, show_default=default is not None, help=help_text, **options
    )


SETTINGS = (
    _setting(
        "layers",
        "Layers of the MLP, of cnn and of residual, the classifying one included.",
        type=int,
    ),
    _setting("width", "Units of each hidden layer; filters of cnn.", type=int),
    _setting("norm", "Normalisation before each ReLU."),
    _setting(
        "model",
        "Instead of the MLP: cnn, 5x5 convolutions over images; residual, an MLP of residual "
        "blocks; or a torch.nn.Sequential of your own, made by a callable without arguments.",
        metavar="cnn|residual|PACKAGE.MODULE:FACTORY",
    ),
    _setting(
        "stages",
        "Group the layers into this many workers; auto: as many as should be fastest on the cores, "
        "by what each layer takes.  [default: one per layer]",
        type=stage_count,
        metavar="N|auto",
    ),
    _setting("partition", "balanced: group layers by the time each takes on a real batch."),
    _setting(
        "data",
        "digits, mnist, fashion-mnist, cifar10, or a PATH.npz with x_train y_train x_test y_test.",
    ),
    _setting("data_dir", "Where the files of mnist, fashion-mnist and cifar10 lie.", metavar="DIR"),
    _setting(
        "rule",
        "How a stage gets its gradient: dni predicts it, dgl has a local loss, fdg takes the "
        "true one late; backprop runs in lockstep; with no-bprop only the head learns. Or a "
        "class of your own.",
        metavar="dni|dgl|fdg|backprop|no-bprop|PACKAGE.MODULE:CLASS",
    ),
    _setting(
        "gradient_shrink",
        "With fdg: what a gradient is multiplied by at each boundary.",
        type=float,
    ),
    _setting(
        "unlock",
        "What no stage waits for: update is gradients; forward, inputs too, which every stage "
        "predicts from the samples (dni, dgl, no-bprop).",
    ),
    _setting("targets", "What synthesizers of dni learn from."),
    _setting("anchor_every", "With targets anchor: every so many batches; 0 is never.", type=int),
    _setting(
        "anchor_updates",
        "On anchor batches update with the true gradient when it is back, not with a synthetic "
        "one.",
    ),
    _setting(
        "synthesizer",
        "What predicts gradients at each boundary; linear, mlp and conv (for images) learn from "
        "returned gradients alone: use them with --targets bootstrap. Or a class of your own.",
        metavar="critic|linear|mlp|conv|PACKAGE.MODULE:CLASS",
    ),
    _setting("label_conditioning", "Let synthesizers see the labels."),
    _setting(
        "synthesizer_lr",
        "Adam learning rate of the synthesizers.  [default: critic 1e-2, linear and conv 1e-3, "
        "mlp 1e-4]",
        type=float,
    ),
    _setting(
        "synthesizer_layers",
        "Hidden layers of critic, mlp and conv; with none they are linear.  [default: critic 0, "
        "mlp and conv 2]",
        type=int,
    ),
    _setting(
        "synthesizer_width",
        "Units or filters of those.  [default: mlp 1024, critic and conv as the activation has "
        "units or channels]",
        type=int,
    ),
    _setting(
        "synthesizer_pool",
        "With critic on images: classify the means of so many regions in each direction; 0 is "
        "every place by itself.",
        type=int,
    ),
    _setting(
        "synthesizer_warmup",
        "Updates that a synthesizer makes before its gradients are applied.",
        type=int,
    ),
    _setting("synthesizer_scale", "What synthetic gradients are multiplied by.", type=float),
    _setting(
        "synthesizer_clip",
        "Most that the norm of the gradients may be by which a synthesizer learns.",
        type=float,
    ),
    _setting("epochs", "Passes over the training data.", type=int),
    _setting(
        "evaluate_every",
        "Test the network after every so many epochs, and after the last. The line is drained for "
        "it, and an epoch in the report is all since the test before.",
        type=int,
    ),
    _setting("batch_size", "Samples per batch.", type=int),
    _setting("optimizer", "Optimizer of every stage and of the baseline (fused kernels)."),
    _setting("lr", "Learning rate.", type=float),
    _setting("lr_schedule", "Learning rate over the run; step: a tenth after 60 and after 80 %."),
    _setting("warmup_updates", "Updates over which the learning rate rises linearly.", type=int),
    _setting(
        "clip_norm",
        "Most that the norm of a stage's gradients may be; the baseline's, of all its layers.",
        type=float,
    ),
    _setting(
        "update_probability",
        "With which a stage makes an update; below 1, stages update in random order.",
        type=float,
    ),
    _setting("accumulate", "Batches whose mean gradient makes one update.", type=int),
    _setting(
        "staleness_power",
        "Divide the rate of a late gradient's update by (1 + staleness) to this power; 0 leaves "
        "it.",
        type=float,
    ),
    _setting("momentum", "Momentum of sgd.", type=float),
    _setting("weight_decay", "L2 penalty (adam, sgd) or decoupled decay (adamw).", type=float),
    _setting("seed", "Seeds weights, order of batches and all else.", type=int),
    _setting(
        "compile",
        "torch.compile the layers of every stage and of the baseline (on GPUs with CUDA graphs). "
        "The start takes longer by the compilation.",
    ),
    _setting(
        "dtype", "bf16: matrix products in bfloat16 by autocast; weights and updates stay fp32."
    ),
    _setting("wire_dtype", "Number format in which activations and gradients travel over links."),
    _setting(
        "wire_zeros",
        "omit: activations that travel in frames do so without their zeros, about half of them "
        "after a ReLU. Nothing is lost; for links that are slower than their stages.",
    ),
    _setting("wire_rounding", "With --wire-dtype int8: to the nearest, or at random without bias."),
    _setting(
        "devices",
        "cpu, cuda, or a list cuda:0,cuda:1,... dealt over the stages in contiguous groups; auto "
        "is every GPU there is, else the CPU.",
        metavar="DEVICE[,DEVICE...]",
    ),
    _setting(
        "window",
        "Activations that each link may hold in flight; auto: the default at first, and on links "
        "over tcp more, up to 256, while distance keeps a stage waiting.  [default: 16; 4 with "
        "--targets bootstrap and with --rule fdg]",
        type=window_size,
        metavar="N|auto",
    ),
    _setting(
        "engine",
        "Who starts the workers: own, this launcher; ray, a Ray cluster, which places them and "
        "starts new ones for those that die (pip install 'dni-async[ray]').",
    ),
    _setting(
        "address",
        "With --engine ray: the cluster, as HOST:PORT; local starts one on this host for the run.  "
        "[default: RAY_ADDRESS, or the one that this host is a node of]",
        metavar="ADDRESS",
    ),
    _setting("ray_strategy", "With --engine ray: PACK workers on few nodes, or SPREAD them."),
    _setting(
        "ray_gpus",
        "With --engine ray: GPUs of each worker; 0 is a worker on CPUs, 0.5 half of a GPU.",
        type=float,
    ),
    _setting(
        "workers",
        "local: started here; remote: joined from elsewhere by dni-worker --join. A list is dealt "
        "over the stages as devices are.",
        metavar="local|remote[,...]",
    ),
    _setting(
        "listen",
        "Where remote workers join: an address of this host; beyond loopback with --keys.",
        metavar="tcp://HOST:PORT",
    ),
    _setting("join_timeout_s", "Seconds that remote workers may take to join.", type=float),
    _setting(
        "silent_after_s",
        "Seconds of silence after which a remote worker counts as dead.",
        type=float,
    ),
    _setting("when_full", "Full window: wait, or skip: learn on without sending that batch up."),
    _setting("when_empty", "No input: wait, or replay: learn from the inputs seen last."),
    _setting("replay_batches", "Inputs kept for --when-empty replay.", type=int),
    _setting("replay_limit", "How often each of them is replayed at most.", type=int),
    _setting("transport", "How neighbours talk: auto and ipc use local sockets, tcp the loopback."),
    _setting(
        "interface",
        "With --transport tcp: the address of this machine to listen on; beyond loopback with "
        "--keys.",
        metavar="ADDRESS",
    ),
    _setting(
        "keys",
        "Encrypt tcp links with the keys in DIR, and admit nobody else; 'dni-launch keys DIR' "
        "makes them.",
        metavar="DIR",
    ),
    _setting(
        "insecure_without_keys",
        "Listen beyond loopback without keys: whoever sees the traffic can read it, change it "
        "and take a worker's place.",
    ),
    _setting(
        "threads_per_worker",
        "Compute threads of each worker.  [default: the cores shared out]",
        type=int,
    ),
    _setting("start_timeout_s", "Seconds that workers may take to join.", type=float),
    _setting(
        "max_restarts",
        "Workers that are replaced when they die, in the whole run; after that, and with 0, a "
        "worker's death ends the run.",
        type=int,
    ),
    _setting(
        "stuck_after_s",
        "Seconds without a sign of progress after which a worker is shown with its stack, killed "
        "and replaced; 0 is never.",
        type=float,
    ),
    _setting("baseline", "Also train by plain backpropagation in one process, to compare."),
    _setting("profile", "Record what every worker does when; the run directory gets a trace.json."),
    _setting(
        "record_events",
        "Record what every worker's decisions rest on; dni-report --replay takes them again.",
    ),
    _setting(
        "torch_profiler",
        "Also run torch.profiler on this stage, for updates 20 to 40.",
        type=int,
        metavar="STAGE",
    ),
    _setting("tensorboard", "Write curves for TensorBoard into the run directory."),
    _setting(
        "metrics_port",
        "Serve the run's figures for Prometheus at http://HOST:PORT/metrics; 0 is a free port.",
        type=int,
    ),
    _setting("metrics_host", "The address of this machine that they are served at."),
    _setting("target_accuracy", "Report the seconds to this test accuracy (0 to 1).", type=float),
    _setting("early_stop", "Stop every run after the epoch that reaches the target accuracy."),
    _setting(
        "checkpoint_every",
        "Make a checkpoint so often, in seconds (30s) or training batches (500).  [default: never]",
        metavar="SECONDSs|BATCHES",
    ),
    _setting("keep_checkpoints", "How many checkpoints are kept, the newest.", type=int),
)


def run_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give command all of them, in their order."""
    for option in reversed(SETTINGS):
        command = option(command)
    return command
