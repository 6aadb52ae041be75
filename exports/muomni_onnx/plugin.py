"""The plugin: the ONNX runtime, conformance checks of graphs, and ``muomni export``. Imports no torch and no
onnxruntime."""

import typer

from muomni_cli.api import CheckSpec, PartConfig, RuntimePart, hookimpl
from muomni_onnx.commands import add_to


@hookimpl
def register_runtimes() -> list[RuntimePart]:
    return [
        RuntimePart(
            name="onnx",
            doc="bundles that muomni export --onnx wrote, with onnxruntime",
            config=PartConfig,
            build="muomni_onnx.runtime:build",
            marker="muomni.json",
        )
    ]


@hookimpl
def register_checks() -> list[CheckSpec]:
    return [
        CheckSpec(name="exports", doc="graphs return what PyTorch returns", check="muomni_onnx.conformance:EXPORTS"),
        CheckSpec(name="serves", doc="graphs together do what the part does", check="muomni_onnx.conformance:SERVES"),
    ]


@hookimpl
def register_commands(cli: typer.Typer) -> None:
    add_to(cli)
