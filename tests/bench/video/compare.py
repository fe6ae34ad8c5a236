#!/usr/bin/env python3
"""Measures `submit compress` against the ffmpeg program with the same settings, in turn: throughput, SSIM and size.

    compare.py --bin target/release --media FOLDER [--clips 20] [--rounds 5] [--profile balanced]

Each round does all clips three times: by ffmpeg one after the other, by ffmpeg two at once, and by a daemon of its own with an empty cache. The
ratio is that of the medians, against the better of ffmpeg's two ways. SSIM is each copy's against the source at the copy's size and rate; the copies by
ffmpeg that it is compared with are made by one thread each, as a run has one: where the rate is at its limit, x264 with more threads spends it otherwise.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from house import House

PROFILES = {
    "aggressive": (854, 480, 10, 28, 500, 64, 22050, "ultrafast"),
    "balanced": (1280, 720, 15, 23, 1500, 128, 44100, "fast"),
    "conservative": (1920, 1080, 24, 20, 3000, 192, 44100, "medium"),
}


def probe(path):
    answer = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", path], capture_output=True, check=True
    )
    return json.loads(answer.stdout)


def video_of(path):
    return next(s for s in probe(path)["streams"] if s["codec_type"] == "video")


def rate_of(stream):
    num, den = map(int, stream["r_frame_rate"].split("/"))
    return num / den


def ffmpeg(clip, out, profile, threads=0):
    width, height, fps, crf, kbps, audio_kbps, audio_hz, preset = PROFILES[profile]
    filters = f"scale='min({width},iw)':'min({height},ih)':force_original_aspect_ratio=decrease:force_divisible_by=2:flags=bicubic"
    if rate_of(video_of(clip)) > fps:
        filters = f"fps={fps}," + filters
    subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", clip, "-vf", filters, "-pix_fmt", "yuv420p"]
        + ["-c:v", "libx264", "-preset", preset, "-crf", str(crf), "-maxrate", f"{kbps}k", "-bufsize", f"{2 * kbps}k"]
        + ["-c:a", "aac", "-b:a", f"{audio_kbps}k", "-ar", str(audio_hz), "-movflags", "+faststart", "-threads", str(threads), out],
        check=True,
    )


def by_ffmpeg(clips, folder, profile, at_once):
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda clip: ffmpeg(clip, folder / f"{clip.stem}.mp4", profile), clips))
    return time.monotonic() - begun


def by_spindle(clips, folder, profile, binaries):
    """A daemon of its own, so that nothing comes from a cache; its start is not measured."""
    with House(binaries) as house:
        begun = time.monotonic()
        house.ctl("-q", "submit", "compress", "--profile", profile, "--wait", "-o", folder, *clips)
        return time.monotonic() - begun


def ssim(copy, clip):
    stream = video_of(copy)
    graph = (
        f"[1:v]fps={stream['r_frame_rate']},scale={stream['width']}:{stream['height']}:flags=bicubic,format=yuv420p[r];"
        f"[0:v]fps={stream['r_frame_rate']},format=yuv420p[c];[c][r]ssim"
    )
    answer = subprocess.run(
        ["ffmpeg", "-nostdin", "-i", copy, "-i", clip, "-lavfi", graph, "-f", "null", "-"], capture_output=True, text=True
    )
    found = re.search(r"SSIM .*All:([0-9.]+)", answer.stderr)
    return float(found.group(1)) if found else float("nan")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--media", type=pathlib.Path, required=True)
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", choices=PROFILES, default="balanced")
    parser.add_argument("--quality", type=int, default=5, help="clips whose SSIM and size are compared")
    options = parser.parse_args()
    clips = sorted(path.resolve() for path in options.media.iterdir() if path.is_file())[: options.clips]
    work = pathlib.Path(tempfile.mkdtemp(prefix="spindle-compare-out-"))
    times = {"ffmpeg": [], "ffmpeg ×2": [], "spindle": []}
    for number in range(options.rounds):
        for way in times:
            folder = work / way.replace(" ", "")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            if way == "spindle":
                took = by_spindle(clips, folder, options.profile, options.bin.resolve())
            else:
                took = by_ffmpeg(clips, folder, options.profile, 2 if "×2" in way else 1)
            times[way].append(took)
            print(f"round {number + 1}: {way}: {took:.2f} s", file=sys.stderr)
    print(f"{len(clips)} clips, profile {options.profile}, {options.rounds} rounds, {os.cpu_count()} cores\n")
    print("| way | median s | all |\n|---|---|---|")
    for way, took in times.items():
        print(f"| {way} | {statistics.median(took):.2f} | {' '.join(f'{t:.2f}' for t in took)} |")
    better = min(statistics.median(times["ffmpeg"]), statistics.median(times["ffmpeg ×2"]))
    print(f"\nthroughput against the better of ffmpeg's: {better / statistics.median(times['spindle']):.3f}\n")
    print("| clip | SSIM ffmpeg | SSIM spindle | difference | bytes ffmpeg | bytes spindle | difference |\n|---|---|---|---|---|---|---|")
    for clip in clips[: options.quality]:
        theirs = work / f"{clip.stem}.mp4"
        ffmpeg(clip, theirs, options.profile, threads=1)
        ours = work / "spindle" / f"{clip.stem}.{options.profile}.mp4"
        a, b = ssim(theirs, clip), ssim(ours, clip)
        size_a, size_b = theirs.stat().st_size, ours.stat().st_size
        print(f"| {clip.name} | {a:.5f} | {b:.5f} | {b - a:+.5f} | {size_a} | {size_b} | {100 * (size_b / size_a - 1):+.2f} % |")
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
