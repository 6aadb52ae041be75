"""Opening a model for talking: finds it, says which it is, and wraps it. The one file here that leads to torch."""

from __future__ import annotations

from muomni_cli.chat.aloud import Mouth
from muomni_cli.chat.settings import AnswerSettings, Changes, apply, from_recipe
from muomni_cli.chat.speaker import Speaker
from muomni_cli.console import say
from muomni_cli.runs.model import find_model
from muomni_cli.speaking.aloud import Ways

DEFAULT_SEED = 0


def open_speaker(
    spec: str | None, changes: Changes, *, device: str = "auto", threads: int | None = None, hidden: bool = False
) -> tuple[Speaker, AnswerSettings]:
    """Open ``spec`` (see :func:`muomni_cli.runs.model.find_model`) and settle how it shall answer.

    ``hidden``: let it keep the Thinker's states, which a Talker hears.

    Raises:
        RequestError: no such model, or settings that cannot be.
    """
    found = find_model(spec)
    settings = apply(from_recipe(found.chat, DEFAULT_SEED), changes)
    import torch

    from muomni_cli.generation.torch_backend import TorchBackend

    if threads is not None:
        torch.set_num_threads(threads)
    model = found.open(device)
    backend = TorchBackend(model.thinker, model.can, keep=True, frozen=True, hidden=hidden)
    say(f"model: {found.label}")
    if model.omni is None:
        return Speaker(backend, found.tokenizer(), found.label, hidden=hidden), settings
    from muomni_cli.omni.senses import Senses

    take_in = Senses(model.omni, model.senses, backend.context, say)
    return Speaker(backend, found.tokenizer(), found.label, take_in, model.senses, hidden), settings


def open_mouth(
    spec: str | None, ways: Ways, *, voice: str | None = None, vocoder: str | None = None, device: str = "auto"
) -> Mouth:
    """What speaks the answers of the model that :func:`open_speaker` opens for ``spec``.

    Raises:
        RequestError: the model has no Talker, no such voice, or a vocoder that is not trained.
    """
    from muomni_cli.speaking.open import open_voice, speaking_with

    opened = open_voice(speaking_with(find_model(spec).run, vocoder), device)
    say(f"speaking with {opened.label} and {opened.vocoder_name}")
    return Mouth(opened, opened.manner(voice), ways)
