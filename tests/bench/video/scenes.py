#!/usr/bin/env python3
"""Measures which scene changes `submit highlights` finds: precision and recall over cuts at known pictures.

    scenes.py --bin target/release [--assets FOLDER]

Three kinds of videos. *Generated*: forty hard cuts between patterns, still and moving, dark and bright, alike and unlike, with what is no cut among
them: flashes, fades to black and back, dissolves, fast pans, noise, flicker. *Spliced* (with --assets): pieces of recorded clips, one after the
other. *As they are* (with --assets): recorded clips in which contact sheets show no cut, but a turn of the camera, a man who walks
into the picture, a skipping rope: each scene change told of them is a wrong one. A cut counts as found where one is told within a picture of it.
"""

import argparse
import json
import pathlib
import random
import shutil
import subprocess
import tempfile

from house import House

RATE, SIZE = 25, "640x360"
SMALL = f"s={SIZE}:r={RATE}"
# Each begins with a hard cut.
SEGMENTS = [
    f"testsrc2={SMALL}",
    f"smptehdbars={SMALL}",
    f"mandelbrot=s=320x180:r={RATE},scale=640:360",
    f"testsrc={SMALL}",
    f"rgbtestsrc={SMALL}",
    f"life=s=160x90:r={RATE}:mold=10:ratio=0.4:seed=7:life_color=#40c0ff:death_color=#601010,scale=640:360",
    f"color=c=0x203050:{SMALL},noise=alls=20:allf=t",
    f"color=c=0x28502c:{SMALL},noise=alls=20:allf=t",
    f"cellauto=s=320x180:r={RATE}:rule=110:seed=3,scale=640:360",
    f"testsrc2={SMALL},hue=h=120",
    f"testsrc2={SMALL},hue=h=240,hflip",
    f"mandelbrot=s=320x180:r={RATE}:start_scale=0.3,scale=640:360,hue=h=180",
    f"yuvtestsrc={SMALL}",
    f"smptebars={SMALL}",
    f"testsrc={SMALL},eq=brightness=-0.35",
    f"testsrc2={SMALL},eq=brightness=-0.35:contrast=0.5",
    f"sierpinski=s=320x180:r={RATE}:seed=1,scale=640:360",
    f"color=c=gray:{SMALL}",
    f"color=c=0x9a9060:{SMALL}",
]
# What stands in the middle of some segments and is no cut.
DISTRACTIONS = {
    "flash": "drawbox=w=iw:h=ih:color=white:t=fill:enable='between(n,{a},{a}+1)'",
    "fade": "fade=out:s={b}:n=8:enable='lt(n,{c})',fade=in:s={c}:n=8:enable='gte(n,{c})'",
    "pan": "scroll=h=0.04",
    "climb": "scroll=v=0.03",
    "noise": "noise=alls=40:allf=t",
    "flicker": "eq=brightness='0.06*mod(n,2)':eval=frame",
    "dim": "eq=brightness='-0.012*max(0,n-{a})':eval=frame",
}
# Of the recorded clips, where pieces are taken: first second and length.
PIECES = [
    ("moviepy/big_buck_bunny_432_433.webm", 0, 0.9),
    ("moviepy/fire2.mp4", 0, 1.0),
    ("androidx/hdr10-av1.mp4", 2.0, 1.2),
    ("auto-editor/man-on-green-screen.mp4", 8, 1.5),
    ("androidx/sample.mp4", 0, 0.9),
    ("auto-editor/man-on-green-screen.mp4", 1, 1.2),
    ("moviepy/fire2.mp4", 1.5, 0.8),
    ("androidx/hdr10-av1.mp4", 0, 0.9),
    ("auto-editor/example.mp4", 3, 1.0),
    ("moviepy/big_buck_bunny_432_433.webm", 0.1, 0.8),
    ("androidx/hdr10-av1.mp4", 3, 1.0),
]
# By their contact sheets none has a cut.
WITHOUT_CUTS = [
    "moviepy/big_buck_bunny_432_433.webm",
    "moviepy/fire2.mp4",
    "androidx/hdr10-av1.mp4",
    "androidx/sample.mp4",
    "auto-editor/man-on-green-screen.mp4",
    "auto-editor/example.mp4",
]


def ffmpeg(*words):
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, words)], check=True)


