#!/usr/bin/env python3
"""Shows that the quality score falls when a photo is spoilt: blurred, noisy, over- and under-exposed, shrunken, each in three strengths.

    quality.py --bin target/debug PHOTO…

Right: at least 95 % of the variants score below their original, and every step of strength costs. Needs numpy and Pillow.
"""

import argparse
import pathlib
import sys
import tempfile

import numpy
from PIL import Image, ImageFilter, ImageOps

from house import House


def exposed(image, stops):
    light = numpy.asarray(image, dtype=numpy.float32) / 255
    linear = numpy.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4) * 2.0**stops
    linear = linear.clip(0, 1)
    light = numpy.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return Image.fromarray((light * 255 + 0.5).astype(numpy.uint8))


def noisy(image, sigma):
    values = numpy.asarray(image, dtype=numpy.float32)
    return Image.fromarray((values + numpy.random.default_rng(1).normal(0, sigma, values.shape)).clip(0, 255).astype(numpy.uint8))


WAYS = {
    "blurred": ([1, 2, 4], lambda image, by: image.filter(ImageFilter.GaussianBlur(by))),
    "noisy": ([5, 12, 25], noisy),
    "over": ([1, 2, 3], exposed),
    "under": ([1, 2, 3], lambda image, by: exposed(image, -by)),
    "shrunken": ([2, 3, 5], lambda image, by: image.resize((max(1, image.width // by), max(1, image.height // by)), Image.LANCZOS)),
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--bin", required=True)
    arguments.add_argument("photos", nargs="+", type=pathlib.Path)
    arguments = arguments.parse_args()
    below = steps = rising = count = 0
    fell = {way: [0, 0] for way in WAYS}
    with House(arguments.bin) as house, tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        files = []
        for number, photo in enumerate(arguments.photos):
            image = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
            image.thumbnail((2000, 2000))
            image.save(folder / f"{number}-original.png", compress_level=1)
            files.append(folder / f"{number}-original.png")
            for way, (strengths, spoil) in WAYS.items():
                for at, strength in enumerate(strengths):
                    files.append(folder / f"{number}-{way}-{at}.png")
                    spoil(image, strength).save(files[-1], compress_level=1)
        out = house.root / "out"
        out.mkdir()
        jobs = house.images(files, out, "convert=png")
        score = {pathlib.Path(name).stem: job["detail"]["quality"] for name, job in jobs.items()}
        print("| photo | original |", " | ".join(WAYS), "|\n|---|---|" + "---|" * len(WAYS))
        for number, photo in enumerate(arguments.photos):
            original = score[f"{number}-original"]
            cells = []
            for way, (strengths, _) in WAYS.items():
                scores = [score[f"{number}-{way}-{at}"] for at in range(len(strengths))]
                cells.append(" ".join(f"{value:.0f}" for value in scores))
                below += sum(value < original for value in scores)
                fell[way][0] += sum(value < original for value in scores)
                fell[way][1] += len(scores)
                count += len(scores)
                rising += sum(later < earlier for earlier, later in zip(scores, scores[1:]))
                steps += len(scores) - 1
            print(f"| {photo.name} | {original:.0f} | {' | '.join(cells)} |")
    ways = ", ".join(f"{way} {done}/{of}" for way, (done, of) in fell.items())
    print(f"\nbelow the original: {below} of {count} ({100 * below / count:.1f} %: {ways}); steps that cost: {rising} of {steps}")
    sys.exit(below < 0.95 * count or rising < 0.95 * steps)


main()
