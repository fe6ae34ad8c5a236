#!/usr/bin/env python3
"""Measures what `submit highlights --quality source` saves: alike clips, once copied as far as that goes and once encoded anew, in one run.

    highlights.py --bin target/release [--clips FOLDER] [--seconds 180] [--target 120] [--rounds 1]

Without --clips, it makes four alike ones of 1080p, H.264 and AAC, a key picture at least every two seconds, each picture with its number burned in.
Each way has a daemon of its own with an empty cache. Printed are the share of pictures that were copied, the seconds of the assembly alone (as the
result tells them) and of the whole (with the analysis, which both ways do alike), both ratios, and for generated clips how far each cut is off.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

from house import House

WAYS = ["source", "high"]
CELL, BITS = 32, 13
CONTENT = [
    "testsrc2=s=1920x1080:r=25",
    "testsrc2=s=1920x1080:r=25,hue=h=90*floor(t/8),negate=enable='mod(floor(t/12),2)'",
    "testsrc=s=1920x1080:r=25,hue=h=120*floor(t/17)",
    "smptehdbars=s=1920x1080:r=25,scroll=h=0.003,negate=enable='mod(floor(t/9),2)'",
]


def generate(folder, seconds):
    numbers = [f"drawbox=x=0:y=0:w={CELL * (BITS + 2)}:h={CELL}:color=black:t=fill"]
    numbers += [
        f"drawbox=x={CELL * (bit + 1)}:y=0:w={CELL}:h={CELL}:color=white:t=fill:enable='bitand(n,{1 << bit})'" for bit in range(BITS)
    ]
    for at, content in enumerate(CONTENT):
        sound = f"aevalsrc=0.4*sin(2*PI*{220 + 80 * at}*t)*(0.2+0.8*lt(mod(t+{5 * at}\\,37)\\,4)):s=48000"
        subprocess.run(
            ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", content, "-f", "lavfi", "-i", sound, "-t", str(seconds)]
            + ["-vf", ",".join(numbers) + ",format=yuv420p", "-c:v", "libx264", "-preset", "superfast", "-crf", "20", "-g", "50"]
            + ["-c:a", "aac", folder / f"clip-{at + 1}.mp4"],
            check=True,
        )


def numbers_of(video):
    """The number that each picture shows."""
    answer = subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-i", video, "-vf", f"crop={CELL * (BITS + 1)}:{CELL}:0:0,scale={BITS + 1}:1:flags=area"]
        + ["-f", "rawvideo", "-pix_fmt", "gray", "-fps_mode", "passthrough", "-"],
        capture_output=True, check=True,
    )
    if answer.stderr:
        raise SystemExit(f"{video}: {answer.stderr.decode()}")
    rows = [answer.stdout[at : at + BITS + 1] for at in range(0, len(answer.stdout), BITS + 1)]
    return [sum((row[bit + 1] > 127) << bit for bit in range(BITS)) for row in rows]


def worst_cut(video, result, rate):
    """Pictures by which the worst cut is off its plan, and whether any picture between is out of order."""
    shown, at, worst, gaps = numbers_of(video), 0, 0.0, 0
    for piece, cut in zip(result["clip_plan"]["segments"], result["final"]["segments"]):
        part = shown[at : at + cut["frames"]]
        at += cut["frames"]
        worst = max(worst, abs(part[0] - piece["start_time"] * rate), abs(part[-1] + 1 - piece["end_time"] * rate))
        gaps += sum(after - before != 1 for before, after in zip(part, part[1:]))
    return worst, gaps, at == len(shown)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--clips", type=pathlib.Path, help="alike videos to take instead of generated ones")
    parser.add_argument("--seconds", type=int, default=180, help="length of a generated clip")
    parser.add_argument("--target", type=int, default=120, help="length of the result")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="spindle-highlights-clips-"))
    if not options.clips:
        generate(work, options.seconds)
    clips = sorted(path.resolve() for path in (options.clips or work).iterdir())
    assembly, whole = ({way: [] for way in WAYS} for _ in range(2))
    print(f"{len(clips)} clips, target {options.target} s, {os.cpu_count()} cores\n")
    print("| way | pictures | copied | seconds | assembly s | whole s | worst cut, pictures |\n|---|---|---|---|---|---|---|")
    for _ in range(options.rounds):
        for way in WAYS:
            out = work / f"out-{way}"
            with House(options.bin) as house:
                begun = time.monotonic()
                house.ctl("-q", "submit", "highlights", "--quality", way, "--target-duration", str(options.target), "--force", "--wait", "-o", out, *clips)
                whole[way].append(time.monotonic() - begun)
                result = json.loads(house.ctl("--json", "result", "1"))["gather"]
            last = result["final"]
            assembly[way].append(result["assembly_seconds"])
            share = last["frames_copied"] / last["frames"]
            cuts = "not looked at"
            if not options.clips:
                worst, gaps, complete = worst_cut(result["outputs"][0]["path"], result, 25)
                cuts = f"{worst:.2f}" + (f", {gaps} out of order" if gaps else "") + ("" if complete else ", and not all are told")
            row = [way, last["frames"], f"{100 * share:.1f} %", f"{last['duration']:.2f}", f"{assembly[way][-1]:.2f}", f"{whole[way][-1]:.2f}", cuts]
            print("| " + " | ".join(map(str, row)) + " |", flush=True)
    for name, times in [("assembly", assembly), ("whole", whole)]:
        source, high = (statistics.median(times[way]) for way in WAYS)
        print(f"\n{name}: copying is {high / source:.1f} times as fast as encoding anew ({source:.2f} s to {high:.2f} s, medians)")
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
