"""``dni-launch``: train a network with every layer in its own process, beside its baseline."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console

from dni_async.config import CHOICES, RunConfig, read_toml
from dni_async.errors import ConfigError, DniError, HandshakeError, WorkerDied
from launcher.interruption import Interrupted, interruptible
from launcher.keys_cli import keys_command

__all__ = ["main"]

EXIT_USAGE = 2
EXIT_NOBODY_JOINED = 75
DEFAULTS = RunConfig()


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


def _read_file(ctx: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
    """Let the file's keys stand where neither a flag nor the environment speaks."""
    if path is not None:
        values = read_toml(path)
        if "devices" in values:
            values["devices"] = ",".join(values["devices"])
        ctx.default_map = {**(ctx.default_map or {}), **values}
    return path


def _read_run(ctx: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
    """Let the settings of an earlier run stand where neither a flag nor the environment speaks."""
    if path is not None and not (path / "config.toml").is_file():
        raise ConfigError(f"resume: {path} holds no run")
    _read_file(ctx, _param, None if path is None else path / "config.toml")
    return path


@click.command(
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "DNI",
        "token_normalize_func": lambda token: token.replace("_", "-"),
        "max_content_width": 100,
    }
)
@click.argument(
    "config_file",
    metavar="[CONFIG.toml]",
    required=False,
    is_eager=True,
    callback=_read_file,
    type=click.Path(path_type=Path),
)
@_setting(
    "layers", "Layers of the MLP, of cnn and of residual, the classifying one included.", type=int
)
@_setting("width", "Units of each hidden layer; filters of cnn.", type=int)
@_setting("norm", "Normalisation before each ReLU.")
@_setting(
    "model",
    "Instead of the MLP: cnn, 5x5 convolutions over images; residual, an MLP of residual blocks; "
    "or a torch.nn.Sequential of your own, made by a callable without arguments.",
    metavar="cnn|residual|PACKAGE.MODULE:FACTORY",
)
@_setting("stages", "Group the layers into this many workers.  [default: one per layer]", type=int)
@_setting("partition", "balanced: group layers by the time each takes on a real batch.")
@_setting(
    "data",
    "digits, mnist, fashion-mnist, cifar10, or a PATH.npz with x_train y_train x_test y_test.",
)
@_setting("data_dir", "Where the files of mnist, fashion-mnist and cifar10 lie.", metavar="DIR")
@_setting(
    "rule",
    "How a stage gets its gradient: dni predicts it, dgl has a local loss, fdg takes the true one "
    "late; backprop runs in lockstep; with no-bprop only the head learns. Or a class of your own.",
    metavar="dni|dgl|fdg|backprop|no-bprop|PACKAGE.MODULE:CLASS",
)
@_setting(
    "gradient_shrink", "With fdg: what a gradient is multiplied by at each boundary.", type=float
)
@_setting(
    "unlock",
    "What no stage waits for: update is gradients; forward, inputs too, which every stage predicts "
    "from the samples (dni, dgl, no-bprop).",
)
@_setting("targets", "What synthesizers of dni learn from.")
@_setting("anchor_every", "With targets anchor: every so many batches; 0 is never.", type=int)
@_setting(
    "anchor_updates",
    "On anchor batches update with the true gradient when it is back, not with a synthetic one.",
)
@_setting(
    "synthesizer",
    "What predicts gradients at each boundary; linear, mlp and conv (for images) learn from "
    "returned gradients alone: use them with --targets bootstrap. Or a class of your own.",
    metavar="critic|linear|mlp|conv|PACKAGE.MODULE:CLASS",
)
@_setting("label_conditioning", "Let synthesizers see the labels.")
@_setting(
    "synthesizer_lr",
    "Adam learning rate of the synthesizers.  [default: critic 1e-2, linear and conv 1e-3, "
    "mlp 1e-4]",
    type=float,
)
@_setting(
    "synthesizer_layers",
    "Hidden layers of mlp and conv; with none they are linear.  [default: 2]",
    type=int,
)
@_setting(
    "synthesizer_width",
    "Units or filters of those.  [default: mlp 1024, conv as the activation has channels]",
    type=int,
)
@_setting(
    "synthesizer_pool",
    "With critic on images: classify the means of so many regions in each direction; 0 is every "
    "place by itself.",
    type=int,
)
@_setting(
    "synthesizer_warmup",
    "Updates that a synthesizer makes before its gradients are applied.",
    type=int,
)
@_setting("synthesizer_scale", "What synthetic gradients are multiplied by.", type=float)
@_setting(
    "synthesizer_clip",
    "Most that the norm of the gradients may be by which a synthesizer learns.",
    type=float,
)
@_setting("epochs", "Passes over the training data.", type=int)
@_setting("batch_size", "Samples per batch.", type=int)
@_setting("optimizer", "Optimizer of every stage and of the baseline (fused kernels).")
@_setting("lr", "Learning rate.", type=float)
@_setting("lr_schedule", "Learning rate over the run; step: a tenth after 60 and after 80 %.")
@_setting("warmup_updates", "Updates over which the learning rate rises linearly.", type=int)
@_setting(
    "clip_norm",
    "Most that the norm of a stage's gradients may be; the baseline's, of all its layers.",
    type=float,
)
@_setting(
    "update_probability",
    "With which a stage makes an update; below 1, stages update in random order.",
    type=float,
)
@_setting("accumulate", "Batches whose mean gradient makes one update.", type=int)
@_setting(
    "staleness_power",
    "Divide the rate of a late gradient's update by (1 + staleness) to this power; 0 leaves it.",
    type=float,
)
@_setting("momentum", "Momentum of sgd.", type=float)
@_setting("weight_decay", "L2 penalty (adam, sgd) or decoupled decay (adamw).", type=float)
@_setting("seed", "Seeds weights, order of batches and all else.", type=int)
@_setting(
    "compile",
    "torch.compile the layers of every stage and of the baseline (on GPUs with CUDA graphs). "
    "The start takes longer by the compilation.",
)
@_setting("dtype", "bf16: matrix products in bfloat16 by autocast; weights and updates stay fp32.")
@_setting("wire_dtype", "Number format in which activations and gradients travel over links.")
@_setting(
    "devices",
    "cpu, cuda, or a list cuda:0,cuda:1,... dealt over the stages in contiguous groups; auto is "
    "every GPU there is, else the CPU.",
    metavar="DEVICE[,DEVICE...]",
)
@_setting(
    "window",
    "Activations that each link may hold in flight.  [default: 16; 4 with --targets bootstrap and "
    "with --rule fdg]",
    type=int,
)
@_setting("when_full", "Full window: wait, or skip: learn on without sending that batch up.")
@_setting("when_empty", "No input: wait, or replay: learn from the inputs seen last.")
@_setting("replay_batches", "Inputs kept for --when-empty replay.", type=int)
@_setting("replay_limit", "How often each of them is replayed at most.", type=int)
@_setting("transport", "How neighbours talk: auto and ipc use local sockets, tcp the loopback.")
@_setting(
    "interface",
    "With --transport tcp: the address of this machine to listen on; beyond loopback with --keys.",
    metavar="ADDRESS",
)
@_setting(
    "keys",
    "Encrypt tcp links with the keys in DIR, and admit nobody else; 'dni-launch keys DIR' makes "
    "them.",
    metavar="DIR",
)
@_setting(
    "insecure_without_keys",
    "Listen beyond loopback without keys: whoever sees the traffic can read it, change it and take "
    "a worker's place.",
)
@_setting(
    "threads_per_worker",
    "Compute threads of each worker.  [default: the cores shared out]",
    type=int,
)
@_setting("start_timeout_s", "Seconds that workers may take to join.", type=float)
@_setting(
    "max_restarts",
    "Workers that are replaced when they die, in the whole run; after that, and with 0, a worker's "
    "death ends the run.",
    type=int,
)
@_setting(
    "stuck_after_s",
    "Seconds without a sign of progress after which a worker is shown with its stack, killed and "
    "replaced; 0 is never.",
    type=float,
)
@_setting("baseline", "Also train by plain backpropagation in one process, to compare.")
@_setting("profile", "Record what every worker does when; the run directory gets a trace.json.")
@_setting(
    "record_events",
    "Record what every worker's decisions rest on; dni-report --replay takes them again.",
)
@_setting(
    "torch_profiler",
    "Also run torch.profiler on this stage, for updates 20 to 40.",
    type=int,
    metavar="STAGE",
)
@_setting("target_accuracy", "Report the seconds to this test accuracy (0 to 1).", type=float)
@_setting("early_stop", "Stop every run after the epoch that reaches the target accuracy.")
@_setting(
    "checkpoint_every",
    "Make a checkpoint so often, in seconds (30s) or training batches (500).  [default: never]",
    metavar="SECONDSs|BATCHES",
)
@_setting("keep_checkpoints", "How many checkpoints are kept, the newest.", type=int)
@click.option(
    "--resume",
    is_eager=True,
    callback=_read_run,
    type=click.Path(path_type=Path),
    metavar="RUN_DIR",
    help="Go on with the run in RUN_DIR from its newest checkpoint, with its settings; stages, "
    "devices, window, threads, transport, epochs, checkpoints and what is compared or recorded may "
    "be set anew.",
)
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    help="Where the run is kept.  [default: runs/DATE-TIME]",
)
@click.option("--overwrite", is_flag=True, help="Replace the run that --run-dir holds.")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Also write the report here.",
)
@click.version_option(package_name="dni-async")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    config_file: Path | None,
    resume: Path | None,
    run_dir: Path | None,
    overwrite: bool,
    report: Path | None,
    **settings: Any,
) -> int:
    """Train a network with one worker process per layer, then the same network by plain
    backpropagation in one process, and print both side by side.

    Every setting can also stand in CONFIG.toml under the same name (but --run-dir, --overwrite,
    --resume and --report, which say where one run goes) or in the environment as DNI_NAME. A flag
    wins over the environment, the environment over the file.

    'dni-launch keys DIR' makes key pairs for --keys (a file of that name is ./keys).
    """
    from launcher.report import print_report
    from launcher.run import run
    from launcher.run_folder import RunFolder

    settings["devices"] = tuple(part.strip() for part in settings["devices"].split(","))
    config = RunConfig(**settings)
    if resume is not None and (config_file is not None or run_dir is not None or overwrite):
        raise ConfigError(
            "resume: goes on with a run where it is and with its settings; leave out CONFIG.toml, "
            "--run-dir and --overwrite"
        )
    if report is not None and not report.absolute().parent.is_dir():
        raise ConfigError(f"report: the folder {report.absolute().parent} does not exist")
    console = Console()
    console.print(_describe(ctx, config_file), highlight=False, markup=False, soft_wrap=True)
    place = resume or run_dir
    folder = RunFolder.default() if place is None else RunFolder(place)
    try:
        _, result = run(
            config,
            folder,
            console,
            overwrite=overwrite,
            resume=resume is not None,
            report_copy=report,
        )
    except (Interrupted, WorkerDied):
        if folder.has_checkpoint:
            text = f"dni-launch --resume {folder.path} goes on from the newest checkpoint"
            console.print(text, highlight=False, markup=False, soft_wrap=True)
        raise
    print_report(result, console)
    console.print(f"run directory: {folder.path}", highlight=False, soft_wrap=True)
    return 0


