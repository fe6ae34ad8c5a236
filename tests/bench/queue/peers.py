#!/usr/bin/env python3
"""Spindle's queue beside pueue, Celery with Redis, and GNU parallel, one after the other on the same machine; see README.md.

    tests/bench/queue/peers.py [--programs target/release] [--rounds 3]

Installs what is missing: pueue from crates.io into target/bench-peers, Celery into target/bench-queue-venv, redis-server and parallel from
Debian (needs root).
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from house import House
from measure import WIDE

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[2] / "target"
PUEUE = TARGET / "bench-peers" / "bin"
VENV = TARGET / "bench-queue-venv"
REDIS_PORT = "6399"


def install():
    for program, package in (("redis-server", "redis-server"), ("parallel", "parallel")):
        if not shutil.which(program):
            subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], check=True, stdout=subprocess.DEVNULL)
    if not (PUEUE / "pueued").exists():
        subprocess.run(["cargo", "install", "--quiet", "--locked", "pueue", "--root", PUEUE.parent], check=True)
    if not (VENV / "bin" / "celery").exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([VENV / "bin" / "pip", "install", "-q", "celery[redis]"], check=True)


def each(command, count, environment):
    """Processes per second, one after the other."""
    began = time.monotonic()
    for _ in range(count):
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return count / (time.monotonic() - began)


def spindle(programs):
    with House(programs, **WIDE) as house:
        house.load("jobs", 1000, 64, "ok")
        done = house.load("jobs", 20_000, 64, "ok")
        rate = done["jobs"] / (done["seconds"] - done["submitted_seconds"])
        house.ask("pause")
        media = house.root / "talk.wav"
        media.write_bytes(b"sound")
        command = [house.programs / "spindlectl", "-q", "submit", "subtitles", "--force", media]
        one = each(command, 200, house.environment)
        folder = house.root / "media"
        folder.mkdir()
        for number in range(20_000):
            (folder / f"{number}.wav").touch()
        _, seconds = house.run("spindlectl", "-q", "submit", "subtitles", "-r", folder)
        return {"one by one": one, "together": 20_000 / seconds, "jobs": rate}


def pueue(_):
    root = Path(tempfile.mkdtemp(prefix="pueue-"))
    config = root / "pueue.yml"
    config.write_text(f"shared:\n  pueue_directory: {root}\n  runtime_directory: {root}\n  use_unix_socket: true\n")
    base = [PUEUE / "pueue", "--config", config]
    daemon = subprocess.Popen([PUEUE / "pueued", "--config", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while subprocess.run([*base, "status"], capture_output=True).returncode != 0:
            time.sleep(0.05)
        subprocess.run([*base, "parallel", "64"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*base, "pause"], check=True, stdout=subprocess.DEVNULL)
        one = each([*base, "add", "--", "true"], 200, None)
        began = time.monotonic()
        subprocess.run([*base, "start"], check=True, stdout=subprocess.DEVNULL)
        while True:
            status = json.loads(subprocess.run([*base, "status", "--json"], capture_output=True, check=True).stdout)
            if all("Done" in task["status"] for task in status["tasks"].values()):
                break
            time.sleep(0.01)
        return {"one by one": one, "jobs": 200 / (time.monotonic() - began)}
    finally:
        daemon.terminate()
        daemon.wait()
        shutil.rmtree(root, ignore_errors=True)


def celery(_):
    root = Path(tempfile.mkdtemp(prefix="celery-"))
    words = ["--port", REDIS_PORT, "--bind", "127.0.0.1", "--dir", root, "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    redis = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
    environment = dict(os.environ, PYTHONPATH=str(HERE), NOOP_REDIS=f"redis://127.0.0.1:{REDIS_PORT}/0")
    worker = None
    try:
        while subprocess.run(["redis-cli", "-p", REDIS_PORT, "ping"], capture_output=True).returncode != 0:
            time.sleep(0.05)
        client = subprocess.Popen(
            [VENV / "bin" / "python", HERE / "noop_celery.py", "3000"],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        submitted = json.loads(client.stdout.readline())["submitted_seconds"]
        command = [VENV / "bin" / "celery", "-A", "noop_celery", "worker", "-c", "2", "-l", "ERROR"]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        worker = subprocess.Popen(command, env=environment, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Its start is not counted: time runs from its first result on.
        while int(subprocess.run(["redis-cli", "-p", REDIS_PORT, "dbsize"], capture_output=True, text=True).stdout.split()[-1]) < 10:
            time.sleep(0.005)
        client.stdin.write("go\n")
        client.stdin.flush()
        done = json.loads(client.stdout.readline())
        client.wait()
        return {"together": 3000 / submitted, "jobs": done["jobs"] / done["seconds"]}
    finally:
        for process in filter(None, (worker, redis)):
            process.terminate()
            process.wait()
        shutil.rmtree(root, ignore_errors=True)


def parallel(_):
    root = Path(tempfile.mkdtemp(prefix="parallel-"))
    count = 2000
    try:
        numbers = "\n".join(map(str, range(count)))
        began = time.monotonic()
        words = ["parallel", "--will-cite", "-j", "64", "--joblog", root / "log", "true {}"]
        subprocess.run(words, input=numbers, text=True, check=True, stdout=subprocess.DEVNULL, env=dict(os.environ, HOME=str(root)))
        return {"jobs": count / (time.monotonic() - began)}
    finally:
        shutil.rmtree(root, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=Path, default=Path("target/release"))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    install()
    everybody = {"spindle": spindle, "pueue": pueue, "celery + redis": celery, "GNU parallel": parallel}
    figures = {name: {} for name in everybody}
    for _ in range(options.rounds):
        for name, measure in everybody.items():
            for what, rate in measure(options.programs).items():
                figures[name].setdefault(what, []).append(rate)
    kinds = {"one by one": "submissions, a process each, /s", "together": "submissions in one call or loop, /s", "jobs": "no-op jobs, /s"}
    own = {what: statistics.median(rates) for what, rates in figures["spindle"].items()}
    for what, title in kinds.items():
        print(title)
        for name in everybody:
            if what in figures[name]:
                rate = statistics.median(figures[name][what])
                ratio = "" if name == "spindle" else f"   spindle is {own[what] / rate:.1f} ×"
                print(f"  {name:<16} {rate:>12,.0f}{ratio}")
    print(f"medians of {options.rounds} rounds; load after: {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
