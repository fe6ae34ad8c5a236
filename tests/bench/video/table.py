#!/usr/bin/env python3
"""Puts every video through `submit compress` with every profile, checks each result with ffprobe, and prints a Markdown table.

    table.py --bin target/debug FILE-OR-FOLDER…

Generated videos (portrait, odd-sized, turned, wide pixels, 10 bit, silent, variable rate, 4K, interlaced) go along. A result is right when its
sides are even and within the box and the source, its aspect is the source's, its rate is neither the profile's nor the source's exceeded, it is H.264
in yuv420p with AAC, it begins and ends with what was decoded, and ffmpeg decodes it without a word.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import tempfile

from house import House

PROFILES = {"aggressive": (854, 480, 10), "balanced": (1280, 720, 15), "conservative": (1920, 1080, 24)}
SINE = "-f lavfi -i sine=frequency=440:sample_rate=48000"
X264 = "-c:v libx264 -preset ultrafast"


def source(size, rate):
    return f"-f lavfi -i testsrc2=size={size}:rate={rate}"


GENERATED = {
    "portrait.mp4": f"{source('1080x1920', 30)} {SINE} -t 4 {X264} -c:a aac",
    "odd.mkv": f"{source('641x361', 25)} {SINE} -t 4 {X264} -pix_fmt yuv444p -c:a libmp3lame",
    "turned.mp4": None,
    "wide-pixels.mp4": f"{source('720x576', 25)} -vf setsar=16/11 -t 4 {X264}",
    "narrow-pixels.mp4": f"{source('1440x1080', 25)} -vf setsar=4/3 -t 4 {X264}",
    "ten-bit.mp4": f"{source('1280x720', 24)} {SINE} -t 4 -pix_fmt yuv420p10le -c:v libx265 -x265-params log-level=none -preset ultrafast -c:a aac",
    "silent.webm": f"{source('640x360', 30)} -t 4 -c:v libvpx -deadline realtime",
    "variable.mp4": f"{source('640x360', 30)} {SINE} -t 8 -vf select=not(mod(n\\,3))+lt(mod(n\\,60)\\,20) -vsync vfr {X264} -c:a aac",
    "interlaced.ts": f"{source('720x576', 50)} {SINE} -t 4 -vf interlace,setsar=16/15 -c:v mpeg2video -flags +ilme+ildct -b:v 4M -c:a mp2",
    "late-sound.mkv": f"{source('640x360', 25)} -itsoffset 1.5 {SINE} -map 0 -map 1 -t 5 {X264} -c:a aac",
    "4k.mp4": f"{source('3840x2160', 30)} {SINE} -t 6 {X264} -c:a aac",
    "cut-off.mkv": None,
    "cut-off.mp4": None,
}


def generate(folder):
    for name, words in GENERATED.items():
        if words:
            subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *words.split(), folder / name], check=True)
    subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", folder / "portrait.mp4", "-c", "copy", "-metadata:s:v", "rotate=90"]
        + [folder / "turned.mp4"], check=True,
    )
    for name, of in [("cut-off.mkv", "odd.mkv"), ("cut-off.mp4", "portrait.mp4")]:
        whole = (folder / of).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) * 6 // 10])


def probe(path, *more):
    answer = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-show_format", *more, "-of", "json", path], capture_output=True
    )
    return json.loads(answer.stdout or b"{}")


def fraction(text):
    num, _, den = text.partition("/")
    return int(num) / int(den) if den and int(den) else 0.0


def rotation(stream):
    return next((int(s["rotation"]) for s in stream.get("side_data_list", []) if "rotation" in s), 0)


def video_of(facts):
    streams = [s for s in facts.get("streams", []) if s["codec_type"] == "video" and not s["disposition"]["attached_pic"]]
    return max(streams, key=lambda s: (s["disposition"]["default"], s.get("width", 0)), default=None)


def ends(path):
    """Begin and end of what ffmpeg decodes of the first track of each kind, in seconds from the file's begin, and how many frames."""
    found = {}
    for kind in "va":
        answer = subprocess.run(
            ["ffprobe", "-v", "quiet", "-select_streams", f"{kind}:0", "-show_entries"]
            + ["stream=sample_rate:frame=best_effort_timestamp_time,pkt_duration_time,nb_samples", "-of", "json", path],
            capture_output=True, text=True,
        )
        # Of what it can't open it tells half a document.
        told = json.loads(answer.stdout) if answer.returncode == 0 else {}
        frames = told.get("frames", [])
        stamp = lambda frame: float(frame["best_effort_timestamp_time"])
        lasts = lambda frame: float(frame.get("pkt_duration_time", 0))
        stamped = sorted((frame for frame in frames if "best_effort_timestamp_time" in frame), key=stamp)
        if not stamped:
            continue
        # A frame that doesn't say how long it is lasts as long as the one before; one that doesn't say when it is follows the last that does.
        usual = stamp(stamped[-1]) - stamp(stamped[-2]) if len(stamped) > 1 else 0.0
        begin = stamp(stamped[0])
        end = max(stamp(frame) + (lasts(frame) or usual) for frame in stamped)
        end += sum(lasts(frame) or usual for frame in frames if "best_effort_timestamp_time" not in frame)
        if kind == "a":
            # Times that would have most of it sound at once are none.
            whole = sum(int(frame.get("nb_samples", 0)) for frame in frames) / int(told["streams"][0]["sample_rate"])
            end = begin + whole if end - begin < whole / 2 else end
        found[kind] = (begin, end, len(frames))
    return found


