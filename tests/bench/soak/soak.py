#!/usr/bin/env python3
"""A service under ill-treatment: mixed batches while workers are killed, batches paused and cancelled, the configuration reloaded, the disk
filled up and watchers fall asleep. Then: does it leak, and is everything accounted for?

    soak.py [--seconds 1200] [--bin target/release] [--seed N] [--disk-mib 768]

The daemon itself is killed (SIGKILL) again and again in the first third of the time; the life that follows is measured: resident memory and
open descriptors of the daemon, and of its workers taken together, once a second, after a warm-up of a quarter of that life. The queue holds
a cancelled batch of 60,000 from the beginning, which each life reads once: the daemon's cache of the queue (16 MiB) is full then, and what it
would take to fill up isn't taken for a leak. Told are the
Theil-Sen slopes in percent of the median a minute; the aim is below 1 %. Root is needed for the disk of its own (a tmpfs) that is filled.
Exit code 1: it leaked, or something was not accounted for."""

import argparse
import json
import math
import os
import pathlib
import random
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

RECIPES = {
    "subtitles": (["--model", "mini"], ["wav"]),
    "convert": (["--to", "mp3"], ["wav"]),
    "compress": ([], ["y4m"]),
    "preview": ([], ["y4m"]),
    "images": (["--op", "resize=320x240,contain"], ["bmp"]),
    "report": ([], ["wav"]),
    "highlights": (["--target-duration", "5"], ["y4m"]),
}
QUEUE_INPUTS = 60_000
ENDED = {"completed", "partial", "failed", "cancelled"}


def wav(path, seconds, seed):
    rng = random.Random(seed)
    tone, rate = 110 + rng.random() * 300, 16000
    samples = (
        int(9000 * math.sin(2 * math.pi * tone * n / rate) * abs(math.sin(math.pi * 3 * n / rate))) for n in range(int(seconds * rate))
    )
    data = b"".join(struct.pack("<h", s) for s in samples)
    head = struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVEfmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", len(data))
    path.write_bytes(head + data)


