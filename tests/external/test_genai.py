# ruff: noqa: E402
"""A bundle's Thinker in onnxruntime-genai as its makers ship it: the same greedy tokens, and how fast each is."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import venv
from pathlib import Path

import numpy as np
import pytest

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")

from muomni_onnx import golden
from muomni_onnx.bundle import open_bundle
from muomni_onnx.export import export
from muomni_onnx.runtime import OnnxModel
from muomni_onnx.sources import model_of_recipe

pytestmark = pytest.mark.external

THEIRS = """
import json, sys, time
import numpy, onnxruntime_genai as genai
folder, prompt, count = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
model = genai.Model(folder)
seconds = []
for _ in range(3):
    params = genai.GeneratorParams(model)
    params.set_search_options(do_sample=False, max_length=len(prompt) + count)
    generator = genai.Generator(model, params)
    generator.append_tokens(numpy.array([prompt], numpy.int32))
    begin = time.perf_counter()
    for _ in range(count):
        generator.generate_next_token()
    seconds.append(time.perf_counter() - begin)
tokens = [int(token) for token in generator.get_sequence(0)][len(prompt):]
print(json.dumps({"tokens": tokens, "seconds": min(seconds)}))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with onnxruntime-genai: its own, since it brings another onnxruntime."""
    folder = tmp_path_factory.mktemp("genai")
    venv.create(folder, with_pip=True)
    found = folder / "bin" / "python"
    words = [found, "-m", "pip", "install", "--quiet", "onnxruntime-genai", "numpy"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"onnxruntime-genai cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="looks for bin/python")
def test_the_same_tokens_from_the_same_folder(python: Path, tmp_path: Path) -> None:
    model = model_of_recipe("omni", ["encoders={}"])
    text_alone = type(model)(model.name, model.parts[:1], model.chat, model.tokenizer, model.provenance)
    export(text_alone, tmp_path / "bundle", notify=print)
    bundle = OnnxModel(open_bundle(tmp_path / "bundle"), "cpu")
    prompt = np.array([1, 72, 101, 108])
    backend = bundle.backend()
    ours = golden.golden_text(backend, prompt).values.tolist()
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        golden.golden_text(backend, prompt)
        seconds.append(time.perf_counter() - begin)
    words = [python, "-c", THEIRS, tmp_path / "bundle" / "thinker", json.dumps(prompt.tolist()), str(len(ours))]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True)
    theirs = json.loads(done.stdout.splitlines()[-1])
    assert theirs["tokens"] == ours
    rates = [len(ours) / one for one in (min(seconds), theirs["seconds"])]
    print(f"\nours {rates[0]:.0f}, genai {rates[1]:.0f} tokens a second: {rates[0] / rates[1]:.2f}x")
