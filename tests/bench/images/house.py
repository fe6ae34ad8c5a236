"""A daemon of its own for a measurement: started in a folder that goes with it."""

import json
import os
import pathlib
import subprocess
import tempfile
import time


class House:
    def __init__(self, programs, config=""):
        self.programs = pathlib.Path(programs).resolve()
        self.folder = tempfile.TemporaryDirectory(prefix="spindle-images-")
        self.root = pathlib.Path(self.folder.name)
        (self.root / "spindled.toml").write_text(config)
        for name in ("run", "state", "models"):
            (self.root / name).mkdir(mode=0o700)
        self.environment = os.environ | {
            "SPINDLE_SOCKET": str(self.root / "run/spindled.sock"),
            "SPINDLE_STATE_DIR": str(self.root / "state"),
            "SPINDLE_MODEL_DIR": str(self.root / "models"),
            "SPINDLE_CONFIG": str(self.root / "spindled.toml"),
        }

    def __enter__(self):
        log = open(self.root / "spindled.log", "wb")
        self.daemon = subprocess.Popen([self.programs / "spindled"], env=self.environment, stdout=log, stderr=log)
        for _ in range(200):
            if subprocess.run([self.programs / "spindlectl", "health"], env=self.environment, capture_output=True).returncode != 5:
                return self
            time.sleep(0.05)
        raise SystemExit("the daemon did not come up: " + (self.root / "spindled.log").read_text()[-2000:])

    def __exit__(self, *_):
        self.daemon.terminate()
        self.daemon.wait()
        self.folder.cleanup()

    def ctl(self, *words):
        """What it printed as JSON, and its exit code."""
        run = subprocess.run(
            [self.programs / "spindlectl", "--json", *map(str, words)], env=self.environment, capture_output=True, text=True
        )
        try:
            return (json.loads(run.stdout) if run.stdout.strip() else json.loads(run.stderr or "null")), run.returncode
        except json.JSONDecodeError:
            return run.stderr, run.returncode

    def images(self, files, out, *operations, more=()):
        """The jobs of a batch of these files, by their input."""
        listing = self.root / "list.txt"
        listing.write_text("".join(f"{file}\n" for file in files))
        words = [word for operation in operations for word in ("--op", operation)]
        told, code = self.ctl("submit", "images", *words, *more, "--from", listing, "-o", out, "--wait")
        if code not in (0, 3, 4):
            raise SystemExit(f"submit ended with {code}: {told}")
        return {job["input"]: job for job in self.ctl("jobs", told["batch_id"])[0]}
