"""Plugin: ``muomni export --gguf``. Imports no torch or gguf."""

from __future__ import annotations

from muomni_cli.api import ExporterPart, PartConfig, hookimpl


@hookimpl
def register_exporters() -> list[ExporterPart]:
    return [
        ExporterPart(
            name="gguf",
            doc="as one GGUF file, for llama.cpp and what is built on it: the Thinker alone",
            config=PartConfig,
            build="muomni_gguf.exporting:export",
            precisions=("fp16", "fp32", "int8"),
            requires=("torch", "gguf"),
            suffix=".gguf",
        )
    ]
