"""The plugin: the codec ``rvq``. Imports no torch and no numpy."""

from muomni_cli.api import CodecPart, hookimpl
from muomni_rvq.config import CodecConfig

SMALL = {
    "mel": {"sample_rate": 8000, "n_fft": 256, "window": 160, "hop": 40, "n_mels": 20},
    "codebook_size": 32,
    "code_dim": 8,
    "width": 24,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "fine_width": 16,
}
"""The smallest settings that use every feature."""


@hookimpl
def register_codecs() -> list[CodecPart]:
    return [
        CodecPart(
            name="rvq",
            doc="residual vector quantization of 80 ms windows of log-mel; streaming decoder",
            config=CodecConfig,
            build="muomni_rvq.model:build",
            graphs="muomni_rvq.graphs:graphs",
            runner="muomni_rvq.runtime:RvqRunner",
            steps="muomni_rvq.graphs:steps",
            objective="muomni_rvq.objective:Reconstruction",
            read="muomni_cli.audio.io:read",
            test_config=SMALL,
            cache_fields=frozenset({"sample_rate", "max_seconds", "shortest"}),
        )
    ]
