#!/usr/bin/env python3
"""How fast the queue is and how much it bears; see README.md.

    tests/bench/queue/measure.py [--programs target/release] [submit] [jobs] [status] [million]
"""

import argparse
import os
import statistics
import time
from pathlib import Path

from house import House, percentile

PARTS = ["submit", "jobs", "status", "million"]
# Slots of the lane that the made-up jobs go through: as many runs as one worker process may have at once.
WIDE = {"lanes__net": 64}


def told(what, figure, must, good):
    print(f"{what:<66} {figure:>18}   must: {must:<12} {'yes' if good else 'NO'}", flush=True)


def inputs(folder, count):
    """As many small files, and a list of them."""
    folder.mkdir()
    for number in range(count):
        (folder / f"recording-{number:06}.wav").write_bytes(b"%d" % number)
    names = folder.parent / f"{folder.name}.txt"
    names.write_text("".join(f"{folder}/recording-{number:06}.wav\n" for number in range(count)))
    return names


def submit(programs):
    with House(programs) as house:
        names = inputs(house.root / "media", 100_000)
        house.ask("pause")
        took = []
        for turn in range(3):
            _, seconds = house.run("spindlectl", "-q", "submit", "subtitles", "--from", names, "-o", house.root / f"out{turn}")
            took.append(seconds)
        house.kill()
        house.start()
        kept = sum(batch["total"] for batch in house.ask("list"))
        shown = ", ".join(f"{seconds:.2f}" for seconds in took)
        told("100,000 inputs submitted (median of 3, whole process), s", f"{statistics.median(took):.2f} ({shown})", "< 3", statistics.median(took) < 3)
        told("…of which there are after kill -9", f"{kept:,}", "300,000", kept == 300_000)


def completed(house, batches):
    """From the rows of the store, which a daemon that was started anew has nothing beside."""
    house.stop()
    house.start()
    return sum(sum(1 for job in house.ask("jobs", batch, "--state", "completed")) for batch in batches)


def jobs(programs):
    with House(programs, **WIDE) as house:
        house.load("jobs", 1000, 64, "ok")
        rates, batches, count = [], [], 0
        for _ in range(3):
            done = house.load("jobs", 20_000, 64, "ok")
            rates.append(done["jobs"] / (done["seconds"] - done["submitted_seconds"]))
            batches += done["batches"]
            count += done["jobs"]
        kept = completed(house, batches)
        rate = statistics.median(rates)
        shown = ", ".join(f"{rate:,.0f}" for rate in rates)
        told("no-op jobs through a worker, each durable (median of 3), /s", f"{rate:,.0f} ({shown})", "≥ 5,000", rate >= 5000)
        told("…of which the store has as completed", f"{kept:,}", f"{count:,}", kept == count)


def status(programs):
    with House(programs) as house:
        for _ in range(20):
            house.run("spindlectl", "status")
        took = [house.run("spindlectl", "status")[1] * 1000 for _ in range(500)]
        median, late = statistics.median(took), percentile(took, 0.99)
        told("status as a whole process, idle: median / p99, ms", f"{median:.2f} / {late:.2f}", "≤ 5 median", median <= 5)


def million(programs):
    with House(programs) as house:
        house.ask("pause")
        done = house.load("waiting", 1_000_000)
        resident, most = house.memory()
        print(f"1,000,000 jobs submitted in {done['seconds']:.1f} s; memory after it {resident:.0f} MiB, most {most:.0f} MiB")
        house.kill()
        hello = house.start()
        _, answered = house.run("spindlectl", "status")
        resident, most = house.memory()
        told("1,000,000 waiting: restart after kill -9 to first answer, s", f"{hello + answered:.2f}", "< 3", hello + answered < 3)
        told("…daemon's memory, MiB (and the most since its start)", f"{resident:.0f} ({most:.0f})", "< 300", resident < 300)
        for words in (["list"], ["status"], ["status", 1], ["jobs", 1, "--state", "failed"]):
            took = [house.run("spindlectl", *words)[1] * 1000 for _ in range(50)]
            median, late = statistics.median(took), percentile(took, 0.99)
            told(f"…{' '.join(map(str, words))}: median / most, ms", f"{median:.1f} / {late:.1f}", "< 50", late < 50)
        size = os.stat(house.state / "queue.redb").st_size / 2**20
        print(f"the queue's file: {size:.0f} MiB")
    # By turns, so that what else the machine does hits both alike.
    with House(programs, **WIDE) as empty, House(programs, **WIDE) as full:
        for house in (empty, full):
            house.load("jobs", 1_000, 64, "ok")
            house.ask("pause")
        full.load("more", 1_000_000, 64, "ok")
        few, many = [], []
        for _ in range(40):
            for house, rates in ((empty, few), (full, many)):
                done = house.load("urgent", 1_000, 64, "ok")
                rates.append(done["jobs"] / done["seconds"])
        waiting = full.ask("status", 2)["pending"]
        ratio = statistics.median(many) / statistics.median(few)
        shown = f"{statistics.median(many):,.0f} : {statistics.median(few):,.0f} = {ratio:.2f}"
        told(f"dispatch of 1,000 with {waiting:,} more waiting : without, /s", shown, "≥ 0.9", ratio >= 0.9)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=Path, default=Path("target/release"))
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all, if none is named")
    options = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.2f}; state in {os.environ.get('TMPDIR', '/tmp')}")
    for part in options.parts or PARTS:
        globals()[part](options.programs)
    print(f"load after: {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
