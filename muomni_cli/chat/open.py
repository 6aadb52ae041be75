"""Opening a model for talking: finds it, says which it is, and wraps it. Leads to torch only for a run."""

from __future__ import annotations

from collections.abc import Callable, Collection

from muomni_cli.chat.aloud import Mouth
from muomni_cli.chat.settings import AnswerSettings, Changes, apply, from_recipe
from muomni_cli.chat.speaker import Speaker, text_alone
from muomni_cli.contract.packed import Packed
from muomni_cli.core.console import say
from muomni_cli.models.bundle import senses_of
from muomni_cli.models.find import find_able
from muomni_cli.models.open import THINKS, model_in, require_torch
from muomni_cli.omni.senses import Senses
from muomni_cli.speaking.aloud import Ways
from muomni_cli.speaking.bundle import voice_of

DEFAULT_SEED = 0


def open_speaker(
    spec: str | None,
    changes: Changes,
    *,
    device: str = "auto",
    threads: int | None = None,
    hidden: bool = False,
    abilities: Collection[str] = (),
) -> tuple[Speaker, AnswerSettings]:
    """Open ``spec`` and settle how it shall answer.

    Args:
        spec: see :func:`muomni_cli.models.find.find_able`.
        changes: to how the model's recipe says that it answers.
        device: ``auto``, ``cpu``, ``cuda``, ...
        threads: CPU threads.
        hidden: let it keep the Thinker's states, which a Talker hears.
        abilities: what it must be able to do where none is named; see there.

    Raises:
        RequestError: no such model, or settings that cannot be.
        MuomniError: a run, and PyTorch is not installed.
    """
    meant = find_able(spec, THINKS, abilities)
    if meant.bundle is not None:
        packed = meant.bundle.open(device, threads)
        settings, speaker = settings_of(packed, changes), speaker_of(packed, say, keep=True, hidden=hidden)
        say(f"model: {packed.label}")
        return speaker, settings
    found = model_in(meant)
    settings = apply(from_recipe(found.chat, DEFAULT_SEED), changes)
    require_torch(found.run)
    import torch

    from muomni_cli.generation.torch_backend import TorchBackend

    if threads is not None:
        torch.set_num_threads(threads)
    model = found.open(device)
    backend = TorchBackend(model.thinker, model.can, keep=True, frozen=True, hidden=hidden)
    say(f"model: {found.label}")
    take_in = text_alone if model.omni is None else Senses(model.omni.encode, model.senses, backend.context, say)
    return Speaker(backend, found.tokenizer(), found.label, take_in, model.senses, hidden), settings


def settings_of(packed: Packed, changes: Changes) -> AnswerSettings:
    """How a model that runs without PyTorch shall answer: as its recipe says, but for ``changes``.

    Raises:
        RequestError: settings that cannot be.
    """
    from muomni_cli.recipe.settings import ChatSettings

    return apply(from_recipe(ChatSettings.model_validate(packed.chat), DEFAULT_SEED), changes)


def speaker_of(packed: Packed, notice: Callable[[str], None], *, keep: bool = False, hidden: bool = False) -> Speaker:
    """What answers of a model that runs without PyTorch.

    Args:
        packed: the model.
        notice: told when the end of a sound is left out.
        keep: for a conversation: what has been read is not read again.
        hidden: let it keep the Thinker's states, which a Talker hears.

    Raises:
        RequestError: it has no Thinker or no tokenizer.
    """
    backend, senses = packed.backend(keep=keep, hidden=hidden), senses_of(packed)
    take_in = Senses(packed.encode, senses, backend.context, notice)
    return Speaker(backend, packed.tokenizer(), packed.label, take_in, senses, hidden)


def open_mouth(
    spec: str | None,
    ways: Ways,
    *,
    voice: str | None = None,
    vocoder: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    abilities: Collection[str] = (),
) -> Mouth:
    """What speaks the answers of the model that :func:`open_speaker` opens for ``spec`` and ``abilities``.

    Raises:
        RequestError: the model has no Talker, no such voice, or a vocoder that is not trained.
    """
    from muomni_cli.speaking.open import open_voice, speaking_with

    meant = find_able(spec, THINKS, abilities)
    if meant.bundle is not None:
        opened = voice_of(meant.bundle.open(device, threads), vocoder)
    else:
        speaking = speaking_with(model_in(meant).run, vocoder)
        require_torch(speaking.run)
        opened = open_voice(speaking, device)
    say(f"speaking with {opened.label} and {opened.vocoder_name}")
    return Mouth(opened, opened.manner(voice), ways)