def _describe(ctx: click.Context, config_file: Path | None) -> str:
    """The settings that are not defaults, each with where it comes from."""
    origins = {
        ParameterSource.COMMANDLINE: "flag",
        ParameterSource.ENVIRONMENT: "environment",
        ParameterSource.DEFAULT_MAP: str(config_file),
    }
    parts = []
    if ctx.params["resume"] is not None:  # what the run was is known; what is new is told
        del origins[ParameterSource.DEFAULT_MAP]
    for name, value in ctx.params.items():
        origin = ctx.get_parameter_source(name)
        if origin in origins and name != "config_file":
            parts.append(f"{name.replace('_', '-')} {value} ({origins[origin]})")
    return "settings: " + (", ".join(parts) or "all defaults")


def main() -> None:
    """The console script. Exit codes: 0 done, 2 usage, 75 nobody joined, 130 INT, 143 TERM, else
    the failed worker's.
    """
    sys.exit(_guarded(sys.argv[1:]))


def _guarded(arguments: list[str]) -> int:
    try:
        with interruptible():
            if arguments[:1] == ["keys"]:
                keys_command.main(arguments[1:], prog_name="dni-launch keys", standalone_mode=False)
                return 0
            code = command.main(arguments, prog_name="dni-launch", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ConfigError as error:
        click.echo(f"Error: {error}", err=True)
        return EXIT_USAGE
    except HandshakeError as error:
        click.echo(f"Error: {error}", err=True)
        return EXIT_NOBODY_JOINED
    except WorkerDied as error:
        click.echo(f"Error: {error}", err=True)
        return error.exit_code
    except DniError as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    except Interrupted as error:
        click.echo(f"dni-launch: ended by {error}", err=True)
        return error.exit_code


if __name__ == "__main__":
    main()
