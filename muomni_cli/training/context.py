"""The context of a training stage: recipe, settings, seed, device, run, data and the parts of earlier stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from muomni_cli.contract.models import Thinker, Tokenizer
from muomni_cli.contract.speech import Codec, TextChunk, Vocoder
from muomni_cli.core.console import say
from muomni_cli.data.examples import DecodedExampleData, open_examples
from muomni_cli.data.sources import Validating, describe
from muomni_cli.data.speech import SpeechData
from muomni_cli.data.text import TextData, open_text
from muomni_cli.generation.loop import Request, Sampling, generate
from muomni_cli.generation.torch_backend import TorchBackend
from muomni_cli.recipe.model import OMNI
from muomni_cli.runs import checkpoint
from muomni_cli.runs.run import RunFolder, code_shape
from muomni_cli.training import speech_parts
from muomni_cli.training.base_model import load_pretrained

if TYPE_CHECKING:
    from muomni_cli.recipe import Recipe, TrainSettings


def part_arguments(recipe: Recipe, stage: str, context: TrainingContext) -> dict[str, Any]:
    """The ``build`` arguments of the part of ``stage``, as stored in ``model.json``. RequestError if one is missing."""
    if stage == "thinker":
        return {"vocab_size": context.tokenizer().vocab_size}
    if stage == "vocoder":
        return {"mel": context.fresh_codec().mel.model_dump(mode="json")}
    if stage == "talker":
        voices = sorted({*context.examples().train.voices})
        width = 0 if recipe.thinker is None else int(recipe.thinker.config.d_model)  # type: ignore[attr-defined]
        return {"codes": asdict(code_shape(context.fresh_codec())), "voices": voices, "thinker_width": width}
    return {}


@dataclass(frozen=True)
class TrainingContext:
    """One stage of one recipe on one device. A missing part is reported with the command that trains it.

    Args:
        progress: receives lines about long preparations, such as tokenizing.
        held_out: validate on the text of this source only; empty for all sources.
        reports: print the number of validation items per source.
        learn_tokenizer: trains the tokenizer if the run has none; without it, a missing tokenizer is an error.
        trial: a dry run: nothing is saved, and missing parts are replaced by untrained ones.
    """

    recipe: Recipe
    stage: str
    settings: TrainSettings
    seed: int
    device: torch.device
    run: RunFolder
    progress: Callable[[str], None] = say
    held_out: str = ""
    reports: bool = False
    learn_tokenizer: Callable[[], Tokenizer] | None = None
    trial: bool = False

    def tokenizer(self) -> Tokenizer:
        """The run's tokenizer, trained now if ``learn_tokenizer`` is set. RequestError if it is missing."""
        return self._tokenizer

    def text(self) -> TextData:
        """The recipe's text as token shards, split into train and validation. RequestError if data is missing."""
        return self._text

    def examples(self) -> DecodedExampleData:
        """The stage's examples (of its modality, or speech), decoded and split. RequestError if data is missing."""
        return self._examples

    @property
    def has_examples(self) -> bool:
        """Whether :meth:`examples` has been loaded."""
        return "_examples" in self.__dict__

    def fresh_codec(self) -> Codec:
        """The recipe's codec with random weights, for its shapes. RequestError if the recipe has none."""
        return checkpoint.fresh_codec(self.recipe)

    def codec(self) -> Codec:
        """The trained codec, frozen, on this stage's device. RequestError if it is not trained."""
        return self._codec

    def vocoder(self) -> Vocoder | None:
        """The vocoder, frozen, if it is trained or needs no training; else None."""
        return speech_parts.open_vocoder(self)

    def hidden_states(self, text: str) -> list[TextChunk]:
        """``text`` token by token, each with the trained Thinker's state that predicts it. RequestError if there is
        none."""
        template = self.recipe.chat.template
        return speech_parts.thinker_hidden_states(self._thinker, self.tokenizer(), template, text)

    def speech(self, spell: Callable[[str], str]) -> SpeechData:
        """The recipe's speech as codes of the trained codec, with the time of every character of its text. ``spell``:
        the spoken form of a written text, such as "five" for "5". RequestError if the codec or an aligning encoder is
        not trained."""
        return speech_parts.open_stage_speech(self, spell)

    def understood(self, codec: Codec) -> dict[str, float]:
        """Word error rates of a few held-out recordings (``wer_original``) and of their resynthesis by ``codec``
        (``wer``). Empty if the recognizer (``muomni[eval]``) or a vocoder is missing, which ``progress`` reports once.
        """
        return self._understood(codec)

    def report(self, validating: Sequence[Validating]) -> None:
        """Print the number of validation items of each source, with a warning where they are few."""
        for line in describe(validating) if self.reports else ():
            self.progress(line)

    def command(self, stage: str) -> str:
        """The command that trains ``stage``."""
        option = "" if self.run.name == self.recipe.name else f" --run {self.run.name}"
        return f"muomni train {stage} {self.recipe.source}{option}"

    def generate(self, thinker: Thinker, prompts: Sequence[str], max_tokens: int) -> list[str]:
        """Continuations of ``prompts`` with the recipe's chat settings; deterministic."""
        tokenizer, chat, chosen = self.tokenizer(), self.recipe.chat, self.recipe.thinker
        assert chosen is not None, "a stage that generates has a Thinker"
        sampling = Sampling(
            temperature=chat.temperature,
            top_k=chat.top_k,
            top_p=chat.top_p,
            min_p=chat.min_p,
            repetition_penalty=chat.repetition_penalty,
        )
        bos = tokenizer.specials["bos"]
        requests = [
            Request([bos, *tokenizer.encode(prompt)], sampling, seed=self.seed + row, max_tokens=max_tokens)
            for row, prompt in enumerate(prompts)
        ]
        texts = [""] * len(requests)
        for event in generate(TorchBackend(thinker, chosen.registered.part.capabilities), tokenizer, requests):
            texts[event.row] += event.text
        return texts

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        if self.stage == OMNI and self.run.status("tokenizer") != "finished":
            base = load_pretrained(self.settings.init)
            if base is not None:  # a dry run, which copies no tokenizer
                return base.tokenizer(self.recipe)
        missing = self.run.status("tokenizer") == "missing" and self.recipe.tokenizer is not None
        if missing and self.learn_tokenizer is not None:
            return self.learn_tokenizer()
        return self.run.tokenizer(self.command("tokenizer"))

    @cached_property
    def _examples(self) -> DecodedExampleData:
        data = open_examples(self.recipe, self.stage, self.seed, self.progress)
        self.report(data.validating)
        return data

    @cached_property
    def _thinker(self) -> Thinker:
        return speech_parts.open_thinker(self)

    @cached_property
    def _codec(self) -> Codec:
        return speech_parts.open_codec(self)

    @cached_property
    def _understood(self) -> Callable[[Codec], dict[str, float]]:
        return speech_parts.Resynthesis(self)

    @cached_property
    def _text(self) -> TextData:
        data = open_text(self.recipe, self.tokenizer(), self.progress)
        self.report(data.validating)
        return replace(data, val=[stream for stream in data.val if self.held_out in ("", stream.source)])
