"""``python -m tests.simulation``: simulate runs by the seeds of their scenarios."""

from __future__ import annotations

import argparse
import time
import traceback

from tests.simulation.run import simulate
from tests.simulation.scenario import Scenario, draw
from tests.simulation.world import Violation


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--scenario")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    if options.seed is not None or options.scenario:
        scenario = Scenario.from_json(options.scenario) if options.scenario else draw(options.seed)
        print(scenario)
        trace: list[str] = []
        try:
            print(simulate(scenario, trace=trace))
            print("\n".join(trace))
        except BaseException:
            print("\n".join(trace))
            raise
        return 0
    began, failures = time.process_time(), {}
    for seed in range(options.first, options.first + options.seeds):
        try:
            simulate(draw(seed))
        except Violation as violation:
            failures.setdefault(violation.kind, []).append((seed, str(violation)))
        except Exception as error:
            failures.setdefault(f"crash {error!r}"[:100], []).append((seed, traceback.format_exc()))
    took = time.process_time() - began
    print(f"{options.seeds} seeds in {took:.1f} s, {1000 * took / options.seeds:.1f} ms each")
    for kind, seen in failures.items():
        print(f"== {kind}: {len(seen)}: seeds {[s for s, _ in seen][:12]}\n{seen[0][1]}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