def generated(path):
    """Gives the pictures at which its cuts are, and what else is in it."""
    draw = random.Random(6)
    order = [segment for _ in range(3) for segment in draw.sample(SEGMENTS, len(SEGMENTS))]
    # Never the same twice in a row.
    order = [segment for at, segment in enumerate(order) if at == 0 or segment != order[at - 1]][:41]
    distractions = [*DISTRACTIONS, "dissolve"]
    inputs, graph, cuts, at, told = [], [], [], 0, []
    for number, segment in enumerate(order):
        frames = draw.randint(30, 75)
        filters = segment.split(",", 1)
        chain = [filters[1]] if len(filters) > 1 else []
        distraction = distractions[number // 2 % len(distractions)] if number % 2 else None
        if distraction == "dissolve":
            frames = 60
        elif distraction:
            a = frames // 2
            chain.append(DISTRACTIONS[distraction].format(a=a, b=a - 10, c=a))
        inputs += ["-f", "lavfi", "-t", str(frames / RATE), "-i", filters[0]]
        chain += ["scale=640:360", "setsar=1", "format=yuv420p", f"trim=end_frame={frames}", "setpts=PTS-STARTPTS"]
        graph.append(f"[{len(inputs) // 6 - 1}:v]{','.join(chain)}[s{number}]")
        if distraction == "dissolve":
            # Into the next pattern of the list, over most of a second.
            other = SEGMENTS[(SEGMENTS.index(segment) + 5) % len(SEGMENTS)].split(",", 1)
            inputs += ["-f", "lavfi", "-t", str(frames / RATE), "-i", other[0]]
            more = f"{other[1]}," if len(other) > 1 else ""
            graph[-1] = graph[-1].replace(f"[s{number}]", f"[x{number}]")
            graph.append(f"[{len(inputs) // 6 - 1}:v]{more}scale=640:360,setsar=1,format=yuv420p,trim=end_frame={frames},setpts=PTS-STARTPTS[y{number}]")
            mix = "A*(1-clip((N-15)/20,0,1))+B*clip((N-15)/20,0,1)"
            graph.append(f"[x{number}][y{number}]blend=all_expr='{mix}'[s{number}]")
        told.append(distraction)
        if number:
            cuts.append(at)
        at += frames
    joined = "".join(f"[s{number}]" for number in range(len(order)))
    graph.append(f"{joined}concat=n={len(order)}:v=1[v]")
    ffmpeg(*inputs, "-filter_complex", ";".join(graph), "-map", "[v]", "-r", RATE, "-c:v", "libx264", "-preset", "veryfast", "-crf", "23", path)
    return cuts, {name: told.count(name) for name in distractions}


def spliced(assets, path):
    inputs, graph, cuts, at = [], [], [], 0
    for number, (name, start, length) in enumerate(PIECES):
        frames = round(length * RATE)
        inputs += ["-i", assets / name]
        graph.append(
            f"[{number}:v]trim=start={start},setpts=PTS-STARTPTS,fps={RATE},scale=640:360:force_original_aspect_ratio=decrease,"
            f"pad=640:360:-1:-1,setsar=1,format=yuv420p,tpad=stop_mode=clone:stop=10,trim=end_frame={frames},setpts=PTS-STARTPTS[s{number}]"
        )
        if number:
            cuts.append(at)
        at += frames
    joined = "".join(f"[s{number}]" for number in range(len(PIECES)))
    graph.append(f"{joined}concat=n={len(PIECES)}:v=1[v]")
    ffmpeg(*inputs, "-filter_complex", ";".join(graph), "-map", "[v]", "-r", RATE, "-c:v", "libx264", "-preset", "veryfast", "-crf", "23", path)
    return cuts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--assets", type=pathlib.Path, help="a folder with the recorded clips that the script names")
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="spindle-scenes-clips-"))
    videos = []
    cuts, others = generated(work / "generated.mp4")
    videos.append((work / "generated.mp4", [cut / RATE for cut in cuts]))
    print("no cuts: " + ", ".join(f"{count} × {name}" for name, count in others.items()) + "\n")
    if options.assets:
        assets = options.assets.resolve()
        videos.append((work / "spliced.mp4", [cut / RATE for cut in spliced(assets, work / "spliced.mp4")]))
        videos += [(assets / name, []) for name in WITHOUT_CUTS]
    with House(options.bin) as house:
        house.ctl("-q", "submit", "highlights", "--quality", "low", "--target-duration", "5", "--wait", "-o", work / "out", *(video for video, _ in videos))
        result = json.loads(house.ctl("--json", "result", "1"))
    print("| video | cuts | found | missed | wrong | precision | recall |\n|---|---|---|---|---|---|---|")
    all_known = all_found = all_wrong = 0
    for at, (video, known) in enumerate(videos):
        analysis = next(v for v in result["gather"]["videos"] if v["video_index"] == at + 1)
        told = [scene["start_time"] for scene in analysis["scenes"][1:]]
        near = lambda one, others: any(abs(one - other) <= 1.01 / RATE for other in others)
        missed = [cut for cut in known if not near(cut, told)]
        wrong = [cut for cut in told if not near(cut, known)]
        found = len(known) - len(missed)
        precision = f"{found / (found + len(wrong)):.3f}" if told else "–"
        recall = f"{found / len(known):.3f}" if known else "–"
        listed = lambda times: f"{len(times)}" + (f" ({' '.join(f'{t:.2f}' for t in times)})" if times else "")
        print(f"| {video.name} | {len(known)} | {found} | {listed(missed)} | {listed(wrong)} | {precision} | {recall} |")
        all_known, all_found, all_wrong = all_known + len(known), all_found + found, all_wrong + len(wrong)
    print(f"\nprecision {all_found / max(all_found + all_wrong, 1):.3f}, recall {all_found / max(all_known, 1):.3f} over {all_known} cuts")
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
