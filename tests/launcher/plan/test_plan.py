"""Names of hosts are asked for once, in the plan."""

from __future__ import annotations

from dni_async.config.run_config import RunConfig
from dni_async.launcher.plan.plan import make_plan


def test_where_workers_join_is_an_address_from_the_start() -> None:
    config = RunConfig(workers=("remote",), listen="tcp://localhost:0")
    plan = make_plan(config)
    assert (plan.control_address, plan.own_address) == ("tcp://127.0.0.1:0", "127.0.0.1")
    assert plan.own_address is plan.own_address  # not asked for again
