#!/usr/bin/env python3
"""kill -9 of the daemon, again and again, while short jobs go through all their stages; see README.md.

    tests/bench/queue/kill.py [--programs target/release] [--kills 1000] [--jobs 10000] [--disk 50m] [--seed 1]

The scripted worker logs every run and every published file, and makes other bytes in every run. Checked at the end: no job is lost; what was
seen as completed by any daemon ran in no later one; no output got other bytes once it had a name; the counters equal a recount of the jobs.
With --disk the queue lies on a file system of that size (tmpfs, needs root), which is filled and emptied meanwhile, and grows when it is full
of artifacts; a daemon that ends for want of room is started again.
"""

import argparse
import collections
import datetime
import os
import random
import subprocess
import tempfile
import time
from pathlib import Path

from house import House


def inputs(folder, count):
    folder.mkdir()
    for number in range(count):
        (folder / f"talk{number:05}.wav").write_bytes(b"%d" % number)
    names = folder.parent / "inputs.txt"
    names.write_text("".join(f"{folder}/talk{number:05}.wav\n" for number in range(count)))
    return names


class Disk:
    """A small file system of our own, and a file that fills it up."""

    def __init__(self, size):
        self.folder = Path(tempfile.mkdtemp(prefix="spindle-disk-"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", self.folder], check=True)
        self.state = self.folder / "state"
        self.filler = self.folder / "filler"

    def fill(self, leave):
        free = os.statvfs(self.folder)
        free = free.f_bavail * free.f_frsize
        if free > leave:
            with open(self.filler, "ab") as file:
                try:
                    os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size + free - leave)
                except OSError:
                    pass

    def empty(self):
        self.filler.unlink(missing_ok=True)

    def grow(self):
        """Room enough for all that is still to come."""
        self.empty()
        subprocess.run(["mount", "-o", "remount,size=1g", self.folder], check=True)

    def close(self):
        subprocess.run(["umount", self.folder], check=True)
        self.folder.rmdir()


def completed(house, batch, since):
    """Jobs that are completed, and whether they were so before this daemon's start."""
    ended = ((job["index"], job["finished_at"]) for job in house.ask("jobs", batch, "--state", "completed"))
    return {index: datetime.datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp() < since for index, at in ended}


def check(house, batch, count, seen, log, out):
    """All that must hold, as lines that tell what does not."""
    wrong = []
    status = house.ask("status", batch)
    rows = house.ask("jobs", batch)
    states = collections.Counter(job["state"] for job in rows)
    if len(rows) != count or states["completed"] != count:
        wrong.append(f"of {count} jobs there are {len(rows)}, by state {dict(states)}")
    for state in ("completed", "failed", "skipped", "cancelled", "running", "pending", "retrying"):
        if status[state] != states[state]:
            wrong.append(f"the counter says {status[state]} {state}, a recount {states[state]}")
    index = {Path(job["input"]).stem: job["index"] for job in rows}
    published = collections.defaultdict(list)
    runs = again = 0
    for line in log.read_text().splitlines():
        run, stage, stem, what, *rest = line.split(" ")
        boot = int(run.split("-")[0])
        runs += 1
        if what == "published":
            published[stem].append(rest[0])
        if boot > seen.get(index[stem], boot):
            again += 1
            wrong.append(f"{stem} was completed in boot {seen[index[stem]]} and ran {stage} in run {run}")
    twice = [stem for stem, contents in published.items() if len(set(contents)) > 1]
    wrong += [f"{stem} was published with {len(set(published[stem]))} contents" for stem in twice]
    files = [name for name in os.listdir(out) if not name.startswith(".")]
    if len(files) != count:
        wrong.append(f"there are {len(files)} outputs of {count} jobs")
    parts = [name for name in os.listdir(out) if name.endswith(".part")]
    repeated = sum(len(contents) > 1 for contents in published.values())
    print(f"log lines: {runs:,}; outputs named more than once, with the same bytes: {repeated}; partial files left: {len(parts)}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=Path, default=Path("target/release"))
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--disk", help="size of the file system of the queue, 50m say; otherwise it is wherever TMPDIR is")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    disk = Disk(options.disk) if options.disk else None
    began = time.monotonic()
    settings = {"lanes__io": 3, "lanes__cpu": 2, "workers__recycle_after": 1_000_000}
    house = House(options.programs, state=disk and disk.state, **settings)
    log = house.root / "runs.log"
    house.environment["SPINDLE_SCRIPT_LOG"] = str(log)
    try:
        house.start()
        names, out = inputs(house.root / "media", options.jobs), house.root / "out"
        house.ask("pause")
        batch = house.ask("submit", "subtitles", "--from", names, "-o", out, "-j", "64", "--format", "srt")["batch_id"]
        house.ask("resume")
        seen, boot, kills, told, ends, refused = {}, 1, 0, 0, collections.Counter(), 0
        pause, in_a_row = 0.05, 0
        while kills < options.kills:
            if disk and dice.random() < 0.1:
                disk.fill(dice.choice([0, 1 << 20, 3 << 20, 5 << 20]))
            time.sleep(dice.uniform(0.0, 2 * pause))
            if house.ended():
                ends[house.process.returncode] += 1
                in_a_row += 1
            else:
                kills += 1
                in_a_row = 0
                house.kill()
            if disk and disk.filler.exists() and dice.random() < 0.5:
                disk.empty()
            if disk and in_a_row == 20:
                print(f"after {kills} kills the disk is full of what belongs there; now it grows", flush=True)
                disk.grow()
            while True:
                since = time.time()
                try:
                    house.start()
                    break
                except RuntimeError:
                    refused += 1
                    if disk is None:
                        raise
                    disk.empty()
            boot = house.boot()
            if dice.random() < 0.2:
                # Once more, somewhere in its start or just after it.
                kills += 1
                house.kill()
                house.launch()
                time.sleep(dice.uniform(0.0, 0.02))
                house.kill()
                kills += 1
                since = time.time()
                house.start()
                boot = house.boot()
            try:
                # Not at every one: the look itself takes its time, and while the disk is full it waits for room.
                full = disk and disk.filler.exists()
                done = completed(house, batch, since) if not full and dice.random() < 0.5 else {}
            except SystemExit:
                # It has ended in between.
                continue
            for index, before in done.items():
                seen.setdefault(index, boot - 1 if before else boot)
            if done:
                # So that there is work to the last kill.
                ahead = len(done) / options.jobs - kills / options.kills
                pause = min(0.3, max(0.0, pause * (0.8 if ahead > 0 else 1.25) + 0.001))
            if done and kills >= told + 100:
                told = kills
                print(f"{kills} kills, {len(done):,} jobs completed, {time.monotonic() - began:.0f} s", flush=True)
        if disk:
            disk.grow()
        while house.ended() or house.ask("status", batch)["state"] in ("pending", "running"):
            if house.ended():
                ends[house.process.returncode] += 1
                house.start()
            time.sleep(0.2)
        seconds = time.monotonic() - began
        wrong = check(house, batch, options.jobs, seen, log, out)
        print(f"{kills} kills, {boot} boots, {options.jobs:,} jobs, {seconds:.0f} s (seed {options.seed})")
        if disk:
            print(f"ended by itself: {dict(ends)}; refused to start: {refused}")
        print("all held" if not wrong else f"{len(wrong)} things did not hold:\n" + "\n".join(wrong[:20]))
        return 1 if wrong else 0
    finally:
        house.__exit__()
        if disk:
            disk.close()


if __name__ == "__main__":
    raise SystemExit(main())
