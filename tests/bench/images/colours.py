#!/usr/bin/env python3
"""Compares colours and transparency with ImageMagick's: mean and 95th percentile of ΔE*ab (CIE 1976) over all pixels.

    colours.py --bin target/debug FILE…

Each file goes to PNG at its own size by both: here `convert=png`, there `-auto-orient`, its profile (or, for inks without one, ImageMagick's own rule)
to sRGB by `-profile` or `-colorspace`, 8 bits, its first picture. Right: a mean below 3. Needs numpy and Pillow, and ImageMagick's `convert` at
/usr/bin/convert or where $CONVERT says.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
from PIL import Image, ImageCms

from house import House

CONVERT = os.environ.get("CONVERT", "/usr/bin/convert")


def lab(rgb):
    light = rgb / 255.0
    linear = numpy.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    matrix = numpy.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
    xyz = linear @ matrix.T / numpy.array([0.95047, 1.0, 1.08883])
    f = numpy.where(xyz > 216 / 24389, numpy.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return numpy.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def rgba(path):
    return numpy.asarray(Image.open(path).convert("RGBA"), dtype=float)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--bin", required=True)
    arguments.add_argument("files", nargs="+", type=pathlib.Path)
    arguments = arguments.parse_args()
    files = [file.resolve() for file in arguments.files]
    wrong = 0
    print("| file | mean ΔE | 95 % | mean difference of alpha |\n|---|---|---|---|")
    with House(arguments.bin) as house, tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        srgb = folder / "srgb.icc"
        srgb.write_bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
        for number, file in enumerate(files):
            out = house.root / f"out{number}"
            out.mkdir()
            job = house.images([file], out, "convert=png", more=["--metadata", "strip"])[str(file)]
            theirs = folder / f"{number}.png"
            has_profile = subprocess.run([CONVERT, f"{file}[0]", "icc:-"], capture_output=True).returncode == 0
            words = ["-profile", srgb] if has_profile else ["-colorspace", "sRGB"]
            subprocess.run(
                [CONVERT, f"{file}[0]", "-auto-orient", "-intent", "relative", *words, "-depth", "8", f"png32:{theirs}"], capture_output=True
            )
            if job["failure"] or not theirs.exists():
                print(f"| {file.name} | {job['failure']['message'] if job['failure'] else 'not read by ImageMagick'} | | |")
                continue
            ours, theirs = rgba(job["outputs"][0]["path"]), rgba(theirs)
            if ours.shape != theirs.shape:
                print(f"| {file.name} | **{ours.shape[1]}×{ours.shape[0]} here, {theirs.shape[1]}×{theirs.shape[0]} there** | | |")
                wrong += 1
                continue
            seen = (ours[..., 3] > 0) & (theirs[..., 3] > 0)
            error = numpy.sqrt(((lab(ours[..., :3]) - lab(theirs[..., :3])) ** 2).sum(-1))[seen]
            mean, most = (error.mean(), numpy.percentile(error, 95)) if error.size else (0.0, 0.0)
            alpha = numpy.abs(ours[..., 3] - theirs[..., 3]).mean()
            right = mean < 3 and alpha < 1
            wrong += not right
            print(f"| {file.name} | {mean:.2f}{'' if right else ' **wrong**'} | {most:.2f} | {alpha:.2f} |", flush=True)
    sys.exit(wrong > 0)


main()
