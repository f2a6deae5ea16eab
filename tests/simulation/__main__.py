"""``python -m tests.simulation``: simulate whole runs, by the seeds of their scenarios."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

from dni_async.launcher.interruption import Interrupted, interruptible
from tests.simulation.faults import FAULTS, put_back
from tests.simulation.long_run import Sums, merge, of_moments, of_seeds
from tests.simulation.moments import ROLES
from tests.simulation.run import simulate
from tests.simulation.scenario import Scenario, draw
from tests.simulation.shrinking import shrunk
from tests.simulation.world import Violation


def main() -> int:
    """The exit code: 1 where something happened that must not."""
    options = _options()
    if options.merge:
        merge(options.merge, options.out)
        return 0
    try:
        with interruptible(), put_back(options.fault) if options.fault else nullcontext():
            if options.seed is not None or options.scenario:
                return _one(options)
            return (
                _moments(options)
                if options.moments
                else _tell(of_seeds(options.first, options.seeds, options.processes, options.out))
            )
    except Interrupted as interrupted:
        return interrupted.exit_code


def _one(options: argparse.Namespace) -> int:
    """All that happens in one scenario."""
    scenario = draw(options.seed or 0)
    if options.scenario:
        scenario = Scenario.from_json(options.scenario)
    return _show(shrunk(scenario) if options.shrink else scenario)


def _moments(options: argparse.Namespace) -> int:
    """Of one role, or of all, each in a file of its own."""
    code, out = 0, options.out
    for role in [options.role] if options.role else ROLES:
        named = out and out.with_name(f"{out.stem}-{role.replace(' ', '-')}{out.suffix}")
        print(f"{role}: ", end="")
        code |= _tell(of_moments(role, options.moments, options.first, options.processes, named))
    return code


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    add = parser.add_argument
    add("--seed", type=int, help="simulate this one and print all that happens")
    add("--scenario", help="the same of one that is given as JSON")
    add("--shrink", action="store_true", help="before it is shown, make it as small as it can be")
    add("--seeds", type=int, default=1000, help="simulate so many")
    add("--first", type=int, default=0, help="the first of them")
    add("--moments", type=int, help="instead: so many moments at which one of a role dies")
    add("--role", choices=ROLES, help="only that role")
    add("--processes", type=int, default=1)
    add("--out", type=Path, help="where to keep what came of it, as JSON")
    add("--merge", type=Path, nargs="+", help="instead: have what was kept of several in one file")
    add("--fault", choices=FAULTS, help="with this fault put back")
    options = parser.parse_args()
    if options.merge and options.out is None:
        parser.error("--merge needs --out")
    return options


def _show(scenario: Scenario) -> int:
    print(scenario.to_json())
    trace: list[str] = []
    came_to: object = None
    try:
        came_to = simulate(scenario, trace=trace)
    except Violation as violation:
        came_to = violation
    finally:
        print("\n".join(line for line in trace if "says Progress" not in line))
    print(came_to)
    return 1 if isinstance(came_to, Violation) else 0


def _tell(sums: Sums) -> int:
    """What many came to; 1 where something happened that must not."""
    print(", ".join(f"{count:,} {what}" for what, count in sorted(sums.totals.items())))
    for kind, count in sums.counts.most_common():
        _, text, scenario = next(each for each in sums.failures if each[0] == kind)
        print(f"{kind}: {count}, such as\n  {text}\n  --seed {scenario.seed}")
        print(f"  --scenario '{shrunk(scenario).to_json()}'")
    return 1 if sums.counts else 0


if __name__ == "__main__":
    raise SystemExit(main())
