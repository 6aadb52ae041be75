"""Registers the parts of this package. Every command imports this module, so it must not import torch or numpy."""

from pathlib import Path

from muomni_cli.api import CodecPart, RecipeFile, hookimpl
from muomni_newpart.config import NewpartConfig

SMALL = {
    "mel": {"sample_rate": 8000, "n_fft": 256, "window": 160, "hop": 40, "n_mels": 20},
    "codebooks": 2,
    "levels": (4, 4),
    "width": 24,
    "layers": 2,
}


@hookimpl
def register_codecs() -> list[CodecPart]:
    return [
        CodecPart(
            name="newpart",
            doc="finite scalar quantization (FSQ) of log-mel",
            config=NewpartConfig,
            build="muomni_newpart.model:Newpart",
            objective="muomni_newpart.objective:ReconstructionObjective",
            graphs="muomni_newpart.graphs:graphs",
            runner="muomni_newpart.runtime:CodecRunner",
            read="muomni_cli.audio.io:read",
            cache_fields=frozenset({"sample_rate", "max_seconds", "shortest"}),
            test_config=SMALL,
        )
    ]


@hookimpl
def register_recipes() -> list[RecipeFile]:
    path = Path(__file__).with_name("newpart.toml")
    return [RecipeFile(name="newpart", doc="this package's codec, on speech of the program flite", path=path)]
