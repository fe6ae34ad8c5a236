#!/usr/bin/env python3
"""Many clients at once: how long their calls take while jobs run, others watch, and some watchers have stopped; see README.md.

    tests/bench/queue/clients.py [--programs target/release] [--clients 500] [--watchers 50] [--stopped 5] [--seconds 20] [--pause 1000]
"""

import argparse
import json
import os
import subprocess
from pathlib import Path

from house import House


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=Path, default=Path("target/release"))
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--watchers", type=int, default=50)
    parser.add_argument("--stopped", type=int, default=5, help="of the watchers, stopped by a signal")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--pause", type=int, default=1000, help="milliseconds between two calls of a client, on average")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with House(options.programs, lanes__net=8) as house:
        # Each takes 40 ms and tells of its progress twice.
        house.load("more", 1_000_000, 8, "slow-40")
        words = [options.clients, options.watchers, options.stopped, options.seconds, options.pause]
        told, _ = house.run("load", "clients", *words)
        told = json.loads(told.stdout)
        done = house.ask("list")[0]["completed"]
        resident, most = house.memory()
        print(f"{options.clients} clients, {options.watchers} watch, {options.stopped} of them stopped; load before: {load:.2f}")
        print(f"{told['calls']:,} calls in {options.seconds} s ({told['failed']} failed): median {told['median_ms']:.1f} ms, ", end="")
        print(f"p99 {told['p99_ms']:.1f} ms, most {told['most_ms']:.1f} ms; must: p99 < 50 ms: {'yes' if told['p99_ms'] < 50 else 'NO'}")
        print(f"meanwhile {done:,} jobs ended, watchers heard {told['heard']:,} times, {told['watchers_cut']} were cut; ", end="")
        print(f"daemon's memory {resident:.0f} MiB, most {most:.0f} MiB")


if __name__ == "__main__":
    main()
