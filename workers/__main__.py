"""``dni-worker``: host one stage of a run."""

from __future__ import annotations

import os

import click

# Two workers whose idle OpenMP threads spin take each other's cores: 32 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

RUN_ID_VARIABLE = "DNI_RUN_ID"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--coordinator", metavar="ADDRESS", help="Where the run's coordinator listens.")
@click.option("--stage", type=click.IntRange(min=0), help="The stage to host, from 0 at the data.")
@click.option("--keys", metavar="DIR", help="The folder of the run's keys.")
@click.option(
    "--insecure-without-keys",
    "is_open",
    is_flag=True,
    help="Listen beyond loopback without keys, as the run must have been told to do.",
)
@click.option("--fork-server", type=int, metavar="FD", hidden=True)
@click.option("--lifeline", type=int, metavar="FD", hidden=True)
@click.version_option(package_name="dni-async")
def main(
    coordinator: str | None,
    stage: int | None,
    keys: str | None,
    is_open: bool,
    fork_server: int | None,
    lifeline: int | None,
) -> None:
    """Host one stage of a dni-async run.

    dni-launch starts workers by itself. By hand, the run's id must be in the environment
    variable DNI_RUN_ID, as the coordinator admits no other worker.
    """
    if fork_server is not None and lifeline is not None:
        from workers.fork_server import serve

        serve(fork_server, lifeline)
        return
    if coordinator is None or stage is None:
        raise click.UsageError("both --coordinator and --stage are needed")
    run_id = os.environ.get(RUN_ID_VARIABLE, "")
    if not run_id:
        raise click.UsageError(
            f"the run's id must be in the environment variable {RUN_ID_VARIABLE}"
        )
    from workers.worker import Assignment, run_worker

    assignment = Assignment(
        coordinator, stage, run_id, lifeline=lifeline, keys=keys, is_open=is_open
    )
    raise SystemExit(run_worker(assignment))


if __name__ == "__main__":
    main()
