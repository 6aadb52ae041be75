"""What this package offers to muomni. Knows no torch and no numpy: a listing imports this module."""

from pathlib import Path

from muomni_cli.api import RecipeFile, VocoderPart, hookimpl
from muomni_dudley.config import DudleyConfig


@hookimpl
def register_vocoders() -> list[VocoderPart]:
    """The vocoder of this package. It has no objective: there is nothing to train."""
    return [
        VocoderPart(
            name="dudley",
            doc="a buzz or a noise, cut into bands as loud as the mel says; learns nothing, ready at once",
            config=DudleyConfig,
            build="muomni_dudley.model:build",
            test_config={"seconds": 0.1},
            graphs="muomni_dudley.graphs:graphs",
            runner="muomni_dudley.running:RunDudley",
        )
    ]


@hookimpl
def register_recipes() -> list[RecipeFile]:
    """A voice that it speaks with."""
    return [
        RecipeFile(name="robot", doc="digits in a robot's voice", path=Path(__file__).with_name("recipe.toml")),
    ]
