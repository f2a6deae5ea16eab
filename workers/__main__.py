"""``dni-worker``: host one stage of a run."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dni_async.addresses import is_tcp_address
from dni_async.errors import DniError
from dni_async.system import output
from dni_async.system.machine import die_with_parent
from dni_async.wire.foreign_text import legible

if TYPE_CHECKING:
    from dni_async.transport.keys import KeyRing

# Two workers whose idle OpenMP threads spin take each other's cores: 32 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

DEFAULT_PORT = 5555
RANK_NAMES = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")
LOCAL_RANK_NAMES = ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK")


def _die_with(_ctx: click.Context, _param: click.Parameter, parent: int | None) -> None:
    """Not outlive the process that started this one."""
    if parent is not None:
        die_with_parent(parent)


class _Command(click.Command):
    """One whose output may go away."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """From the command line to the exit."""
        with output.lasting_output():
            return super().main(*arguments, **options)


def _refuse(_ctx: click.Context, param: click.Parameter, is_given: bool) -> None:
    """Say what has become of an option that there was."""
    if is_given:
        raise click.UsageError(
            f"{param.opts[0]} is gone, as every run has keys: start this by the line that "
            "dni-launch prints, or with --keys DIR"
        )


@click.command(
    cls=_Command,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "DNI_WORKER",
        "max_content_width": 100,
    },
)
@click.option(
    "--join",
    metavar="tcp://HOST:PORT",
    help="Where dni-launch --workers remote listens.  [default: MASTER_ADDR and MASTER_PORT]",
)
@click.option(
    "--stage",
    type=click.IntRange(min=0),
    metavar="STAGE",
    help="The only stage to host, from 0 at the data.  [default: RANK or SLURM_PROCID, or any "
    "where another worker has that]",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="DEVICE",
    help="cpu or cuda:N; auto is the GPU of LOCAL_RANK or SLURM_LOCALID where there are GPUs.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Compute threads.  [default: a share]",
)
@click.option(
    "--interface",
    metavar="ADDRESS",
    help="The address of this host to listen on.  [default: the one towards the coordinator]",
)
@click.option(
    "--advertise-host",
    metavar="HOST",
    help="What the stage below is told to connect to.  [default: the interface]",
)
@click.option(
    "--keys",
    metavar="DIR",
    help="The folder of the run's keys.  [default: those that DNI_INVITATION holds]",
)
@click.option(
    "--data-dir", metavar="DIR", help="Where the data lies on this host, for the stage that reads."
)
@click.option(
    "--join-timeout-s",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up with exit code 75 when nobody has answered for so long.",
)
@click.option(
    "--insecure-without-keys", is_flag=True, hidden=True, expose_value=False, callback=_refuse
)
@click.option("--coordinator", metavar="ADDRESS", hidden=True)
@click.option("--run-id", metavar="ID", default="", hidden=True)
@click.option("--fork-server", type=int, metavar="FD", hidden=True)
@click.option("--lifeline", type=int, metavar="FD", hidden=True)
@click.option(
    "--parent", type=int, metavar="PID", hidden=True, expose_value=False, callback=_die_with
)
@click.version_option(package_name="dni-async")
def main(
    join: str | None,
    stage: int | None,
    device: str,
    threads: int | None,
    interface: str | None,
    advertise_host: str | None,
    keys: str | None,
    data_dir: str | None,
    join_timeout_s: float,
    coordinator: str | None,
    run_id: str,
    fork_server: int | None,
    lifeline: int | None,
) -> None:
    """Host one stage of a dni-async run that was started elsewhere.

    dni-launch --workers remote prints the line to start workers with. The worker takes a stage, or
    waits as a spare for one whose worker dies, until the run is over. Without --keys the invitation
    that dni-launch printed must be in the environment variable DNI_INVITATION. Workers on the
    launcher's own host need none of this: dni-launch starts them by itself.

    Exit codes: 0 at the end of the run, 75 when nobody answered, 1 after a failure, 2 usage.
    """
    if fork_server is not None and lifeline is not None:
        from dni_async.workers.fork_server import serve

        serve(fork_server, lifeline)
        return
    if coordinator is not None:
        if stage is None:
            raise click.UsageError("both --coordinator and --stage are needed")
        from dni_async.workers.startup.assignment import Assignment
        from dni_async.workers.worker import run_worker

        raise SystemExit(run_worker(Assignment(coordinator, stage, run_id, lifeline=lifeline)))
    address = join or address_from(os.environ)
    if address is None:
        raise click.UsageError("--join tcp://HOST:PORT says which run to take part in")
    if not is_tcp_address(address):
        raise click.UsageError(f"--join must be tcp://HOST:PORT, but is {address!r}")
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4})?", device):
        raise click.UsageError(f"--device must be auto, cpu or cuda:N, but is {device!r}")
    from dni_async.workers.joining import Offer, join_run, route_to

    try:
        offer = Offer(
            address=address,
            ring=ring_from(keys, os.environ),
            device=find_device(device, rank_from(os.environ, LOCAL_RANK_NAMES) or 0),
            is_exact=stage is not None,
            interface=interface or route_to(address),
            stage=rank_from(os.environ, RANK_NAMES) if stage is None else stage,
            num_threads=threads or 0,
            advertised=advertise_host or "",
            data_dir=data_dir or os.environ.get("DNI_DATA_DIR", ""),
            patience_s=join_timeout_s,
        )
        code = join_run(offer)
    except DniError as error:
        output.complain(f"Error: {legible(str(error))}")
        code = 2
    except KeyboardInterrupt:
        output.complain("dni-worker: ended by SIGINT")
        code = 130
    sys.exit(code)


def ring_from(keys: str | None, environment: Mapping[str, str]) -> KeyRing:
    """The run's keys: of the folder, or of the invitation that the environment holds.

    Raises ConfigError for keys that cannot be read, click.UsageError where there are none.
    """
    from dni_async.transport.keys import read_keys
    from dni_async.transport.rings import INVITATION_VARIABLE, read_invitation

    if keys is not None:
        return read_keys(Path(keys), "worker")
    if not environment.get(INVITATION_VARIABLE):
        old = "; DNI_RUN_ID is no password any more" if environment.get("DNI_RUN_ID") else ""
        raise click.UsageError(
            "without --keys DIR the invitation that dni-launch printed must be in the environment "
            f"variable {INVITATION_VARIABLE}{old}"
        )
    return read_invitation(environment[INVITATION_VARIABLE])


def address_from(environment: Mapping[str, str]) -> str | None:
    """Where torchrun and many SLURM scripts name the first host."""
    host = environment.get("MASTER_ADDR")
    return f"tcp://{host}:{environment.get('MASTER_PORT', DEFAULT_PORT)}" if host else None


def rank_from(environment: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    """The first of these numbers that the environment holds. Raises click.UsageError for none."""
    for name in names:
        if text := environment.get(name, "").strip():
            if not re.fullmatch("[0-9]{1,9}", text):
                raise click.UsageError(
                    f"{name} in the environment must be a whole number from 0 on, but is {text!r}; "
                    "unset it, or say --stage and --device"
                )
            return int(text)
    return None


def find_device(asked: str, local_rank: int) -> str:
    """The device by its index. Raises click.UsageError when there is none."""
    from dni_async.system.machine import has_nvidia_device

    if asked == "cpu" or (asked == "auto" and not has_nvidia_device()):
        return "cpu"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto" and count == 0:
        return "cpu"
    index = int(asked.partition(":")[2] or local_rank % max(count, 1))
    if index >= count:
        raise click.UsageError(f"--device {asked} was asked for, but torch finds {count} GPUs here")
    return f"cuda:{index}"


if __name__ == "__main__":
    main()
