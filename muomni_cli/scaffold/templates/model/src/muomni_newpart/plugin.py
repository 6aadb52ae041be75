"""Registers the parts of this package. Every command imports this module, so it must not import torch or numpy."""

from pathlib import Path

from muomni_cli.api import ModelFiles, RecipeFile, hookimpl

HERE = Path(__file__).resolve().parent
BUNDLE = HERE / "bundle"
"""Output of `muomni export --onnx -o`. The model is registered as soon as this folder exists."""


@hookimpl
def register_models() -> list[ModelFiles]:
    if not BUNDLE.is_dir():
        return []
    return [ModelFiles(name="newpart", doc="tells simple stories", bundle=BUNDLE, card=HERE / "card.md")]


@hookimpl
def register_recipes() -> list[RecipeFile]:
    return [RecipeFile(name="newpart", doc="the model of this package", path=HERE / "newpart.toml")]
