"""A daemon of a measurement's own: started, asked, killed and looked at. Knows nothing of what is measured."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Magic, protocol number, build: what every client says first (shared/src/wire/hello.rs), as a frame.
HELLO = b"SPINDLE\n\x01\x05bench"


class House:
    """`state`: where the queue lies, if not in a folder of its own that goes with it."""

    def __init__(self, programs, scripted=True, state=None, **settings):
        self.programs = Path(programs).resolve()
        self.root = Path(tempfile.mkdtemp(prefix="spindle-queue-"))
        (self.root / "run").mkdir(mode=0o700)
        self.models = self.root / "models"
        self.models.mkdir()
        # A name is all that the scripted worker wants of it.
        (self.models / "ggml-base.bin").write_bytes(b"no model")
        self.state = Path(state) if state else self.root / "state"
        self.socket = self.root / "run" / "s"
        self.environment = dict(
            os.environ,
            SPINDLE_SOCKET=str(self.socket),
            SPINDLE_STATE_DIR=str(self.state),
            SPINDLE_MODEL_DIR=str(self.models),
            SPINDLE_CONFIG=os.devnull,
        )
        if scripted:
            self.environment["SPINDLE_WORKER"] = str(self.programs / "scripted-worker")
        for key, value in settings.items():
            self.environment[f"SPINDLE_{key.upper()}"] = str(value)
        self.log = open(self.root / "log", "w")
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def launch(self):
        self.process = subprocess.Popen([self.programs / "spindled"], env=self.environment, stdout=self.log, stderr=self.log)

    def boot(self):
        """Number of its last start, as it says itself."""
        tail = (self.root / "log").read_bytes()[-20_000:].decode()
        return int(re.findall(r"boot=(\d+)", tail)[-1])

    def start(self):
        """Gives the seconds from its start to its first hello."""
        began = time.monotonic()
        self.launch()
        while not self.says_hello():
            if self.process.poll() is not None:
                tail = (self.root / "log").read_text()[-2000:]
                raise RuntimeError(f"the daemon ended at its start with {self.process.returncode}:\n{tail}")
            if time.monotonic() - began > 60:
                raise RuntimeError("the daemon does not answer")
            time.sleep(0.001)
        return time.monotonic() - began

    def says_hello(self):
        try:
            with socket.socket(socket.AF_UNIX) as stream:
                stream.settimeout(10)
                stream.connect(str(self.socket))
                stream.sendall(len(HELLO).to_bytes(4, "little") + HELLO)
                return len(stream.recv(64)) > 0
        except OSError:
            return False

    def ended(self):
        return self.process.poll() is not None

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def run(self, program, *words, check=True):
        """A program to its end; gives it and how long it took."""
        began = time.monotonic()
        command = [self.programs / program, *map(str, words)]
        ended = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        if check and ended.returncode != 0:
            sys.exit(f"{program} {' '.join(map(str, words))}: {ended.stderr}")
        return ended, time.monotonic() - began

    def ask(self, *words, check=True):
        """What `spindlectl --json` says."""
        ended, _ = self.run("spindlectl", "--json", *words, check=check)
        return json.loads(ended.stdout) if ended.stdout else None

    def load(self, *words):
        ended, _ = self.run("load", *words)
        return json.loads(ended.stdout)

    def memory(self):
        """MiB that the daemon has, and the most that it ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = {row.split(":")[0]: row.split()[1] for row in status.splitlines() if row.startswith("Vm")}
        return int(line["VmRSS"]) / 1024, int(line["VmHWM"]) / 1024


def percentile(values, share):
    values = sorted(values)
    return values[min(int(len(values) * share), len(values) - 1)]
