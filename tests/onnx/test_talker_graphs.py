"""The Talkers without PyTorch: each graph gives what the model gives, and a whole text is spoken in the same codes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnxruntime", reason="needs onnxruntime")
pytest.importorskip("onnxscript", reason="needs onnxscript")
pytest.importorskip("muomni_onnx.graphs", reason="needs the exporter")

from muomni_cli.api import TextChunk, VoiceSettings
from muomni_cli.generation.loop import Sampling, draw
from muomni_onnx.sessions import GraphSession
from muomni_talker.graphs import graphs
from muomni_talker.model import TalkerBase, build, build_parallel
from muomni_talker.plugin import CursorConfig, ParallelConfig
from muomni_talker.synthesis import TalkerRunner
from tests.onnx.speech_parts import CODES, Opened, lively, opened

SIZES: dict[str, Any] = {
    "d_text": 16, "text_layers": 2, "text_kernel": 3, "d_model": 24, "n_layers": 2, "n_heads": 2, "d_ff": 32,
    "max_duration": 12, "ctx_len": 512,
}  # fmt: skip
VOICES, HEARD = ("rms", "slt"), 12
TEXT = "the quick brown fox, jumps over a lazy dog and then it sleeps for a very long time. it costs $5, or more!"


@pytest.fixture(scope="module", params=["cursor", "parallel"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[TalkerBase, Opened]:
    """A Talker that hears a Thinker, and its graphs."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    if request.param == "cursor":
        module = lively(lambda: build(CursorConfig(**SIZES), CODES, VOICES, HEARD))
    else:
        module = lively(lambda: build_parallel(ParallelConfig(**SIZES), CODES, VOICES, HEARD))
    return module, opened(graphs(module), folder)


def told() -> list[TextChunk]:
    """Words of which some have a thought."""
    rng = np.random.default_rng(0)
    thoughts = [rng.standard_normal(HEARD, np.float32) if n % 3 else None for n in range(len(TEXT.split()))]
    return [TextChunk(word + " ", thought) for word, thought in zip(TEXT.split(), thoughts, strict=True)]


def heard(made: Any) -> NDArray[Any]:
    return np.concatenate(list(made))


def test_a_text_is_spoken_in_the_same_codes(pair: tuple[TalkerBase, Opened]) -> None:
    module, sessions = pair
    runner = TalkerRunner(module.config, sessions, CODES, VOICES, HEARD)
    logits: list[list[NDArray[Any]]] = [[], []]

    def choose(side: int) -> Any:
        def greedy(given: NDArray[Any]) -> int:
            logits[side].append(given.copy())
            return int(given.argmax())

        return greedy

    for options in (("slt", 0.8), ("rms",)):
        asked = [VoiceSettings(*options), VoiceSettings(*options)]
        codes = [
            heard(module.speak(told(), asked[0], choose(0))),
            heard(runner.speak(told(), asked[1], choose(1))),
        ]
        assert asked[0].report.spans == asked[1].report.spans
        assert [span.text for span in asked[0].report.spans] == TEXT.split()
        assert len(codes[0]) >= 100
        assert len(np.unique(codes[0])) > 10, "a model that always says the same tests nothing"
        assert np.array_equal(*codes)
    assert len(logits[0]) >= 2 * 300
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-4, rtol=1e-4)


def test_bound_heads_draw_what_calls_with_new_arrays_draw(pair: tuple[TalkerBase, Opened]) -> None:
    module, sessions = pair

    def runner(graphs: Any) -> TalkerRunner:
        return TalkerRunner(module.config, graphs, CODES, VOICES, HEARD)

    def drawn(one: TalkerRunner) -> list[NDArray[Any]]:
        rng = np.random.default_rng(0)
        samplers = [partial(draw, sampling=Sampling(top_k=9), rng=np.random.default_rng(row)) for row in range(3)]
        states = rng.standard_normal((6, 3, module.config.d_model), np.float32)
        return [
            one.draw(state[:count], samplers[:count]) for state, count in zip(states, (3, 1, 3, 2, 1, 3), strict=True)
        ]

    unbound = {name: partial(GraphSession.__call__, session) for name, session in sessions.items()}
    for ours, theirs in zip(drawn(runner(sessions)), drawn(runner(unbound)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_changed_weight_is_noticed(pair: tuple[TalkerBase, Opened]) -> None:
    import torch

    from muomni_onnx.parity import compare

    module, sessions = pair
    graph = next(graph for graph in graphs(module) if graph.name in ("step", "whole"))
    weight = module.stack.blocks[0].attention.out.weight  # type: ignore[union-attr]
    kept = weight.detach().clone()  # type: ignore[operator]
    with torch.no_grad():
        weight[:, :2].mul_(1.05)  # type: ignore[operator,index]
    try:
        assert not compare(graph, sessions[graph.name]).holds
    finally:
        with torch.no_grad():
            weight.copy_(kept)  # type: ignore[operator]
