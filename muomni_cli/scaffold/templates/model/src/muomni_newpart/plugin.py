"""What this package offers to muomni: every listing imports this module, so it imports nothing heavy."""

from pathlib import Path

from muomni_cli.api import ModelFiles, RecipeFile, hookimpl

HERE = Path(__file__).resolve().parent
BUNDLE = HERE / "bundle"
"""What `muomni export --onnx -o` makes of a trained run. The model is there as soon as this folder is."""


@hookimpl
def register_models() -> list[ModelFiles]:
    """`muomni chat -m newpart`, wherever this package is installed."""
    if not BUNDLE.is_dir():
        return []
    return [ModelFiles(name="newpart", doc="tells simple stories", bundle=BUNDLE, card=HERE / "card.md")]


@hookimpl
def register_recipes() -> list[RecipeFile]:
    """How it is trained."""
    return [RecipeFile(name="newpart", doc="the model of this package", path=HERE / "newpart.toml")]
