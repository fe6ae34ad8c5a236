#!/usr/bin/env python3
"""Reads pages with known text by `submit images --op text=read` and by the tesseract program, and prints each one's character error rate.

    ocr.py --bin target/debug ASSETS/image/ocr

A page is a picture with a text file of its name beside it. Where the folder lacks a page in several sizes, some are made with ImageMagick. Exit code 1 where
a page is read worse than by the program.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

PICTURES = {".png", ".jpg", ".tif", ".tiff", ".webp", ".bmp"}
LINES = [
    "The quick brown fox jumps over the lazy dog.",
    "Invoice 2024-117, total 1,284.50 EUR, due in 30 days.",
    "Pack my box with five dozen liquor jugs!",
    "Sphinx of black quartz, judge my vow (twice).",
]


def distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def error_rate(text, truth):
    text, truth = " ".join(text.split()), " ".join(truth.split())
    return distance(text, truth) / max(1, len(truth))


def made(folder):
    convert = shutil.which("convert")
    for size in (14, 20, 32) if convert else ():
        path = folder / f"made-{size}.png"
        subprocess.run(
            [convert, "-size", f"{size * 40}x{size * 9}", "xc:white", "-pointsize", str(size), "-fill", "black", "-annotate", f"+{size}+{size * 2}"]
            + ["\n".join(LINES), path], check=True, stderr=subprocess.DEVNULL,
        )
        path.with_suffix(".txt").write_text("\n".join(LINES))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True, type=pathlib.Path)
    parser.add_argument("--languages", default="eng")
    parser.add_argument("folder", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        made(scratch)
        pages = [
            (picture, picture.with_suffix(".txt"))
            for folder in (arguments.folder, scratch)
            for picture in sorted(folder.rglob("*"))
            if picture.suffix in PICTURES and picture.with_suffix(".txt").exists()
        ]
        environment = dict(os.environ, SPINDLE_SOCKET=f"{scratch}/s", SPINDLE_STATE_DIR=f"{scratch}/state", SPINDLE_MODEL_DIR=f"{scratch}/models")
        daemon = subprocess.Popen([arguments.bin / "spindled"], env=environment, stderr=subprocess.DEVNULL)
        try:
            while not (scratch / "s").exists():
                time.sleep(0.05)
            begun = time.monotonic()
            subprocess.run(
                [arguments.bin / "spindlectl", "submit", "images", "--op", f"text=read,languages={arguments.languages}", "--wait", "-o", scratch / "out"]
                + [picture for picture, _ in pages], env=environment, check=True, stdout=subprocess.DEVNULL,
            )
            ours_seconds = time.monotonic() - begun
        finally:
            daemon.terminate()
            daemon.wait()
        print("| page | characters | Spindle | tesseract program |")
        print("|---|---|---|---|")
        worse, theirs_seconds = 0, 0.0
        for picture, truth in pages:
            truth = truth.read_text()
            ours = (scratch / "out" / f"{picture.stem}.text.txt").read_text()
            begun = time.monotonic()
            theirs = subprocess.run(
                ["tesseract", picture, "-", "-l", arguments.languages], capture_output=True, text=True,
                env=dict(os.environ, OMP_THREAD_LIMIT="1"),
            ).stdout
            theirs_seconds += time.monotonic() - begun
            rates = error_rate(ours, truth), error_rate(theirs, truth)
            worse += rates[0] > rates[1] + 1e-9
            print(f"| {picture.name} | {len(' '.join(truth.split()))} | {rates[0]:.4f} | {rates[1]:.4f} |")
        print(f"\n{len(pages)} pages: {ours_seconds:.1f} s with daemon and queue, {theirs_seconds:.1f} s by the program, one after the other")
        return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
