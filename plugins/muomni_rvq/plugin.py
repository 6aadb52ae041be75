"""What this package offers to muomni. Knows no torch and no numpy: a listing imports this module."""

from muomni_cli.api import CodecPart, hookimpl
from muomni_rvq.config import CodecConfig


@hookimpl
def register_codecs() -> list[CodecPart]:
    """The codec of this package."""
    return [
        CodecPart(
            name="rvq",
            doc="80 ms windows of log-mel by residual vector quantisation; decodes as codes come",
            config=CodecConfig,
            build="muomni_rvq.model:build",
            graphs="muomni_rvq.graphs:graphs",
            runs="muomni_rvq.running:RunCodec",
            steps="muomni_rvq.steps:steps",
            objective="muomni_rvq.objective:Reconstruction",
            read="muomni_cli.sound.reading:read",
            reads=frozenset({"sample_rate", "max_seconds", "shortest"}),
        )
    ]
