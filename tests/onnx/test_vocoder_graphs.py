"""The vocoders without PyTorch: the same samples, however the mel comes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime", reason="needs onnxruntime")
pytest.importorskip("onnxscript", reason="needs onnxscript")
pytest.importorskip("muomni_onnx.graphs", reason="needs the exporter")

from muomni_vocoders import griffin_lim, vocos
from muomni_vocoders.graphs import griffin_lim_graphs, levels, vocos_graphs
from muomni_vocoders.plugin import GriffinLimConfig, VocosConfig
from muomni_vocoders.runtime import GriffinLimRunnerStream, VocosRunnerStream
from tests.onnx.speech_parts import MEL, lively, opened

NEURAL = VocosConfig(channels=16, layers=2, hidden=24, kernel=5, lookahead=3)
BLOCKS = GriffinLimConfig(iterations=4, first=2, block=8, lookahead=3)


@pytest.fixture(scope="module", params=["vocos", "griffin-lim"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """A vocoder, and a sound on its way through its graph."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "vocos":
        module = lively(lambda: vocos.build(NEURAL, MEL), 1.0)
        return module, VocosRunnerStream(opened(vocos_graphs(module), folder)["vocoder"], NEURAL, MEL)
    module = griffin_lim.build(BLOCKS, MEL).eval()
    return module, GriffinLimRunnerStream(opened(griffin_lim_graphs(module), folder)["vocoder"], BLOCKS, MEL)


@pytest.mark.parametrize("pieces", [[1], [2], [4], [60], [1] * 23, [8, 0, 16, 1, 8], [0]])
def test_the_same_samples(pair: tuple[Any, Any], pieces: list[int]) -> None:
    module, sounds = pair
    mel = levels(np.random.default_rng(0), (sum(pieces), MEL.n_mels))
    with torch.inference_mode():
        stream = module.stream()
        given = [stream.push(torch.from_numpy(mel)[None]), stream.finish()]
    expected = torch.cat(given, dim=1)[0].numpy()
    for _ in range(2):  # after the end of one another begins
        made = [sounds.push(piece) for piece in np.split(mel, np.cumsum(pieces)[:-1])]
        samples = np.concatenate([*made, sounds.finish()])
        assert samples.shape == expected.shape == (MEL.hop * len(mel),)
        np.testing.assert_allclose(samples, expected, atol=1e-3, rtol=0)
