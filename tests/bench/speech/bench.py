#!/usr/bin/env python3
"""Speech throughput: Spindle beside pywhispercpp (whisper.cpp, one file after another, all cores) on the same work; see README.md.

bench.py --model MODEL --eval FOLDER [--voice FILE] …: runs them by turns and prints medians, ratios and word error rates.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import inputs

HERE = Path(__file__).resolve().parent
PEER = "pywhispercpp==1.5.1"


def words(text):
    """The words of a transcript or a reference: case, punctuation and times left out."""
    lines = [re.sub(r"^\s*[\d.]+\t[\d.]+\t", "", line) for line in text.splitlines()]
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", " ".join(lines).lower())


def distance(wanted, got):
    """Levenshtein's, in words."""
    row = list(range(len(got) + 1))
    for i, a in enumerate(wanted, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(got, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


def errors(files, out):
    """Wrong words and spoken words, over all files of a set."""
    wrong = total = 0
    for file in files:
        wanted = words(file.with_suffix(".txt").read_text(encoding="utf-8"))
        # Spindle puts the language into the name.
        [heard] = out.glob(f"{file.stem}.*txt")
        wrong += distance(wanted, words(heard.read_text(encoding="utf-8")))
        total += len(wanted)
    return wrong, total


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


class Peer:
    name = "pywhispercpp"

    def __init__(self, place, args):
        self.args = args
        self.python = args.venv / "bin/python"
        if not self.python.exists():
            subprocess.run([sys.executable, "-m", "venv", args.venv], check=True)
            subprocess.run([self.python, "-m", "pip", "install", "--quiet", PEER], check=True)

    def run(self, files, out):
        """Seconds from the process's start to its end, its model loaded on the way."""
        voice = self.args.voice if self.args.peer_voice else "-"
        command = [self.python, HERE / "peer.py", self.args.model, str(os.cpu_count()), voice, out, *files]
        begun = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - begun


class Spindle:
    name = "Spindle"

    def __init__(self, place, args):
        self.args = args
        self.place = place
        # The detector lies beside the model or it doesn't, as with a user.
        models = fresh(place / "models")
        self.model = models / args.model.name
        self.model.symlink_to(args.model.resolve())
        if args.voice:
            (models / "ggml-silero.bin").symlink_to(args.voice.resolve())

    def run(self, files, out):
        """Seconds from submission to the last output, by a daemon with an empty queue and no worker yet."""
        state = fresh(self.place / "state")
        environment = {
            **os.environ,
            "SPINDLE_SOCKET": str(self.place / "socket"),
            "SPINDLE_STATE_DIR": str(state),
            "SPINDLE_MODEL_DIR": str(self.model.parent),
            "SPINDLE_CONFIG": str(self.place / "defaults.toml"),
        }
        (self.place / "defaults.toml").touch()
        log = (self.place / "daemon.log").open("w")
        daemon = subprocess.Popen([self.args.bin / "spindled"], env=environment, stderr=log)
        control = self.args.bin / "spindlectl"
        try:
            while subprocess.run([control, "health"], env=environment, capture_output=True).returncode != 0:
                if daemon.poll() is not None:
                    raise SystemExit("spindled ended:\n" + Path(log.name).read_text(encoding="utf-8"))
                time.sleep(0.05)
            command = [control, "submit", "subtitles", "--wait", "--language", "en", "--model", self.model]
            command += ["--format", "txt", "--no-language-suffix", "-o", out, *self.args.option, *files]
            begun = time.monotonic()
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=log)
            return time.monotonic() - begun
        finally:
            daemon.terminate()
            daemon.wait()


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--model", type=Path, required=True, help="whisper model in ggml format")
    parse.add_argument("--eval", type=Path, required=True, help="folder of NAME.wav with NAME.txt")
    parse.add_argument("--voice", type=Path, help="Silero's detector in ggml format, for Spindle")
    parse.add_argument("--peer-voice", action="store_true", help="the detector for the peer too")
    parse.add_argument("--bin", type=Path, default=HERE.parents[2] / "target/release", help="where spindled is")
    parse.add_argument("--venv", type=Path, default=HERE.parents[2] / "target/bench-venv", help="where the peer is or goes")
    parse.add_argument("--only", action="append", help="these sets only, by a part of their name")
    parse.add_argument("--option", action="append", default=[], help="one more option for `spindlectl submit`")
    parse.add_argument("--times", type=int, default=5)
    parse.add_argument("--seed", type=int, default=1)
    args = parse.parse_args()

    with tempfile.TemporaryDirectory(prefix="spindle-bench-") as place:
        place = Path(place)
        sides = [Peer(place, args), Spindle(place, args)]
        print(f"model {args.model.name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before", flush=True)
        # Other recordings at each turn: four minutes alone hold too few words for a rate.
        turns = [inputs.make(args.eval, place / f"turn{turn}", args.seed + turn) for turn in range(args.times)]
        for name in turns[0]:
            if args.only and not any(part in name for part in args.only):
                continue
            seconds, found = {side.name: [] for side in sides}, {side.name: [] for side in sides}
            for sets in turns:
                for side in sides:
                    out = fresh(place / "out")
                    seconds[side.name].append(side.run(sets[name], out))
                    found[side.name].append(errors(sets[name], out))
            report(name, seconds, found)


def report(name, seconds, found):
    """Prints what one set took and how much of it was heard wrong. The error rate is over all turns."""
    ratios = [peer / own for peer, own in zip(*seconds.values())]
    for side, taken in seconds.items():
        wrong, total = map(sum, zip(*found[side]))
        print(
            f"{name:18} {side:13} median {statistics.median(taken):7.2f} s  ({min(taken):.2f}–{max(taken):.2f})"
            f"  word error rate {100 * wrong / max(1, total):5.2f} % of {total}",
            flush=True,
        )
    print(
        f"{name:18} {'ratio':13} {statistics.median(ratios):5.2f} ×  (by pairs {min(ratios):.2f}–{max(ratios):.2f})",
        flush=True,
    )


if __name__ == "__main__":
    main()
