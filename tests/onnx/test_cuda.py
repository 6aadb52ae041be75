# ruff: noqa: E402
"""CUDA gives what the CPU gives, in both precisions, with caches bound to the device and without.

On a machine with a GPU, `pytest -m gpu -s tests/onnx/test_cuda.py` also prints milliseconds a step by precision,
binding and batch, at the size of the default Thinker.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")

from muomni_onnx.backend import OnnxBackend
from muomni_onnx.precision import Precision, convert_precision
from muomni_onnx.sessions import CUDA, GraphSession, no_cuda, open_sessions
from muomni_thinker.plugin import TransformerConfig
from tests.onnx.thinker_parts import CONTEXT, VOCABULARY, write_thinker

missing = no_cuda()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(missing is not None, reason=missing.what if missing else "")]

TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "fp16": 2e-2}
"""Of a logit (they are about 3), between CUDA and the CPU: fp16 keeps 11 bits of every sum on the way."""
STEPS = 40


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def precise(tiny: tuple[Path, dict[str, Any]], request: pytest.FixtureRequest) -> tuple[Path, dict[str, Any], float]:
    """The folder of a tiny Thinker's graphs in a precision, what a manifest says of them, and what is allowed."""
    return lowered(*tiny, request.param), tiny[1], TOLERANCE[request.param]


def lowered(folder: Path, entry: dict[str, Any], precision: Precision) -> Path:
    """The folder's graphs in another precision, in a folder of their own."""
    made = folder / precision
    made.mkdir(exist_ok=True)
    for name, states in (("embed", {}), ("thinker", entry["states"])):
        convert_precision(folder / f"{name}.onnx", made / f"{name}.onnx", precision, states)
    return made


def backend(folder: Path, entry: dict[str, Any], context: int, device: str, *, bind: bool | None = None) -> OnnxBackend:
    """Over graphs on a device."""
    embed, thinker = (GraphSession(folder / f"{name}.onnx", 1, device, bind=bind) for name in ("embed", "thinker"))
    return OnnxBackend(embed, thinker, entry, context, prefix_cache=True, hidden=True)


def answers(over: OnnxBackend, batch: int) -> list[np.ndarray[Any, Any]]:
    """Logits and states over many steps of rows of two lengths, a third of which rests in the end; then of prompts
    that begin alike."""
    random = np.random.default_rng(batch)
    prompts = [random.integers(0, VOCABULARY, 3 + row % 2).tolist() for row in range(batch)]
    state, logits = over.begin(prompts, CONTEXT)
    made = [logits, over.hidden(state)]
    for step in range(STEPS):
        tokens = random.integers(0, VOCABULARY, batch)
        resting = (np.arange(batch) % 3 == 1) & (step > STEPS // 2)
        made.append(over.step(state, np.where(resting, -1, tokens))[~resting])
    return [*made, over.begin([[*prompt[:2], 5, 6] for prompt in prompts], CONTEXT)[1]]


@pytest.mark.parametrize("batch", [1, 8, 64])
@pytest.mark.parametrize("bind", [True, False])
def test_cuda_gives_what_the_cpu_gives(precise: tuple[Path, dict[str, Any], float], batch: int, bind: bool) -> None:
    folder, entry, tolerance = precise
    theirs = answers(backend(folder, entry, CONTEXT, "cpu"), batch)
    ours = answers(backend(folder, entry, CONTEXT, "cuda", bind=bind), batch)
    for mine, its in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, its, atol=tolerance)


def test_auto_takes_cuda_where_it_works(tiny: tuple[Path, dict[str, Any]]) -> None:
    opened = open_sessions({name: tiny[0] / f"{name}.onnx" for name in ("embed", "thinker")}, "auto")
    assert {session.provider for session in opened.values()} == {CUDA}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_speed_by_binding_and_batch(
    tmp_path: Path, precision: Precision, capsys: pytest.CaptureFixture[str], record_property: Any
) -> None:
    """Rounds take turns, and the best of each counts. Only what does not hang on a machine's load is required."""
    entry = write_thinker(tmp_path, TransformerConfig(), 5000)
    folder = lowered(tmp_path, entry, precision)
    over = {bind: backend(folder, entry, 512, "cuda", bind=bind) for bind in (True, False)}
    for batch in (1, 8, 64):
        rounds = [{bind: seconds_a_step(one, batch) for bind, one in over.items()} for _ in range(4)]
        bound, plain = (1000 * min(one[bind] for one in rounds[1:]) for bind in (True, False))
        record_property(f"{precision} batch {batch}", (bound, plain))
        with capsys.disabled():
            print(f"\n{precision} batch {batch}: {bound:.2f} ms a step bound, {plain:.2f} not bound", end="")


def seconds_a_step(over: OnnxBackend, batch: int) -> float:
    """Of rows of 35 tokens, over 100 steps."""
    random = np.random.default_rng(0)
    state, _ = over.begin(random.integers(0, 5000, (batch, 35)).tolist(), 512)
    begin = time.perf_counter()
    for _ in range(100):
        over.step(state, random.integers(0, 5000, batch))
    return (time.perf_counter() - begin) / 100
