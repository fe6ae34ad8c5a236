#!/usr/bin/env python3
"""Puts every file of a folder through a chain of four operations and prints a Markdown table of what came of it.

    table.py --bin target/debug FOLDER

A file below a folder `bad` may fail: with the kind `input` and advice, within 5 s and 500 MB. All others must come out as 320×180 in PNG. Each file is a
batch of its own in a daemon of its own, so that its time and its memory are its own. Exits 1 where one doesn't do as it should.
"""

import argparse
import pathlib
import subprocess
import sys

from house import House

CHAIN = ["orient", "crop=16:9", "resize=320x180,contain", "convert=png"]
PICTURES = {"avif", "avifs", "bmp", "exr", "gif", "hdr", "heic", "ico", "jp2", "jpeg", "jpg", "png", "tif", "tiff", "webp"}


def size(path):
    told = subprocess.run(
        ["ffprobe", "-v", "error", "-of", "csv=p=0", "-show_entries", "stream=width,height", path], capture_output=True, text=True
    )
    return told.stdout.strip().rstrip(",")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--bin", required=True)
    arguments.add_argument("folder", type=pathlib.Path)
    arguments = arguments.parse_args()
    files = sorted(file for file in arguments.folder.rglob("*") if file.suffix.lstrip(".").lower() in PICTURES)
    wrong = 0
    print("| file | came out | seconds | MB | remark |")
    print("|---|---|---|---|---|")
    for file in files:
        # A worker of its own for each: its peak is this file's.
        with House(arguments.bin) as house:
            out = house.root / "out"
            out.mkdir()
            job = house.images([file], out, *CHAIN)[str(file)]
        bad = "bad" in file.relative_to(arguments.folder).parts
        seconds = job["timings"].get("image", 0.0)
        memory = (job["peak_memory_bytes"] or 0) / 1e6
        failure = job["failure"]
        if failure:
            came = f"`{failure['kind']}`"
            remark = failure["message"].split(": ", 1)[-1] + " → " + failure["advice"]
            right = bad and failure["kind"] == "input" and failure["advice"]
        else:
            came = job["detail"]["resolution"]
            remark = f"{job['detail']['original_format']} {job['detail']['original_resolution']}" + "".join(
                f"; {note}" for note in job["detail"]["notes"]
            )
            right = came == "320x180"
        if bad and (seconds > 5 or memory > 500):
            right = False
        wrong += not right
        print(f"| {file.relative_to(arguments.folder)} | {came}{'' if right else ' **wrong**'} | {seconds:.2f} | {memory:.0f} | {remark} |", flush=True)
    print(f"\n{len(files)} files, {wrong} not as they should be", file=sys.stderr)
    sys.exit(wrong > 0)


main()
