"""A daemon of its own for a measurement of videos, in a folder that goes with it."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import time


class House:
    """Nothing comes from a cache: its state is its own. Leaves nothing behind."""

    def __init__(self, binaries):
        self.binaries = pathlib.Path(binaries).resolve()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="spindle-video-"))
        self.state = self.folder / "state"
        (self.folder / "none.toml").write_text("")
        self.env = os.environ | {
            "SPINDLE_SOCKET": str(self.folder / "socket"),
            "SPINDLE_STATE_DIR": str(self.state),
            "SPINDLE_MODEL_DIR": str(self.folder / "models"),
            "SPINDLE_CONFIG": str(self.folder / "none.toml"),
        }

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.daemon.terminate()
        self.daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        self.daemon = subprocess.Popen([self.binaries / "spindled", "--foreground"], env=self.env, stderr=subprocess.DEVNULL)
        while subprocess.run([self.binaries / "spindlectl", "health"], env=self.env, capture_output=True).returncode != 0:
            if self.daemon.poll() is not None:
                raise SystemExit(f"the daemon ended at its start with {self.daemon.returncode}")
            time.sleep(0.05)

    def kill(self):
        self.daemon.kill()
        self.daemon.wait()

    def begin(self, *words):
        """`spindlectl` with these words, left running."""
        return subprocess.Popen([self.binaries / "spindlectl", *map(str, words)], env=self.env, stdout=subprocess.PIPE, text=True)

    def ctl(self, *words):
        """What `spindlectl` printed; some jobs may have failed."""
        running = self.begin(*words)
        told, _ = running.communicate()
        if running.returncode not in (0, 3, 4):
            raise SystemExit(f"spindlectl {' '.join(map(str, words))} ended with {running.returncode}")
        return told
