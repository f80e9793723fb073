"""python -m benchmarks.chaos: exit code 0 if the job is whole whatever was killed meanwhile.

A job of small shards on a real S3 server and PostgreSQL. While it is made, actors, the service, the
pool's driver, Ray nodes and the S3 server are SIGKILLed at random moments and come back, and a
proxy before service and store answers with 5xx, late, cut short, or not at all.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from random import SystemRandom

from benchmarks.chaos.run import Experiment, Findings, experiment


def main() -> int:
    """Parse, run, print; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=200, help="SIGKILLs; default 200")
    parser.add_argument("--seed", type=int, help="of the faults; random by default, and printed")
    parser.add_argument("--shards", type=int, help="of the job; default 2 a fault, at least 200")
    parser.add_argument("--limit", type=float, help="seconds; default 120 and 20 a fault")
    given = parser.parse_args()
    seed = SystemRandom().randrange(2**31) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    asked = Experiment(
        num_faults=given.faults,
        seed=seed,
        num_shards=given.shards or max(200, 2 * given.faults),
        limit_s=given.limit or 120 + 20 * given.faults,
    )
    found = experiment(asked, lambda line: print(line, flush=True))
    report(found)
    is_enough = len(found.history) >= asked.num_faults
    if not is_enough:
        print(f"the job ended after {len(found.history)} faults: more --shards would do")
    return 0 if found.is_good and is_enough else 1


def report(found: Findings) -> None:
    """Print history, counts and verdict."""
    for strike in found.history:
        print(f"{strike.at_s:8.2f} s  {strike.part:8} {strike.state:10} {strike.num_done} shards")
    killed = Counter(strike.part for strike in found.history)
    print("killed: " + ", ".join(f"{part} {count}" for part, count in sorted(killed.items())))
    print("broken: " + ", ".join(f"{what} {count}" for what, count in found.broken.items()))
    print(f"the job {found.state}, in {found.disturbed_s:.0f} s: {found.reason or 'no complaint'}")
    print(f"undisturbed in {found.undisturbed_s:.0f} s: digest {found.undisturbed.digest}")
    if found.disturbed is None:
        return
    print(f"disturbed: digest {found.disturbed.digest}")
    print(
        f"{found.disturbed.num_shards} shards: {found.disturbed.lost} samples lost, "
        f"{found.disturbed.duplicated} duplicated, {len(found.disturbed.torn)} objects torn, "
        f"{len(found.disturbed.unnamed)} objects that nothing names"
    )
    for finding in found.disturbed.torn:
        print(f"torn: {finding}")


if __name__ == "__main__":
    sys.exit(main())
