"""Runs the graphs of the bundle ``sys.argv[1]`` in OpenVINO on the inputs that it has saved, and prints for each how
far it is from what was saved: the largest difference, in units of the output's size where that is above 1."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy
import openvino

root = Path(sys.argv[1])
manifest = json.loads((root / "muomni.json").read_text(encoding="utf-8"))
saved = dict(numpy.load(root / "reference.npz"))
core = openvino.Core()
found = {}
for part, entry in manifest["parts"].items():
    for name, graph in entry["graphs"].items():
        options = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(core.read_model(root / graph["file"]), "CPU", options)
        takes = {one.any_name for one in compiled.inputs}
        apart, number = [], 0
        while any(key.startswith(f"{part}/{name}/{number}/in/") for key in saved):
            begin = f"{part}/{name}/{number}/"
            feeds = {key[len(begin) + 3 :]: array for key, array in saved.items() if key.startswith(f"{begin}in/")}
            number += 1
            empty = feeds.pop("padding", numpy.zeros(1, numpy.int64))  # a constant for OpenVINO
            held = [feeds[state].shape[2] for state in graph["states"]] if empty.any() else []
            if (len(empty) > 1 and empty.any()) or any(places < empty[0] for places in held):
                continue
            if empty.any():  # the empty places of a single row are left out instead
                feeds |= {state: numpy.ascontiguousarray(feeds[state][:, :, empty[0] :]) for state in graph["states"]}
            made = compiled({key: array for key, array in feeds.items() if key in takes})
            for output in graph["outputs"]:
                if output in graph["unchecked"] or (empty.any() and output in graph["states"].values()):
                    continue
                values, expected = made[output].reshape(-1), saved[f"{begin}out/{output}"].astype(float)
                if values.size:
                    places = numpy.linspace(0, values.size - 1, min(512, values.size)).astype(int)
                    size = max(1.0, float(numpy.sqrt(numpy.square(expected).mean())))
                    apart.append(float(numpy.abs(values[places].astype(float) - expected).max()) / size)
        found[f"{part}/{name}"] = max(apart, default=None)
print(json.dumps(found))
