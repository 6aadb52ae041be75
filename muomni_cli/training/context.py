"""What an objective sees of the host: recipe, stage, settings, seed, device and run, and the parts of earlier stages.

A part that is missing is reported together with the command that makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from muomni_cli.contract.models import Thinker, Tokenizer
from muomni_cli.contract.speech import Codec, TextChunk, Vocoder
from muomni_cli.core.console import say
from muomni_cli.recipe.model import OMNI
from muomni_cli.runs.run import RunFolder, build_arguments, code_shape

if TYPE_CHECKING:
    from muomni_cli.data.examples import DecodedExampleData
    from muomni_cli.data.speech import SpeechData
    from muomni_cli.data.text import TextData
    from muomni_cli.data.validation_size import Validating
    from muomni_cli.recipe import Recipe, TrainSettings


@dataclass(frozen=True, slots=True)
class Arguments:
    """Arguments of a part's ``build``, as ``model.json`` holds them."""

    written: Mapping[str, Any]

    @property
    def built(self) -> dict[str, Any]:
        """As ``build`` takes them."""
        return build_arguments(self.written)


def part_arguments(recipe: Recipe, stage: str, context: TrainingContext) -> Arguments:
    """The arguments for the part that ``stage`` trains.

    Raises:
        RequestError: a part that must come before it is missing; names the command that makes it.
    """
    if stage == "thinker":
        return Arguments({"vocab_size": context.tokenizer().vocab_size})
    if stage == "vocoder":
        return Arguments({"mel": context.fresh_codec().mel.model_dump(mode="json")})
    if stage == "talker":
        voices = sorted({*context.examples().train.voices})
        width = 0 if recipe.thinker is None else int(recipe.thinker.config.d_model)  # type: ignore[attr-defined]
        return Arguments({"codes": asdict(code_shape(context.fresh_codec())), "voices": voices, "thinker_width": width})
    return Arguments({})


@dataclass(frozen=True)
class TrainingContext:
    """One stage of one recipe on one device.

    Args:
        progress: told of long preparations, such as tokenising.
        held_out: the source whose text is for validation, if not all are.
        reports: whether to say how many items validate.
        learn_tokenizer: makes the tokenizer where the run has none yet; without it, that is an error.
        trial: nothing is kept: parts that earlier stages would make are stood in for by untrained ones.
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
        """The run's tokenizer, made now where it is not there and ``learn_tokenizer`` can make it.

        Raises:
            RequestError: if it has not been trained; names the command.
        """
        return self._tokenizer

    def text(self) -> TextData:
        """The recipe's text as token shards, split into train and validation; made on first use.

        Raises:
            RequestError: for data that is not there.
        """
        return self._text

    def examples(self) -> DecodedExampleData:
        """The recipe's examples for this stage, of its modality or of speech, decoded and split; made on first use.

        Raises:
            RequestError: for data that is not there.
        """
        return self._examples

    @property
    def has_examples(self) -> bool:
        """Whether :meth:`examples` has been asked for."""
        return "_examples" in self.__dict__

    def fresh_codec(self) -> Codec:
        """The recipe's codec with random weights, for those who want to know its shapes.

        Raises:
            RequestError: if the recipe names none.
        """
        from muomni_cli.runs.checkpoint import fresh_codec

        return fresh_codec(self.recipe)

    def codec(self) -> Codec:
        """The run's trained codec, in evaluation mode on this stage's device, without gradients.

        Raises:
            RequestError: if it has not been trained; names the command.
        """
        return self._codec

    def vocoder(self) -> Vocoder | None:
        """The run's vocoder likewise, if it is trained or needs no training."""
        from muomni_cli.training.speech_parts import open_vocoder

        return open_vocoder(self)

    def hidden_states(self, text: str) -> list[TextChunk]:
        """``text`` token by token, each with the state of the run's trained Thinker that would have chosen it.

        Raises:
            RequestError: if the Thinker has not been trained; names the command.
        """
        from muomni_cli.training.speech_parts import thinker_hidden_states

        return thinker_hidden_states(self._thinker, self.tokenizer(), self.recipe.chat.template, text)

    def speech(self, spell: Callable[[str], str]) -> SpeechData:
        """The recipe's speech as the run's codec encodes it, with the times of every character of its text.

        Args:
            spell: what is spoken of a written text, such as "five" of "5"; empty if nothing.

        Raises:
            RequestError: if the codec, or an encoder that can align, has not been trained; names the command.
        """
        from muomni_cli.training.speech_parts import open_stage_speech

        return open_stage_speech(self, spell)

    def understood(self, codec: Codec) -> dict[str, float]:
        """How much of a few held-out sounds a recogniser of others understands: the word error rates of the sounds
        themselves, ``wer_original``, and of what ``codec`` makes of them, ``wer``.

        Empty where the recogniser (``muomni[eval]``) or any vocoder is missing; ``progress`` is told so once.
        """
        return self._understood(codec)

    def report(self, validating: Sequence[Validating]) -> None:
        """Say how many items of each source validate, and warn where they are few."""
        from muomni_cli.data.validation_size import describe

        for line in describe(validating) if self.reports else ():
            self.progress(line)

    def command(self, stage: str) -> str:
        """What the user types to train ``stage``."""
        option = "" if self.run.name == self.recipe.name else f" --run {self.run.name}"
        return f"muomni train {stage} {self.recipe.source}{option}"

    def generate(self, thinker: Thinker, prompts: Sequence[str], max_tokens: int) -> list[str]:
        """Continuations of ``prompts`` with the recipe's chat settings, always the same for the same weights."""
        from muomni_cli.generation.loop import Request, Sampling, generate
        from muomni_cli.generation.torch_backend import TorchBackend

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
            from muomni_cli.training.base_model import load_pretrained

            if (before := load_pretrained(self.settings.init)) is not None:  # where nothing is written: a dry run
                return before.tokenizer(self.recipe)
        missing = self.run.status("tokenizer") == "missing" and self.recipe.tokenizer is not None
        if missing and self.learn_tokenizer is not None:
            return self.learn_tokenizer()
        return self.run.tokenizer(self.command("tokenizer"))

    @cached_property
    def _examples(self) -> DecodedExampleData:
        from muomni_cli.data.examples import open_examples

        data = open_examples(self.recipe, self.stage, self.seed, self.progress)
        self.report(data.validating)
        return data

    @cached_property
    def _thinker(self) -> Thinker:
        from muomni_cli.training.speech_parts import open_thinker

        return open_thinker(self)

    @cached_property
    def _codec(self) -> Codec:
        from muomni_cli.training.speech_parts import open_codec

        return open_codec(self)

    @cached_property
    def _understood(self) -> Callable[[Codec], dict[str, float]]:
        from muomni_cli.training.speech_parts import Resynthesis

        return Resynthesis(self)

    @cached_property
    def _text(self) -> TextData:
        from muomni_cli.data.text import open_text

        data = open_text(self.recipe, self.tokenizer(), self.progress)
        self.report(data.validating)
        return replace(data, val=[stream for stream in data.val if self.held_out in ("", stream.source)])
