#!/usr/bin/env python3
"""Puts a batch of 5,000 pictures with equal names from two folders, one of them broken, into one archive; says whether it is whole, its names are unique
and its manifest true, and the most memory that spindlectl and the daemon took.

    export.py --bin target/release [--count 5000]

Needs `unzip`, numpy and Pillow.
"""

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import zipfile

import numpy
from PIL import Image

from house import House

MEMORY_MOST = 100e6


def peak(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--count", type=int, default=5000)
    arguments = parser.parse_args()
    wrong = []

    def shows(what, well, figure=""):
        print(f"{'ok   ' if well else 'WRONG'} {what} {figure}".rstrip())
        if not well:
            wrong.append(what)

    chance = numpy.random.default_rng(7)
    with House(arguments.bin) as house, tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        files = []
        for name in ("left", "right"):
            (folder / name).mkdir()
            for number in range(arguments.count // 2):
                files.append(folder / name / f"{number:05}.jpg")
                Image.fromarray(chance.integers(0, 255, (48, 64, 3), dtype=numpy.uint8).astype(numpy.uint8)).save(files[-1])
        broken = folder / "left" / "broken.jpg"
        broken.write_bytes(b"\xff\xd8\xff\xe0 no more")
        files.append(broken)
        begun = time.monotonic()
        house.images(files, house.root / "out", "resize=32x24,cover")
        print(f"      {len(files)} pictures in {time.monotonic() - begun:.1f} s")
        archive = folder / "all.zip"
        begun = time.monotonic()
        program = subprocess.Popen([house.programs / "spindlectl", "--quiet", "export", "1", "-o", archive], env=house.environment)
        _, status, used = os.wait4(program.pid, 0)
        took = time.monotonic() - begun
        shows("exported", os.waitstatus_to_exitcode(status) == 0, f"in {took:.2f} s, {archive.stat().st_size / 1e6:.1f} MB")
        shows("memory of spindlectl", used.ru_maxrss * 1024 < MEMORY_MOST, f"{used.ru_maxrss * 1024 / 1e6:.1f} MB at most")
        shows("memory of the daemon", peak(house.daemon.pid) < MEMORY_MOST, f"{peak(house.daemon.pid) / 1e6:.1f} MB at most")
        tested = subprocess.run(["unzip", "-tq", archive], capture_output=True, text=True)
        shows("unzip -t", tested.returncode == 0, tested.stdout.strip().splitlines()[-1].rsplit("/", 1)[-1])
        with zipfile.ZipFile(archive) as packed:
            names = packed.namelist()
            shows("names are unique", len({name.lower() for name in names}) == len(names), f"{len(names)}")
            manifest = json.loads(packed.read("manifest.json"))
            rows = [row for row in walk(manifest) if "sha256" in row]
            told = {row["name"]: row["sha256"] for row in rows}
            untrue = [name for name, content in told.items() if hashlib.sha256(packed.read(name)).hexdigest() != content]
            shows("every hash of the manifest is true", not untrue and len(told) == len(names) - 2, f"{len(told)}")
            shows("the failed one is listed", b"broken.jpg" in packed.read("failed.txt"))
    sys.exit(1 if wrong else 0)


def walk(value):
    """Every object in it."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)


main()
