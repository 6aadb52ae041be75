"""The plugin: the model barista, which hears orders of coffee, and the grammar of these orders."""

from __future__ import annotations

from pathlib import Path

from muomni_cli.api import Download, ModelFiles, hookimpl

HERE = Path(__file__).resolve().parent
GRAMMAR = HERE / "orders.toml"


@hookimpl
def register_downloads() -> list[Download]:
    return [
        Download(
            name="barista-orders",
            doc="a grammar of orders of coffee; included in muomni",
            license="Apache-2.0",
            license_url="names and values of the slots: Picovoice's speech-to-intent-benchmark (Apache-2.0)",
            paths=("grammars/barista.toml",),
            shipped=GRAMMAR,
        )
    ]


@hookimpl
def register_models() -> list[ModelFiles]:
    """Its card, README.md, describes its data and scores."""
    return [
        ModelFiles(
            name="barista",
            doc="hears orders of coffee and answers JSON, by a grammar",
            bundle=HERE / "bundle",
            run=HERE / "run",
            card=HERE / "README.md",
            license="Apache-2.0",
        )
    ]
