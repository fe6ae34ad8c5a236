#!/usr/bin/env python3
"""Measures how near the disk that a dry run tells comes to what a batch then takes at its peak: for `compress`, and for `highlights` in two qualities.

    disk.py --bin target/release [--seconds 60]

The house first compresses four videos one by one, so that it knows how large copies of their kind become; then each dry run is followed by the batch itself, while the
state folder is measured all the time. What lay there before, and the queue's own file, don't count; `compress` runs with one job at a time.
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


class Used:
    """What lies in a state folder that is a file system of its own (in memory; mounting it takes root): all that is written there, files without a
    name included, asked thousands of times a second, so that what lasts a millisecond is seen, too."""

    def __init__(self, state):
        self.state = state
        state.mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8g,mode=0700", "spindle-disk", state], check=True)

    def away(self):
        subprocess.run(["umount", "--lazy", self.state], check=True)

    def bytes(self):
        about = os.statvfs(self.state)
        used = (about.f_blocks - about.f_bfree) * about.f_frsize
        return used - sum(512 * os.stat(queue).st_blocks for queue in self.state.glob("*.redb"))

    def kept(self):
        """Copies that are finished stay as artifacts: they are what is kept, not what is needed to make the next one."""
        total = 0
        for folder, _, names in os.walk(self.state / "artifacts"):
            for name in names:
                try:
                    total += 512 * os.lstat(os.path.join(folder, name)).st_blocks
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
    house = House(options.bin)
    used = Used(house.state)
    try:
        with house:
            measure(house, used, clips, work / "out", options.seconds)
    finally:
        used.away()
    shutil.rmtree(work, ignore_errors=True)


def measure(house, used, clips, out, seconds):
    compress = ["compress", "--profile", "aggressive", "--parallel", "1"]
    highlights = ["highlights", "--target-duration", str(seconds), "--quality"]
    house.ctl("-q", "submit", *compress, "--wait", "-o", out, *clips[:4])
    print("| batch | told, MB | peak, MB | off |\n|---|---|---|---|")
    for name, words, of in [
        ("compress", compress, clips[5:8]),
        ("highlights low", [*highlights, "low"], clips),
        ("highlights medium", [*highlights, "medium"], clips),
        ("highlights source", [*highlights, "source"], clips),
    ]:
        told = json.loads(house.ctl("-q", "--json", "submit", *words, "--dry-run", "-o", out, *of))["estimated_bytes"]
        before = peak = used.bytes()
        begun = kept = used.kept()
        looked = time.monotonic()
        running = house.begin("-q", "submit", *words, "--force", "--wait", "-o", out, *of)
        while running.poll() is None:
            if name == "compress" and time.monotonic() > looked + 0.01:
                kept, looked = used.kept(), time.monotonic()
            peak = max(peak, used.bytes() - (kept - begun))
            time.sleep(0.0002)
        took = peak - before
        off = f"{100 * (told / took - 1):+.0f} %" if told and took else "–"
        print(f"| {name} | {'unknown' if told is None else f'{told / 1e6:.2f}'} | {took / 1e6:.2f} | {off} |", flush=True)


if __name__ == "__main__":
    main()
