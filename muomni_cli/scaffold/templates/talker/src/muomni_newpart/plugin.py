"""Registers the parts of this package. Every command imports this module, so it must not import torch or numpy."""

from pathlib import Path

from muomni_cli.api import RecipeFile, TalkerPart, hookimpl
from muomni_newpart.config import NewpartConfig


@hookimpl
def register_talkers() -> list[TalkerPart]:
    return [
        TalkerPart(
            name="newpart",
            doc="causal convolutions over code frames with monotonic text alignment",
            config=NewpartConfig,
            build="muomni_newpart.model:build",
            objective="muomni_newpart.objective:TalkerObjective",
            graphs="muomni_newpart.graphs:graphs",
            runner="muomni_newpart.runtime:NewpartRunner",
            test_config={"d_model": 32, "text_layers": 1, "layers": 2, "kernel": 3, "longest": 200},
        )
    ]


@hookimpl
def register_recipes() -> list[RecipeFile]:
    path = Path(__file__).with_name("newpart.toml")
    return [RecipeFile(name="newpart", doc="speaks digits with this package's Talker; needs flite", path=path)]