def y4m(path, seconds, seed):
    width, height = 160, 96
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420jpeg\n".encode())
        for frame in range(seconds * 10):
            luma = bytes(((x + frame * 3 + seed * 17) // 4 * 7) % 200 + 20 for x in range(width)) * height
            file.write(b"FRAME\n" + luma + bytes([90 + seed % 60]) * (width * height // 2))


def bmp(path, seed):
    width, height = 640, 480
    row = bytes((x * (seed + 3) // 5) % 256 for x in range(width * 3))
    size = width * height * 3
    head = b"BM" + struct.pack("<13I", 54 + size, 0, 54, 40, width, height, 1 | 24 << 16, 0, size, 2835, 2835, 0, 0)
    path.write_bytes(head + row * height)


def slope_percent_a_minute(points):
    """Theil-Sen over (seconds, value), as a share of the median; None with too few."""
    if len(points) < 20:
        return None
    step = max(1, len(points) // 300)
    points = points[::step]
    slopes = [(b - a) / (t - s) for i, (s, a) in enumerate(points) for t, b in points[i + 1 :] if t > s]
    middle = statistics.median(value for _, value in points)
    return 0.0 if middle == 0 else statistics.median(slopes) * 60 / middle * 100


class Soak:
    def __init__(self, options):
        self.options, self.rng = options, random.Random(options.seed)
        self.bin = pathlib.Path(options.bin).resolve()
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="spindle-soak-"))
        self.state, self.media, self.out = self.root / "state", self.root / "media", self.root / "out"
        for folder in (self.state, self.media, self.out, self.root / "models"):
            folder.mkdir(mode=0o700)
        self.mounted = os.geteuid() == 0 and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={options.disk_mib}m,mode=0700", "spindle-soak", self.state], capture_output=True
        ).returncode == 0
        demo = pathlib.Path(__file__).resolve().parents[3] / "packaging/demo/ggml-mini-tts.en.bin"
        shutil.copy(demo, self.root / "models/ggml-mini.bin")
        self.config = self.root / "spindled.toml"
        self.write_config(0)
        self.env = os.environ | {
            "SPINDLE_SOCKET": str(self.root / "socket"),
            "SPINDLE_STATE_DIR": str(self.state),
            "SPINDLE_MODEL_DIR": str(self.root / "models"),
            "SPINDLE_CONFIG": str(self.config),
            "OMP_WAIT_POLICY": "passive",
        }
        self.counts, self.batches, self.samples, self.watchers, self.faults = {}, [], [], [], []
        self.over, self.filler = threading.Event(), self.state / "filler"
        self.daemon = None

    def write_config(self, turn):
        self.config.write_text(f"[workers]\nidle_seconds = {5 + turn % 20}\nrecycle_after = {10 + turn % 30}\n[lanes]\ndisk_reserve_mib = 64\n")

    def did(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def start(self):
        self.log = open(self.root / "spindled.log", "ab")
        self.daemon = subprocess.Popen([self.bin / "spindled", "--foreground"], env=self.env, stderr=self.log)
        while self.ctl("status").returncode == 5:
            if self.daemon.poll() is not None:
                raise SystemExit(f"the daemon ended at its start with {self.daemon.returncode}: see {self.root}/spindled.log")
            time.sleep(0.1)
        self.born = time.monotonic()
        if self.batches:
            self.ctl("jobs", self.batches[0][0])

    def fill_queue(self):
        """More records than the daemon keeps in memory."""
        many = self.root / "many"
        many.mkdir()
        listing = self.root / "many.txt"
        with open(listing, "w") as lines:
            for n in range(QUEUE_INPUTS):
                path = many / f"a name as long as names of recordings are {n:06}.bmp"
                path.write_bytes(b"BM")
                lines.write(f"{path}\n")
        self.ctl("pause")
        said = self.ctl("submit", "images", "--op", "convert=png", "--from", listing, "-o", self.out / "many")
        id = json.loads(said.stdout)["batch_id"]
        self.batches.append((id, QUEUE_INPUTS, self.out / "many"))
        self.ctl("cancel", id)
        self.ctl("resume")
        self.ctl("jobs", id)

    def ctl(self, *words, timeout=120):
        command = [self.bin / "spindlectl", "--json", "--quiet", *map(str, words)]
        try:
            return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            self.faults.append(f"`{' '.join(map(str, words))}` hung for {timeout} s")
            return subprocess.CompletedProcess(command, 124, "", "")

    def make_media(self):
        for n in range(12):
            wav(self.media / f"sound{n}.wav", 1 + n % 4, n)
            y4m(self.media / f"video{n}.y4m", 6 + n % 3, n)
            bmp(self.media / f"picture{n}.bmp", n)
        for kind in ("wav", "y4m", "bmp"):
            (self.media / f"broken.{kind}").write_bytes(b"this is no media" * 50)

    def submit(self):
        recipe = self.rng.choice(list(RECIPES))
        options, kinds = RECIPES[recipe]
        pool = [path for path in self.media.iterdir() if path.suffix[1:] in kinds]
        inputs = self.rng.sample(pool, self.rng.randint(1, 4))
        out = self.out / f"b{self.counts.get('submit', 0)}"
        ran = self.ctl("submit", recipe, *options, "-o", out, *inputs)
        self.did("submit")
        if ran.returncode == 0:
            self.batches.append((json.loads(ran.stdout)["batch_id"], len(inputs), out))
        elif ran.returncode != 6:
            self.faults.append(f"submit {recipe} ended with {ran.returncode}: {ran.stderr[:200]}")

    def workers(self):
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                    if int(line[1]) == self.daemon.pid:
                        found.append(int(entry.name))
                except (OSError, IndexError):
                    pass
        return found

    def act(self):
        recent = [id for id, _, _ in self.batches[1:][-12:]]
        one = self.rng.choice(recent) if recent else None
        what = self.rng.choices(
            ["submit", "cancel", "pause", "resume", "retry", "prioritize", "kill worker", "reload", "fill disk", "sleepy watcher", "look"],
            [30, 8, 6, 14, 4, 4, 6, 2, 0.4 if self.mounted else 0, 3, 8],
        )[0]
        if what == "submit":
            return self.submit() if self.open_count() < 60 else None
        self.did(what)
        if what in ("cancel", "pause", "retry") and one:
            self.ctl(what, one)
        elif what == "resume":
            self.ctl("resume", "--all")
        elif what == "prioritize" and one:
            self.ctl("prioritize", one, self.rng.randint(0, 100))
        elif what == "kill worker":
            pids = self.workers()
            if pids:
                try:
                    os.kill(self.rng.choice(pids), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        elif what == "reload":
            self.write_config(self.counts["reload"])
            self.daemon.send_signal(signal.SIGHUP)
        elif what == "fill disk" and not self.filler.exists():
            threading.Thread(target=self.fill, daemon=True).start()
        elif what == "sleepy watcher":
            reader, writer = os.pipe()
            command = [self.bin / "spindlectl", "--json", "watch"]
            self.watchers.append((subprocess.Popen(command, env=self.env, stdout=writer, stderr=subprocess.DEVNULL), reader))
            os.close(writer)
            if len(self.watchers) > 8:
                self.wake(*self.watchers.pop(0))
        elif what == "look":
            for verb in (["list"], ["status"], ["health"], ["metrics"], ["workers"]):
                self.ctl(*verb)

    def fill(self):
        try:
            with self.filler.open("wb") as file:
                while not self.over.is_set():
                    file.write(b"\0" * (1 << 20))
        except OSError:
            pass
        self.over.wait(4)
        self.filler.unlink(missing_ok=True)

    @staticmethod
    def wake(process, reader):
        process.kill()
        process.wait()
        os.close(reader)

    def open_count(self):
        ran = self.ctl("list", "--limit", 200)
        if ran.returncode != 0:
            return 0
        return sum(1 for batch in json.loads(ran.stdout) if batch["state"] not in ENDED)

    def sample(self):
        def of(pid):
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
            return resident, len(os.listdir(f"/proc/{pid}/fd"))

        while not self.over.wait(1):
            daemon, born = self.daemon, self.born
            try:
                own = of(daemon.pid)
            except (OSError, StopIteration):
                continue
            rows = []
            for pid in self.workers():
                try:
                    rows.append(of(pid))
                except (OSError, StopIteration):
                    pass
            each = (sum(r for r, _ in rows) / len(rows), sum(f for _, f in rows) / len(rows)) if rows else None
            self.samples.append((daemon.pid, time.monotonic() - born, own, each))

    def run(self):
        self.make_media()
        self.start()
        self.fill_queue()
        threading.Thread(target=self.sample, daemon=True).start()
        begun, seconds = time.monotonic(), self.options.seconds
        next_kill = begun + min(30, seconds / 10)
        while (at := time.monotonic() - begun) < seconds:
            self.act()
            if at < seconds / 3 and time.monotonic() > next_kill:
                self.daemon.kill()
                self.daemon.wait()
                self.did("kill daemon")
                self.start()
                next_kill = time.monotonic() + min(30, seconds / 10)
            time.sleep(0.05)

    def account(self):
        self.over.set()
        self.filler.unlink(missing_ok=True)
        for watcher in self.watchers:
            self.wake(*watcher)
        patience = time.monotonic() + 600
        while self.open_count():
            if time.monotonic() > patience:
                self.faults.append("batches are still open ten minutes after the last one was submitted")
                break
            self.ctl("resume", "--all")
            self.ctl("resume")
            time.sleep(1)
        listed = {batch["batch_id"]: batch for batch in json.loads(self.ctl("list", "--limit", 100000).stdout)}
        states = {}
        for id, inputs, out in self.batches:
            batch = listed.get(id)
            if batch is None:
                self.faults.append(f"batch {id} is not known any more")
                continue
            states[batch["state"]] = states.get(batch["state"], 0) + 1
            ended = sum(batch[key] for key in ("completed", "failed", "skipped", "cancelled"))
            if batch["total"] != inputs or (ended != inputs and batch["state"] in ENDED):
                self.faults.append(f"batch {id}: {inputs} inputs, {ended} ended, {batch['total']} counted")
            for job in json.loads(self.ctl("jobs", id).stdout or "[]"):
                for output in job.get("outputs") or []:
                    if job["state"] == "completed" and not pathlib.Path(output["path"]).is_file():
                        self.faults.append(f"job {job['job_id']} says it wrote {output['path']}, which is not there")
        partial = [str(path) for path in self.out.rglob("*.part")]
        if partial:
            self.faults.append(f"{len(partial)} partial files are left: {partial[:3]}")
        scratch = list((self.state / "scratch").iterdir())
        if scratch:
            self.faults.append(f"{len(scratch)} scratch folders are left")
        group = self.workers()
        self.daemon.terminate()
        try:
            self.daemon.wait(60)
        except subprocess.TimeoutExpired:
            self.faults.append("the daemon did not stop within a minute")
            self.daemon.kill()
        if self.daemon.returncode != 0:
            self.faults.append(f"the daemon ended with {self.daemon.returncode}")
        time.sleep(1)
        left = [pid for pid in group if pathlib.Path(f"/proc/{pid}").exists()]
        if left:
            self.faults.append(f"{len(left)} workers outlive the daemon")
        return states

    def tell(self, states):
        life = [sample for sample in self.samples if sample[0] == self.daemon.pid]
        warm = (life[-1][1] if life else 0) / 4
        life = [sample for sample in life if sample[1] > warm]
        series = {
            "daemon's memory (KiB)": [(at, own[0]) for _, at, own, _ in life],
            "daemon's descriptors": [(at, own[1]) for _, at, own, _ in life],
            "a worker's memory (KiB)": [(at, each[0]) for _, at, _, each in life if each],
            "a worker's descriptors": [(at, each[1]) for _, at, _, each in life if each],
        }
        print(f"{self.options.seconds} s, seed {self.options.seed}, disk {'of its own' if self.mounted else 'not filled'}")
        print("did:", ", ".join(f"{what} {count}" for what, count in sorted(self.counts.items())))
        print("batches:", ", ".join(f"{state} {count}" for state, count in sorted(states.items())))
        print("| what | median | slope, % a minute |\n|---|---|---|")
        for name, points in series.items():
            slope = slope_percent_a_minute(points)
            middle = statistics.median(value for _, value in points) if points else 0
            print(f"| {name} | {middle:.0f} | {'too short' if slope is None else f'{slope:+.2f}'} |")
            if slope is not None and slope >= 1:
                self.faults.append(f"{name} grow by {slope:.2f} % a minute")
        for fault in self.faults:
            print("FAULT:", fault)
        print("all is accounted for" if not self.faults else f"{len(self.faults)} faults; kept: {self.root}")

    def clean(self):
        if self.mounted and not self.faults:
            subprocess.run(["umount", self.state], check=False)
        if not self.faults:
            shutil.rmtree(self.root, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=1200)
    parser.add_argument("--bin", default="target/release")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--disk-mib", type=int, default=768)
    soak = Soak(parser.parse_args())
    soak.run()
    states = soak.account()
    soak.tell(states)
    soak.clean()
    sys.exit(1 if soak.faults else 0)


if __name__ == "__main__":
    main()
