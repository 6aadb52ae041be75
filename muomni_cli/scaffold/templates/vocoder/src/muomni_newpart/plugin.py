"""What this package offers to muomni. Knows no torch and no numpy: every listing imports this module."""

from pathlib import Path

from muomni_cli.api import RecipeFile, VocoderPart, hookimpl
from muomni_newpart.config import NewpartConfig


@hookimpl
def register_vocoders() -> list[VocoderPart]:
    """Log-mel to sound."""
    return [
        VocoderPart(
            name="newpart",
            doc="ConvNeXt blocks at the rate of the mel, then one inverse Fourier transform a frame",
            config=NewpartConfig,
            build="muomni_newpart.model:build",
            objective="muomni_newpart.objective:Sounding",
            graphs="muomni_newpart.graphs:graphs",
            runner="muomni_newpart.running:RunNewpart",
            test_config={"width": 24, "layers": 2, "kernel": 5, "crop": 16},
        )
    ]


@hookimpl
def register_recipes() -> list[RecipeFile]:
    """The vocoder by itself."""
    path = Path(__file__).with_name("newpart.toml")
    return [RecipeFile(name="newpart", doc="this package's vocoder, on speech of the program flite", path=path)]
