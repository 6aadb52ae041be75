"""What this package offers to muomni. Knows no torch and no onnxruntime."""

import typer

from muomni_cli.api import Check, PartConfig, RuntimePart, hookimpl
from muomni_onnx.commands import add_to


@hookimpl
def register_runtimes() -> list[RuntimePart]:
    """What runs bundles."""
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
def register_checks() -> list[Check]:
    """Laws of parts that declare graphs."""
    return [
        Check(name="exports", doc="graphs give what PyTorch gives", law="muomni_onnx.conformance:EXPORTS"),
        Check(name="serves", doc="graphs together do what the part does", law="muomni_onnx.conformance:SERVES"),
    ]


@hookimpl
def register_commands(cli: typer.Typer) -> None:
    """``muomni export``."""
    add_to(cli)
