#!/usr/bin/env python3
"""Kills the daemon with its workers half way through a ten-minute compression, twice, lets it go on, and compares the result with an uninterrupted one.

    resume.py --bin target/release [--minutes 10]

Told are: how many pieces were there at each kill; whether both results have the same
pictures (hash of each, decoded) and the same sound (packets, and the largest step from sample to sample); whether ffmpeg decodes without a word.
"""

import argparse
import array
import json
import pathlib
import shutil
import subprocess
import tempfile
import time

from house import House


def decoded(path, *words):
    answer = subprocess.run(["ffmpeg", "-nostdin", "-v", "warning", "-i", path, *words, "-"], capture_output=True, check=True)
    return answer.stdout, answer.stderr.decode().strip()


def packets(path, stream):
    words = ["-v", "error", "-select_streams", stream, "-show_entries", "packet=pts,dts,size,flags,data_hash", "-show_data_hash", "md5"]
    return subprocess.run(["ffprobe", *words, "-of", "csv=p=0", path], capture_output=True, check=True).stdout.splitlines()


def pieces(house):
    """Finished ones: of each its inode and time. The newest two may still be written."""
    found = sorted(house.state.rglob("pictures-*"), key=lambda path: path.stat().st_mtime_ns)
    return {(path.stat().st_ino, path.stat().st_mtime_ns) for path in found[:-2]}


def compress(binaries, clip, out, kills):
    told = []
    with House(binaries) as house:
        house.ctl("-q", "submit", "compress", "--profile", "aggressive", "-o", out, clip)
        for share in kills:
            while len(pieces(house)) < share:
                if house.daemon.poll() is not None or list(out.glob("*.mp4")):
                    raise SystemExit("it was done before it could be killed")
                time.sleep(0.02)
            told.append(len(pieces(house)))
            house.kill()
            house.start()
        house.ctl("-q", "wait", "1")
        job = json.loads(house.ctl("--json", "result", "1"))["jobs"][0]
    if job["failure"]:
        raise SystemExit(job["failure"]["message"])
    return pathlib.Path(job["outputs"][0]["path"]), job, told


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=int, default=10)
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="spindle-resume-clip-"))
    seconds = 60 * options.minutes
    clip = work / "clip.mp4"
    # A tone that rises all the way: a step in it could not hide.
    sweep = f"aevalsrc='0.5*sin(2*PI*(100*t+0.5*{800 / seconds}*t*t))':s=48000:d={seconds}"
    subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=s=640x360:r=25:d={seconds}", "-f", "lavfi", "-i", sweep]
        + ["-c:v", "libx264", "-preset", "ultrafast", "-g", "250", "-c:a", "aac", "-b:a", "192k", clip],
        check=True,
    )
    whole, _, _ = compress(options.bin, clip, work / "whole", [])
    resumed, job, killed = compress(options.bin, clip, work / "resumed", [options.minutes // 4, options.minutes // 2])
    print(f"killed with {' and '.join(map(str, killed))} of {options.minutes} pieces finished")
    for name, path in [("uninterrupted", whole), ("resumed", resumed)]:
        sound, said = decoded(path, "-vn", "-f", "s16le", "-ac", "1", "-ar", "22050")
        samples = array.array("h", sound)
        # Beside its ends, where the encoder begins and stops.
        step = max(abs(samples[at + 1] - samples[at]) for at in range(2_048, len(samples) - 4_096))
        pictures, more = decoded(path, "-an", "-fps_mode", "passthrough", "-f", "framemd5")
        count = sum(not line.startswith(b"#") for line in pictures.splitlines())
        print(f"{name}: {count} pictures, {len(samples)} samples, largest step {step} of 65,536; ffmpeg says: {said or more or 'nothing'}")
    print(f"expected: {10 * seconds} pictures")
    same = lambda one, other: "the same" if one == other else "NOT the same"
    print("sound packets:", same(packets(whole, "a:0"), packets(resumed, "a:0")))
    print("picture packets:", same(packets(whole, "v:0"), packets(resumed, "v:0")))
    print("files:", same(whole.read_bytes(), resumed.read_bytes()))
    print("notes:", "; ".join(job["detail"]["notes"]) or "none")
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
