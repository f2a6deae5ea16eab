"""Whether settings that are found after a run was planned go with its data, network and stages."""

from __future__ import annotations

from contextlib import closing

from dni_async.config.run_config import RunConfig
from dni_async.data.opening import open_feed
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.plan.readouts import note_readouts
from dni_async.launcher.plan.trial import try_stages
from dni_async.network.split.kept import recordings_kept

__all__ = ["check_suited"]


@recordings_kept()
def check_suited(plan: Plan, config: RunConfig) -> list[str]:
    """Try config on a few samples of plan's; what is to be said of it. Raises ConfigError."""
    with closing(open_feed(config, form=plan.form, fetches="here")) as feed:
        notes = note_readouts(config, feed, plan.layer_ranges, plan.output_shape)
        try_stages(config, feed, plan.layer_ranges, plan.output_shape)
    return notes
