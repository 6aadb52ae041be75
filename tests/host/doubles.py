"""A plugin with a second part of every name that the built-in ones have, and with commands of theirs and the host's."""

from __future__ import annotations

import typer

from muomni_audio_encoder import plugin as audio
from muomni_cli.api import EncoderPart, RecipeFile, hookimpl
from muomni_cli.core.errors import ROOT
from muomni_datasets.plugin import register_datasets, register_downloads  # noqa: F401
from muomni_metrics import register_metrics  # noqa: F401
from muomni_nano import register_models  # noqa: F401
from muomni_onnx.plugin import register_runtimes  # noqa: F401
from muomni_rvq.plugin import register_codecs  # noqa: F401
from muomni_talker.plugin import register_talkers  # noqa: F401
from muomni_tensorboard import register_callbacks  # noqa: F401
from muomni_text.plugin import register_tokenizers  # noqa: F401
from muomni_thinker.plugin import register_thinkers  # noqa: F401
from muomni_vit import plugin as images
from muomni_vocoders.plugin import register_vocoders  # noqa: F401


@hookimpl
def register_encoders() -> list[EncoderPart]:
    return [*images.register_encoders(), *audio.register_encoders()]


@hookimpl
def register_recipes() -> list[RecipeFile]:
    return [RecipeFile(name="tales", doc="another", path=ROOT / "recipes" / "stories.toml")]


@hookimpl
def register_commands(cli: typer.Typer) -> None:
    for name in ("doctor", "export"):
        cli.command(name)(lambda: print("the second one"))
