#!/usr/bin/env python3
"""Measures how near the disk that a dry run tells comes to what a batch then takes at its peak: for `compress`, and for `highlights` in two qualities.

    disk.py --bin target/release [--seconds 60]

The house first compresses four videos one by one, so that it knows how large copies of their kind become; then each dry run is followed by the batch itself, while the
state folder is measured a hundred times a second. What lay there before, and the queue's own file, don't count; `compress` runs with one job at a time.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from house import House

CONTENT = ["testsrc2=s=1280x720:r=25,hue=h=40*t", "testsrc2=s=1280x720:r=25,hflip", "testsrc2=s=1280x720:r=25,negate"]


def size_of(state):
    """Bytes on the disk below the folder, files without a name there included, as long as somebody holds them open."""
    total, seen = 0, set()
    # A folder that goes meanwhile is passed over.
    for folder, _, names in os.walk(state):
        for name in names:
            try:
                about = os.lstat(os.path.join(folder, name))
            except OSError:
                continue
            if not name.endswith(".redb"):
                seen.add(about.st_ino)
                total += 512 * about.st_blocks
    for link in pathlib.Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = os.readlink(link)
            if target.startswith(str(state)) and target.endswith(" (deleted)"):
                about = link.stat()
                if about.st_ino not in seen:
                    seen.add(about.st_ino)
                    total += 512 * about.st_blocks
        except OSError:
            pass
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="spindle-disk-"))
    clips = []
    for at in range(8):
        clip = work / f"clip-{at}.mp4"
        seconds = options.seconds * (1 + at % 3) // 2
        subprocess.run(
            ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", CONTENT[at % len(CONTENT)], "-f", "lavfi", "-i", "sine", "-ss", str(at)]
            + ["-t", str(seconds), "-c:v", "libx264", "-preset", "ultrafast", "-crf", "23", "-g", "50", "-pix_fmt", "yuv420p", "-c:a", "aac", clip],
            check=True,
        )
        clips.append(clip)
    with House(options.bin) as house:
        compress = ["compress", "--profile", "aggressive", "--parallel", "1"]
        house.ctl("-q", "submit", *compress, "--wait", "-o", work / "first", *clips[:4])
        print("| batch | told, MB | peak, MB | off |\n|---|---|---|---|")
        for name, words, of in [
            ("compress", compress, clips[5:8]),
            ("highlights low", ["highlights", "--quality", "low", "--target-duration", str(options.seconds)], clips),
            ("highlights medium", ["highlights", "--quality", "medium", "--target-duration", str(options.seconds)], clips),
            ("highlights source", ["highlights", "--quality", "source", "--target-duration", str(options.seconds)], clips),
        ]:
            told = json.loads(house.ctl("-q", "--json", "submit", *words, "--dry-run", "-o", work / "out", *of))["estimated_bytes"]
            before = peak = size_of(house.state)
            running = house.begin("-q", "submit", *words, "--force", "--wait", "-o", work / "out", *of)
            # Copies that are finished stay as artifacts: they are what is kept, not what is needed to make the next one.
            kept = lambda: size_of(house.state / "artifacts")
            begun = kept()
            while running.poll() is None:
                peak = max(peak, size_of(house.state) - (max(kept() - begun, 0) if name == "compress" else 0))
                time.sleep(0.01)
            took = peak - before
            off = f"{100 * (told / took - 1):+.0f} %" if told and took else "–"
            print(f"| {name} | {'unknown' if told is None else f'{told / 1e6:.2f}'} | {took / 1e6:.2f} | {off} |", flush=True)
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
