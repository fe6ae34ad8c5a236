#!/usr/bin/env python3
"""Cuts many pictures out by a model that takes any number at once, and by the same one made for one picture, with equal slots and cores, in turns:
what does it gain that they go through together? The results must be the same to the byte.

    batching.py --bin target/release [--pictures 64] [--together 8] [--rounds 3] [--model FILE.onnx]

The two models are made here (a chain of convolutions that halves, thinks and doubles, with random weights) and differ in their input's first dimension
alone; or FILE.onnx is made so. Beside it lies its description (docs/image-models.md). The processor's lane has as many slots as go together, so that as many pictures wait for the
model at the same time; cores are those of the machine. One by one in one slot is told, too. Needs `onnx` and numpy.
"""

import argparse
import hashlib
import json
import os
import pathlib
import random
import statistics
import subprocess
import tempfile
import time

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

DESCRIPTION = """purpose = "segmentation"
[input]
width = 320
height = 320
layout = "nchw"
channels = "rgb"
fit = "stretch"
scale = "unit"
[output]
layout = "nchw"
channel = 0
activation = "minmax"
"""


def network(path):
    """Eight convolutions, about 0.9 GFLOP a picture."""
    chance = numpy.random.default_rng(7)
    weights, nodes, last = [], [], "picture"
    sizes = [(3, 16, 2), (16, 32, 2), (32, 64, 2), (64, 64, 1), (64, 64, 1), (64, 64, 1), (64, 32, 1), (32, 1, 1)]
    for at, (taken, given, stride) in enumerate(sizes):
        kernel = chance.normal(0, (2 / (taken * 9)) ** 0.5, (given, taken, 3, 3)).astype(numpy.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{at}"))
        nodes.append(helper.make_node("Conv", [last, f"w{at}"], [f"c{at}"], kernel_shape=[3, 3], pads=[1] * 4, strides=[stride] * 2))
        nodes.append(helper.make_node("Relu" if at + 1 < len(sizes) else "Identity", [f"c{at}"], [f"r{at}"]))
        last = f"r{at}"
    weights.append(numpy_helper.from_array(numpy.array([1, 1, 8, 8], dtype=numpy.float32), "scales"))
    nodes.append(helper.make_node("Resize", [last, "", "scales"], ["mask"], mode="nearest"))
    value = lambda name, channels: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, 320, 320])
    graph = helper.make_graph(nodes, "halves", [value("picture", 3)], [value("mask", 1)], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    path.with_suffix(".toml").write_text(DESCRIPTION)


def for_one(path, to):
    """The same network, made for one picture."""
    model = onnx.load(path)
    for value in list(model.graph.input) + list(model.graph.output):
        value.type.tensor_type.shape.dim[0].ClearField("dim_param")
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, to)
    to.with_suffix(".toml").write_text(path.with_suffix(".toml").read_text())


def pictures(folder, count, side):
    random.seed(7)
    for number in range(count):
        colours = [bytes(random.randrange(256) for _ in range(3)) for _ in range(2)]
        x, y, r = (random.randrange(side // 4, side * 3 // 4) for _ in range(3))
        rows = b"".join(
            b"".join(colours[(u - x) ** 2 + (v - y) ** 2 < (r / 2) ** 2] for u in range(side)) for v in range(side)
        )
        (folder / f"{number:03}.ppm").write_bytes(b"P6 %d %d 255\n" % (side, side) + rows)


def run(programs, model, inputs, slots):
    """Seconds, and the hash of each result."""
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        environment = dict(
            os.environ, SPINDLE_SOCKET=f"{scratch}/s", SPINDLE_STATE_DIR=f"{scratch}/state", SPINDLE_MODEL_DIR=f"{scratch}/models",
            SPINDLE_LANES__CPU=str(slots),
        )
        daemon = subprocess.Popen([programs / "spindled"], env=environment, stderr=subprocess.DEVNULL)
        try:
            while not (scratch / "s").exists():
                time.sleep(0.05)
            submit = [programs / "spindlectl", "--json", "submit", "images", "--op", f"background=remove,model={model}", "--wait"]
            # One beforehand, so that the model is loaded.
            subprocess.run(submit + ["-o", scratch / "first", inputs / "000.ppm"], env=environment, check=True, stdout=subprocess.DEVNULL)
            begun = time.monotonic()
            subprocess.run(submit + ["-j", str(2 * slots), "-r", "-o", scratch / "out", inputs], env=environment, check=True, stdout=subprocess.DEVNULL)
            seconds = time.monotonic() - begun
        finally:
            daemon.terminate()
            daemon.wait()
        return seconds, {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((scratch / "out").rglob("*.png"))}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True, type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--together", type=int, default=8)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        inputs = folder / "inputs"
        inputs.mkdir()
        pictures(inputs, arguments.pictures, arguments.side)
        model = arguments.model.resolve() if arguments.model else folder / "any.onnx"
        if not arguments.model:
            network(model)
        for_one(model, folder / "one.onnx")
        ways = {"together": (model, arguments.together), "as_many_slots_one_by_one": (folder / "one.onnx", arguments.together), "one_slot": (model, 1)}
        times, results = {way: [] for way in ways}, []
        for _ in range(arguments.rounds):
            for way, (path, slots) in ways.items():
                seconds, hashes = run(arguments.bin, path, inputs, slots)
                times[way].append(seconds)
                results.append(hashes)
    same = all(result == results[0] for result in results) and len(results[0]) == arguments.pictures
    median = {way: statistics.median(seconds) for way, seconds in times.items()}
    print(json.dumps({
        "pictures": arguments.pictures, "seconds": {way: round(seconds, 2) for way, seconds in median.items()},
        "ratio_with_equal_slots": round(median["as_many_slots_one_by_one"] / median["together"], 2),
        "ratio_to_one_slot": round(median["one_slot"] / median["together"], 2), "results_identical": same,
    }))
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
