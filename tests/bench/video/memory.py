#!/usr/bin/env python3
"""Measures the memory of the media worker on 4K videos: each kind by each profile, all through one worker, one after the other.

    memory.py --bin target/release [--seconds 2]

The inputs have as many pictures to look back on as their level allows. The worker has all cores to itself, so its codecs have as many threads as they
ever get. Told is the most of each run, as the house itself measures it; all but the first run in a worker that has done others before.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import tempfile

from house import House

PROFILES = ["aggressive", "balanced", "conservative"]
X264 = "-c:v libx264 -preset superfast -refs 5 -bf 3 -b_strategy 0 -level 5.1"
X265 = "-c:v libx265 -preset superfast -x265-params log-level=none:ref=5:bframes=4:level-idc=5.1"
KINDS = {
    "h264-8.mp4": f"{X264} -pix_fmt yuv420p",
    "hevc-8.mp4": f"{X265} -pix_fmt yuv420p",
    "h264-10.mp4": f"{X264} -pix_fmt yuv420p10le",
    "hevc-10.mp4": f"{X265} -pix_fmt yuv420p10le",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="spindle-memory-"))
    for name, words in KINDS.items():
        subprocess.run(
            ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=3840x2160:rate=24"]
            + ["-f", "lavfi", "-i", "sine", "-t", str(options.seconds), *words.split(), "-c:a", "aac", work / name],
            check=True,
        )
    with House(options.bin) as house:
        print("| video | " + " | ".join(PROFILES) + " |\n|---|---|---|---|")
        for name in KINDS:
            cells = []
            for profile in PROFILES:
                number = house.ctl("-q", "submit", "compress", "--profile", profile, "--force", "-o", work / "out", work / name).strip()
                house.ctl("-q", "wait", number)
                job = json.loads(house.ctl("--json", "result", number))["jobs"][0]
                cells.append("failed" if job["failure"] else f"{job['peak_memory_bytes'] / 1e6:.0f} MB")
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
