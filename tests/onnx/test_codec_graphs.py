"""The codec without PyTorch: the same codes of a sound, the same log-mel of codes, however they come."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="needs onnxruntime")
pytest.importorskip("onnxscript", reason="needs onnxscript")
pytest.importorskip("muomni_onnx.graphs", reason="needs the exporter")

from muomni_cli.audio.mel import decode_codes, encode_waves
from muomni_rvq.graphs import graphs
from muomni_rvq.model import RvqCodec, build
from muomni_rvq.plugin import CodecConfig
from muomni_rvq.runtime import CodecDecoderStream, RvqRunner
from tests.onnx.speech_parts import MEL, Opened, lively, opened

CONFIG = CodecConfig(
    mel=MEL, codebooks=3, codebook_size=16, code_dim=8, width=24, encoder_layers=2, decoder_layers=2, fine_width=16,
    expansion=2, kernel=5, lookahead=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[RvqCodec, Opened]:
    module = lively(lambda: build(CONFIG), 1.0)
    return module, opened(graphs(module), tmp_path_factory.mktemp("codec"))


@pytest.mark.parametrize("samples", [0, 1, 160, 320, 5000])
def test_a_sound_has_the_same_codes(pair: tuple[RvqCodec, Opened], samples: int) -> None:
    module, sessions = pair
    wave = 0.1 * np.random.default_rng(0).standard_normal(samples, np.float32)
    expected = encode_waves(module, [wave])[0] if samples else np.zeros((0, 3))
    assert np.array_equal(RvqRunner(CONFIG, sessions).encode(wave), expected)


@pytest.mark.parametrize("pieces", [[1], [7, 0, 2, 1, 40], [50], [1] * 12])
def test_codes_that_come_in_pieces_sound_the_same(pair: tuple[RvqCodec, Opened], pieces: list[int]) -> None:
    module, sessions = pair
    codes = np.random.default_rng(1).integers(0, 16, (sum(pieces), 3))
    stream = CodecDecoderStream(sessions["decoder"], CONFIG)
    for _ in range(2):  # after the end of one another begins
        made = [stream.push(piece) for piece in np.split(codes, np.cumsum(pieces)[:-1])]
        mel = np.concatenate([*made, stream.finish()])
        np.testing.assert_allclose(mel, decode_codes(module, codes), atol=1e-4, rtol=1e-5)
