#!/usr/bin/env python3
"""Makes 800-pixel pictures of 200 photos of 24 megapixels, here, with vipsthumbnail and with ImageMagick, in one run.

    thumbs.py --bin target/release --photos FOLDER [--count 200] [--magick 40] PHOTO…

FOLDER is filled once: PHOTOs made 6000×4000 with a camera's noise, as JPEG of quality 90; each serves several times, told apart by a comment, so that
nothing is known from before. ImageMagick does only the first of them, as it takes long; its time is multiplied. The order is: here, vips with one
process, vips with a process for each core, ImageMagick with a process for each core. Memory is the largest resident set of a process (here: of the
media worker, which does all photos at once). SSIM, by ffmpeg, is between the pictures made here and vips'. Needs numpy and Pillow.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import time

import numpy
from PIL import Image

from house import House

CONVERT = os.environ.get("CONVERT", "/usr/bin/convert")


def photos(folder, sources, count):
    folder.mkdir(parents=True, exist_ok=True)
    rng = numpy.random.default_rng(7)
    for number, source in enumerate(sources):
        names = [folder / f"{number:02}-{copy:02}.jpg" for copy in range(-(-count // len(sources)))]
        if all(name.exists() for name in names):
            continue
        image = Image.open(source).convert("RGB")
        if image.width < image.height:
            image = image.rotate(90, expand=True)
        image = image.resize((6000, 4000), Image.LANCZOS)
        values = numpy.asarray(image, dtype=numpy.int16) + rng.integers(-4, 5, (4000, 6000, 1), dtype=numpy.int16)
        Image.fromarray(values.clip(0, 255).astype(numpy.uint8)).save(names[0], quality=90)
        jpeg = names[0].read_bytes()
        for copy, name in enumerate(names):
            comment = f"copy {copy}".encode()
            name.write_bytes(jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:])
    return sorted(folder.glob("*.jpg"))[:count]


def timed(words, files, processes, chunk):
    """Seconds, and the largest process's memory in MB."""
    before = time.monotonic()
    listing = "\0".join(map(str, files)).encode()
    run = subprocess.run(["xargs", "-0", "-P", str(processes), "-n", str(chunk), "/usr/bin/time", "-f", "RSS %M", *words], input=listing, capture_output=True)
    seconds = time.monotonic() - before
    memory = max((int(kib) for kib in re.findall(rb"RSS (\d+)", run.stderr)), default=0) / 1e3
    return seconds, memory


def ssim(one, other):
    told = subprocess.run(
        ["ffmpeg", "-hide_banner", "-i", one, "-i", other, "-lavfi", "ssim", "-f", "null", "-"], capture_output=True, text=True
    ).stderr
    return float(re.findall(r"All:([0-9.]+)", told)[-1])


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--bin", required=True)
    arguments.add_argument("--photos", required=True, type=pathlib.Path)
    arguments.add_argument("--count", type=int, default=200)
    arguments.add_argument("--magick", type=int, default=40)
    arguments.add_argument("sources", nargs="+", type=pathlib.Path)
    arguments = arguments.parse_args()
    files = photos(arguments.photos, arguments.sources, arguments.count)
    cores = os.cpu_count()
    work = arguments.photos / "out"
    shutil.rmtree(work, ignore_errors=True)
    for name in ("here", "vips", "vips-all", "magick"):
        (work / name).mkdir(parents=True)
    for file in files:
        file.read_bytes()  # All of them read from memory, by everybody.
    rows = []
    with House(arguments.bin) as house:
        before = time.monotonic()
        jobs = house.images(files, work / "here", "resize=800x800,contain,pad=none", "convert=jpeg,quality=85", more=["--metadata", "strip"])
        rows.append(("here", time.monotonic() - before, max(job["peak_memory_bytes"] or 0 for job in jobs.values()) / 1e6))
        assert all(job["state"] == "completed" for job in jobs.values())
    vips = ["vipsthumbnail", "--size", "800x800", "-o"]
    rows.append(("vipsthumbnail", *timed([*vips, f"{work}/vips/%s.jpg[Q=85,strip]"], files, 1, len(files))))
    rows.append((f"vipsthumbnail × {cores}", *timed([*vips, f"{work}/vips-all/%s.jpg[Q=85,strip]"], files, cores, -(-len(files) // cores))))
    some = files[: arguments.magick]
    script = f'for f; do {CONVERT} "$f" -resize 800x800 -quality 85 -strip "{work}/magick/${{f##*/}}"; done'
    seconds, memory = timed(["sh", "-c", script, "-"], some, cores, -(-len(some) // cores))
    rows.append((f"ImageMagick × {cores}, {len(some)} photos, multiplied", seconds * len(files) / len(some), memory))
    here = rows[0][1]
    print(f"{len(files)} photos, {cores} cores\n\n| | seconds | × | MB |\n|---|---|---|---|")
    for name, seconds, memory in rows:
        print(f"| {name} | {seconds:.1f} | {seconds / here:.2f} | {memory:.0f} |")
    of_each = {file.name.split("-")[0]: file.stem for file in files}
    alike = [ssim(work / f"here/{stem}.processed.jpg", work / f"vips/{stem}.jpg") for stem in of_each.values()]
    print(f"\nSSIM to vips' result: {min(alike):.4f} at least, {sum(alike) / len(alike):.4f} on average, of {len(alike)} pictures")


main()
