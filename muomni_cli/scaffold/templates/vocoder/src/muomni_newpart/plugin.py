"""Registers the parts of this package. Every command imports this module, so it must not import torch or numpy."""

from pathlib import Path

from muomni_cli.api import RecipeFile, VocoderPart, hookimpl
from muomni_newpart.config import NewpartConfig


@hookimpl
def register_vocoders() -> list[VocoderPart]:
    return [
        VocoderPart(
            name="newpart",
            doc="ConvNeXt blocks at the mel frame rate, then one inverse Fourier transform per frame",
            config=NewpartConfig,
            build="muomni_newpart.model:Newpart",
            objective="muomni_newpart.objective:VocoderObjective",
            graphs="muomni_newpart.graphs:graphs",
            runner="muomni_newpart.runtime:NewpartRunner",
            test_config={"width": 24, "layers": 2, "kernel": 5, "crop": 16},
        )
    ]


@hookimpl
def register_recipes() -> list[RecipeFile]:
    path = Path(__file__).with_name("newpart.toml")
    return [RecipeFile(name="newpart", doc="this package's vocoder, on speech of the program flite", path=path)]
