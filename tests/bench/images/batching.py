#!/usr/bin/env python3
"""Cuts many pictures out by one model, one by one and together, and prints the ratio; the results must be the same to the byte.

    batching.py --bin target/release --model FILE.onnx [--pictures 32] [--together 8]

Beside the model lies its description (docs/image-models.md). "Together" gives the processor's lane as many slots, so that as many pictures wait for the model
at the same time; cores are those of the machine in both runs.
"""

import argparse
import hashlib
import json
import os
import pathlib
import random
import subprocess
import tempfile
import time


def pictures(folder, count, side):
    random.seed(7)
    for number in range(count):
        colours = [bytes(random.randrange(256) for _ in range(3)) for _ in range(2)]
        x, y, r = (random.randrange(side // 4, side * 3 // 4) for _ in range(3))
        rows = b"".join(
            b"".join(colours[(u - x) ** 2 + (v - y) ** 2 < (r / 2) ** 2] for u in range(side)) for v in range(side)
        )
        (folder / f"{number:03}.ppm").write_bytes(b"P6 %d %d 255\n" % (side, side) + rows)


def run(arguments, inputs, slots, parallel):
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        environment = dict(
            os.environ, SPINDLE_SOCKET=f"{scratch}/s", SPINDLE_STATE_DIR=f"{scratch}/state", SPINDLE_MODEL_DIR=f"{scratch}/models",
            SPINDLE_LANES__CPU=str(slots),
        )
        daemon = subprocess.Popen([arguments.bin / "spindled"], env=environment, stderr=subprocess.DEVNULL)
        try:
            while not (scratch / "s").exists():
                time.sleep(0.05)
            submit = [arguments.bin / "spindlectl", "--json", "submit", "images", "--op", f"background=remove,model={arguments.model}", "--wait"]
            # One beforehand, so that the model is loaded.
            subprocess.run(submit + ["-o", scratch / "first", inputs / "000.ppm"], env=environment, check=True, stdout=subprocess.DEVNULL)
            begun = time.monotonic()
            subprocess.run(submit + ["-j", str(parallel), "-r", "-o", scratch / "out", inputs], env=environment, check=True, stdout=subprocess.DEVNULL)
            seconds = time.monotonic() - begun
        finally:
            daemon.terminate()
            daemon.wait()
        hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((scratch / "out").rglob("*.png"))}
        return seconds, hashes


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True, type=pathlib.Path)
    parser.add_argument("--model", required=True, type=pathlib.Path)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--together", type=int, default=8)
    parser.add_argument("--side", type=int, default=320)
    arguments = parser.parse_args()
    arguments.model = arguments.model.resolve()
    with tempfile.TemporaryDirectory() as folder:
        inputs = pathlib.Path(folder)
        pictures(inputs, arguments.pictures, arguments.side)
        alone, alone_hashes = run(arguments, inputs, 1, 1)
        together, together_hashes = run(arguments, inputs, arguments.together, 2 * arguments.together)
    same = alone_hashes == together_hashes and len(alone_hashes) == arguments.pictures
    print(json.dumps({
        "pictures": arguments.pictures, "one_by_one_seconds": round(alone, 2), "together_seconds": round(together, 2),
        "ratio": round(alone / together, 2), "results_identical": same,
    }))
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
