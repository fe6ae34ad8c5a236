#!/usr/bin/env python3
"""Speech on a graphics card against the processor, on this machine: builds the worker for cards, hears the same recordings on both, and prints a table.

    measure.py --model ggml-base.bin RECORDING… [--api cuda] [--slots 1,2,4] [--processor-files 4] [--bin target/release]

Each card's runs are counted from the start of a batch to its end, the model loaded on the way; then once more with the model loaded. "× real time" is
seconds of recordings by seconds of the batch. Words that differ from the processor's are counted in those files that both have heard. `--worker FILE`
takes a worker that is built already. Without a card nothing is measured, and the reason is printed.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parent / "images"))
from house import House  # noqa: E402


def build(api):
    """The worker for cards, in a target folder of its own."""
    target = ROOT / f"target-{api}"
    command = ["cargo", "build", "--release", "--locked", "-p", "spindle-worker", "--features", api, "--target-dir", target]
    subprocess.run(command, cwd=ROOT, check=True)
    return target / "release/spindle-worker"


def words(text):
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())


def distance(wanted, got):
    """Levenshtein's, in words."""
    row = list(range(len(got) + 1))
    for i, a in enumerate(wanted, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(got, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


def batch(house, files, out):
    """Seconds, the jobs, and what was heard in each file."""
    out.mkdir(parents=True)
    began = time.monotonic()
    told, code = house.ctl("submit", "subtitles", "--format", "txt", "--model", "measured", "-o", out, "--wait", *files)
    seconds = time.monotonic() - began
    if code != 0:
        raise SystemExit(f"submit ended with {code}: {told}")
    jobs = house.ctl("jobs", told["batch_id"])[0]
    heard = {file.stem: "".join(path.read_text() for path in out.glob(f"{file.stem}*.txt")) for file in files}
    return seconds, jobs, heard


def measure(args, files, config, scratch, name):
    """First and second batch of the same house: with the model to be loaded, and loaded. The second is another copy, so that nothing comes from the cache."""
    rows = []
    with House(args.bin, config) as house:
        shutil.copy(args.model, house.root / "models/ggml-measured.bin")
        for again in ("cold", "warm"):
            folder = scratch / f"{name}-{again}"
            folder.mkdir()
            # Other bytes at the end, which no decoder hears: the daemon knows files by their content.
            copies = [folder / file.name for file in files]
            for file, copy in zip(files, copies):
                copy.write_bytes(file.read_bytes() + again.encode())
            seconds, jobs, heard = batch(house, copies, folder / "out")
            media = sum(job.get("media_seconds") or 0 for job in jobs)
            devices = sorted({str(job.get("device")) for job in jobs})
            reasons = sorted({job["fallback_reason"] for job in jobs if job.get("fallback_reason")})
            rows.append((name, again, len(files), media, seconds, devices, reasons))
        lanes = house.ctl("lanes")[0]
    return rows, heard, lanes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="+", type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--api", choices=["cuda", "vulkan"], default="cuda")
    parser.add_argument("--worker", type=pathlib.Path)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("--slots", default="1,2,4")
    parser.add_argument("--processor-files", type=int, default=4, help="of the recordings, as many on the processor; 0 = none")
    args = parser.parse_args()
    worker = (args.worker or build(args.api)).resolve()
    found = json.loads(subprocess.run([worker, "--devices"], check=True, capture_output=True, text=True).stdout)
    for number, device in enumerate(found):
        print(f"gpu:{number} {device['name']} ({device['api']}), {device['free_bytes'] >> 20} of {device['memory_bytes'] >> 20} MiB free")
    if not found:
        raise SystemExit(f"{worker} finds no graphics card here: nothing is measured")
    files = [file.resolve() for file in args.recordings]
    rows, heard = [], {}
    with tempfile.TemporaryDirectory(prefix="spindle-gpu-") as scratch:
        scratch = pathlib.Path(scratch)
        if args.processor_files:
            some = files[: args.processor_files]
            more, heard["processor"], _ = measure(args, some, "", scratch, "processor")
            rows += more
        for slots in args.slots.split(","):
            config = f'[lanes]\ngpu = {slots}\n[workers]\ngpu_program = "{worker}"\n'
            more, heard[slots], _ = measure(args, files, config, scratch, f"card, {slots} at once")
            rows += more
    print("\n| where | model | files | media s | took s | × real time | device |\n|---|---|---:|---:|---:|---:|---|")
    for name, again, count, media, seconds, devices, reasons in rows:
        told = ", ".join(devices + reasons)
        print(f"| {name} | {again} | {count} | {media:.0f} | {seconds:.1f} | {media / seconds:.1f} | {told} |")
    for slots in args.slots.split(",") if "processor" in heard else []:
        both = heard["processor"].keys() & heard[slots].keys()
        wrong = sum(distance(words(heard["processor"][stem]), words(heard[slots][stem])) for stem in both)
        total = sum(len(words(heard["processor"][stem])) for stem in both)
        print(f"{slots} at once: {wrong} of {total} words differ from the processor's in {len(both)} files")


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    main()
