"""Plugin: ``muomni export --web``. Imports no onnxruntime."""

from __future__ import annotations

from muomni_cli.api import ExporterPart, PartConfig, hookimpl


@hookimpl
def register_exporters() -> list[ExporterPart]:
    return [
        ExporterPart(
            name="web",
            doc="as a static site that runs the model in the browser, offline as well: the whole model",
            config=PartConfig,
            build="muomni_web.site:build",
            takes="bundle",
            marker="files.json",
            precisions=("web", "fp32", "int8"),
        )
    ]