def wrong(clip, copy, profile, before):
    """What is not as it should be."""
    box_width, box_height, limit = PROFILES[profile]
    facts, made = probe(clip), probe(copy)
    source, out = video_of(facts), video_of(made)
    faults = []
    width, height = out["width"], out["height"]
    upright = (source["width"], source["height"])
    aspect = fraction(source.get("sample_aspect_ratio", "1:1").replace(":", "/")) or 1.0
    if rotation(source) % 180:
        upright, aspect = upright[::-1], 1 / aspect
    if width % 2 or height % 2:
        faults.append("odd sides")
    if width > box_width or height > box_height or width > max(upright[0], 2) + 1 or height > max(upright[1], 2) + 1:
        faults.append(f"{width}x{height} is too large")
    wanted = upright[0] * aspect / upright[1]
    if abs(width - height * wanted) > 2 + 2 * wanted:
        faults.append(f"aspect {width / height:.3f}, not {wanted:.3f}")
    if rotation(out):
        faults.append("turned twice")
    if out["codec_name"] != "h264" or out["pix_fmt"] != "yuv420p":
        faults.append(f"{out['codec_name']} {out['pix_fmt']}")
    rate = fraction(out["avg_frame_rate"])
    if rate > limit * 1.001:
        faults.append(f"{rate} frames a second")
    sound = [s for s in made["streams"] if s["codec_type"] == "audio"]
    if any(s["codec_name"] != "aac" for s in sound):
        faults.append("no AAC")
    after = ends(copy)
    frame = max(0.04, 1 / rate if rate else 1)
    if "v" in after and "v" in before and after["v"][2] > before["v"][2]:
        faults.append(f"{after['v'][2]} frames from {before['v'][2]}")
    begin_before = min((b for b, _, _ in before.values()), default=0)
    begin_after = min((b for b, _, _ in after.values()), default=0)
    for kind in set(before) & set(after):
        for which, name in [(0, "begins"), (1, "ends")]:
            off = (after[kind][which] - begin_after) - (before[kind][which] - begin_before)
            whole = before[kind][1] - before[kind][0]
            if abs(off) > max(frame, 0.04, 0.005 * whole if which else 0) + 0.001:
                faults.append(f"{'picture' if kind == 'v' else 'sound'} {name} {off:+.3f} s off")
    if "a" in before and "a" not in after:
        faults.append("no sound")
    said = subprocess.run(["ffmpeg", "-nostdin", "-v", "warning", "-i", copy, "-f", "null", "-"], capture_output=True, text=True).stderr
    if said.strip():
        faults.append("ffmpeg: " + said.strip().splitlines()[0])
    return faults, f"{width}x{height} {rate:.3g}/s"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("inputs", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="spindle-table-"))
    generated = work / "generated"
    generated.mkdir()
    generate(generated)
    clips = [path for given in options.inputs for path in (sorted(given.rglob("*")) if given.is_dir() else [given])]
    clips = [path for path in clips if path.is_file()] + sorted(generated.iterdir())
    clips = [path.resolve() for path in clips]
    rows_of(clips, options.bin, work)
    shutil.rmtree(work, ignore_errors=True)


def rows_of(clips, binaries, work):
    bad, peak, largest = 0, 0, ""
    with House(binaries) as house:
        results = {}
        for profile in PROFILES:
            batch = house.ctl("-q", "submit", "compress", "--profile", profile, "-o", work / "out", "--force", *clips).strip()
            house.ctl("-q", "wait", batch)
            results[profile] = json.loads(house.ctl("--json", "result", batch))["jobs"]
        decoded = {clip: ends(clip) for clip in clips}
        print("| video | " + " | ".join(PROFILES) + " | notes |\n|---|---|---|---|---|")
        for at, clip in enumerate(clips):
            cells, notes = [], set()
            for profile in PROFILES:
                job = results[profile][at]
                peak, largest = max((peak, largest), (job["peak_memory_bytes"] or 0, f"{clip.name} by {profile}"))
                if job["failure"]:
                    cells.append("failed")
                    notes.add(f"{job['failure']['kind']}: {job['failure']['message'].split(': ', 1)[-1]}")
                    continue
                faults, shown = wrong(clip, job["outputs"][0]["path"], profile, decoded[clip])
                bad += bool(faults)
                cells.append(shown + (" **" + "; ".join(faults) + "**" if faults else " ✓"))
                notes.update(job["detail"]["notes"])
            shown = "; ".join(sorted(notes)).replace("|", "\\|").replace(str(clip.parent) + "/", "")
            print(f"| {clip.name} | " + " | ".join(cells) + f" | {shown} |", flush=True)
        print(f"\n{len(clips)} videos, {3 * len(clips)} runs, {bad} with a fault; most memory of a worker {peak / 1e6:.0f} MB ({largest})")


if __name__ == "__main__":
    main()
