"""What a plan finds out: names of hosts, once; what is to be said before the start."""

from __future__ import annotations

from dni_async.config.run_config import RunConfig
from dni_async.launcher.plan.plan import make_plan


def test_where_workers_join_is_an_address_from_the_start() -> None:
    config = RunConfig(workers=("remote",), listen="tcp://localhost:0")
    plan = make_plan(config)
    assert (plan.control_address, plan.own_address) == ("tcp://127.0.0.1:0", "127.0.0.1")
    assert plan.own_address is plan.own_address  # not asked for again


def test_what_an_optimizer_leaves_out_is_said_before_the_start() -> None:
    config = RunConfig(optimizer="tests.own_optimizers:heads_only", layers=3)
    (note,) = make_plan(config).notes
    assert note == (
        "the optimizer leaves out 4 parameters, which will not change: 0.0.weight, 0.0.bias, "
        "1.0.weight, ..."
    )
    assert make_plan(RunConfig(optimizer="tests.own_optimizers:nadam", layers=3)).notes == ()
