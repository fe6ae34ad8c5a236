#!/usr/bin/env python3
"""How good the remaining time is that Spindle tells: a batch of joined recordings, looked at once a second, held against its true end.

    tests/bench/eta/measure.py --recordings DIR --model FILE [--programs target/release] [--mix uniform] [--seed 1]

Recordings of 5 to 300 s are joined from the WAV files in DIR, the same ones for the same seed. A daemon of its own, with a state folder of its
own that is empty, transcribes them; it and all of its files are gone afterwards. `--rounds 2` submits as many other recordings once more after a
restart of the daemon: with what it has learned. Needs ffmpeg. Prints a table of the looks between 20 and 80 % of the work, and the three figures:
median error, how often the truth lay in the range, median width of the range.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

MIXES = ["uniform", "short-first", "long-first", "clips-then-talks", "last-long"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=Path, required=True, help="folder of WAV files to join")
    parser.add_argument("--model", type=Path, required=True, help="ggml file of the model")
    parser.add_argument("--programs", type=Path, default=Path("target/release"))
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--shortest", type=float, default=5.0)
    parser.add_argument("--longest", type=float, default=300.0)
    parser.add_argument("--mix", choices=MIXES, default="uniform")
    parser.add_argument("--parallel", type=int, help="as submit's; its default if left out")
    parser.add_argument("--rounds", type=int, default=1, help="batches, with a restart of the daemon before each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=30, help="rows of the table")
    parser.add_argument("--json", type=Path, help="write every look to this file")
    return parser.parse_args()


def lengths(options, dice):
    if options.mix == "clips-then-talks":
        half = options.count // 2
        clips = [dice.uniform(options.shortest, 12.0) for _ in range(half)]
        return clips + [dice.uniform(200.0, options.longest) for _ in range(options.count - half)]
    drawn = [dice.uniform(options.shortest, options.longest) for _ in range(options.count)]
    if options.mix == "last-long":
        return [min(length, 60.0) for length in drawn[:-1]] + [4.0 * options.longest]
    if options.mix == "uniform":
        return drawn
    return sorted(drawn, reverse=options.mix == "long-first")


def seconds_of(path):
    with wave.open(str(path)) as sound:
        return sound.getnframes() / sound.getframerate()


def join(sources, length, target, dice):
    """Recordings one after the other in any order, cut to the length."""
    parts, sum_seconds = [], 0.0
    while sum_seconds < length:
        part = dice.choice(sources)
        parts.append(part)
        sum_seconds += seconds_of(part)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as names:
        names.writelines(f"file '{part}'\n" for part in parts)
        names.flush()
        command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "concat", "-safe", "0", "-i", names.name]
        subprocess.run(command + ["-t", f"{length:.3f}", "-c:a", "pcm_s16le", str(target)], check=True)


class House:
    """A daemon of our own."""

    def __init__(self, options, root):
        self.programs = options.programs.resolve()
        self.environment = dict(
            os.environ,
            SPINDLE_SOCKET=str(root / "socket"),
            SPINDLE_STATE_DIR=str(root / "state"),
            SPINDLE_MODEL_DIR=str(root / "models"),
            SPINDLE_CONFIG=os.devnull,
        )
        (root / "models").mkdir()
        self.log = open(root / "log", "w")
        self.process = None

    def start(self):
        command = [self.programs / "spindled"]
        self.process = subprocess.Popen(command, env=self.environment, stdout=self.log, stderr=self.log)
        for _ in range(200):
            if subprocess.run(self.command("health"), env=self.environment, capture_output=True).returncode == 0:
                return
            time.sleep(0.05)
        sys.exit("the daemon does not answer")

    def command(self, *words):
        return [self.programs / "spindlectl", "--json", *words]

    def ask(self, *words):
        asked = subprocess.run(self.command(*words), env=self.environment, capture_output=True, check=True)
        return json.loads(asked.stdout)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=20)


def looks_at(house, batch):
    """What was told each second, until the end; and when that was."""
    began, looks = time.monotonic(), []
    before = house.ask("status")["media_seconds_done"]
    while True:
        status = house.ask("status", batch)
        now = time.monotonic() - began
        if status["state"] not in ("pending", "running"):
            return looks, now, status
        work = house.ask("status")["media_seconds_done"] - before
        eta = [status[f"eta_{which}seconds"] for which in ("", "low_", "high_")]
        looks.append({"at": now, "work": work, "eta": eta, "progress": status["progress"]})
        time.sleep(max(0.0, len(looks) - (time.monotonic() - began)))


def judge(looks, end, media):
    rows = []
    for look in looks:
        share = look["work"] / media
        if 0.2 <= share <= 0.8:
            rows.append({**look, "share": share, "left": end - look["at"]})
    known = [row for row in rows if row["eta"][0] is not None]
    errors = [abs(row["eta"][0] - row["left"]) / row["left"] for row in known]
    inside = [row["eta"][1] <= row["left"] <= row["eta"][2] for row in known]
    widths = [(row["eta"][2] - row["eta"][1]) / max(row["eta"][0], 0.1) for row in known]
    return rows, known, errors, inside, widths


def report(options, looks, end, media):
    rows, known, errors, inside, widths = judge(looks, end, media)
    print(f"{'work':>6} {'at':>7} {'left':>7} {'told':>7} {'low':>7} {'high':>7} {'error':>7}  inside")
    for row in rows[:: max(1, len(rows) // options.rows)]:
        told, low, high = row["eta"]
        start = f"{row['share']:>6.0%} {row['at']:>7.1f} {row['left']:>7.1f}"
        if told is None:
            print(f"{start} {'–':>7}")
            continue
        error = (told - row["left"]) / row["left"]
        within = "yes" if low <= row["left"] <= high else "no"
        print(f"{start} {told:>7.1f} {low:>7.1f} {high:>7.1f} {error:>+7.0%}  {within}")
    first = next((look["work"] / media for look in looks if look["eta"][0] is not None), None)
    print(f"looks: {len(rows)}, known: {len(known)}; first known at {first:.0%} of the work" if first is not None else "never known")
    if known:
        print(f"median error: {statistics.median(errors):.1%}")
        print(f"truth inside the range: {statistics.mean(inside):.1%}")
        print(f"median width of the range: {statistics.median(widths):.1%}")


def main():
    options = arguments()
    sources = sorted(path.resolve() for path in options.recordings.glob("*.wav"))
    if not sources:
        sys.exit(f"no WAV files in {options.recordings}")
    dice = random.Random(options.seed)
    root = Path(tempfile.mkdtemp(prefix="spindle-eta-"))
    house = House(options, root)
    try:
        for nth in range(1, options.rounds + 1):
            folder = root / f"media{nth}"
            folder.mkdir()
            for number, length in enumerate(lengths(options, dice), 1):
                join(sources, length, folder / f"{number:03}.wav", dice)
            files = sorted(folder.glob("*.wav"))
            media = sum(seconds_of(file) for file in files)
            load = os.getloadavg()[0]
            house.start()
            words = ["submit", "subtitles", "--model", options.model.resolve(), *files]
            words += ["--parallel", str(options.parallel)] if options.parallel else []
            submitted = house.ask(*words)
            looks, end, ended = looks_at(house, str(submitted["batch_id"]))
            jobs = house.ask("result", str(submitted["batch_id"]))["jobs"]
            house.stop()
            print(f"round {nth}: {len(files)} recordings ({options.mix}, seed {options.seed}), {media:.0f} s of sound, ", end="")
            print(f"{ended['state']} in {end:.1f} s ({media / end:.1f} × real time); ", end="")
            print(f"estimated at submission: {submitted['estimated_seconds']:.0f} s; load before: {load:.2f}, after: {os.getloadavg()[0]:.2f}")
            report(options, looks, end, media)
            if options.json:
                with open(options.json, "a") as file:
                    runs = [[job["detail"]["media_seconds"], job["timings"]] for job in jobs]
                    file.write(json.dumps({"round": nth, "media": media, "end": end, "looks": looks, "runs": runs}) + "\n")
    finally:
        house.stop()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
