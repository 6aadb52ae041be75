"""The context of a training stage: recipe, settings, seed, device, run, data and the parts of earlier stages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from muomni_cli.audio.dsp import resample
from muomni_cli.audio.mel import codes_to_samples, encode_waves
from muomni_cli.contract.codecs import code_shape, is_waveform, sample_rate_of
from muomni_cli.contract.data import Message
from muomni_cli.contract.declarations import EncoderPart, VocoderPart
from muomni_cli.contract.models import Thinker, Tokenizer
from muomni_cli.contract.speech import Aligner, CharSpan, Codec, MelConfig, TextChunk, Vocoder
from muomni_cli.core.console import say
from muomni_cli.core.errors import RequestError
from muomni_cli.data.batches import Drawn
from muomni_cli.data.examples import DecodedExampleData, open_examples
from muomni_cli.data.prompt import Template, chat_ids, start_ids
from muomni_cli.data.sources import Validating, describe
from muomni_cli.data.speech import SpeechData, SpeechEncoders, open_speech
from muomni_cli.data.text import TextData, open_text
from muomni_cli.generation.loop import Request, Sampling, TextStream, generate
from muomni_cli.generation.torch_backend import TorchBackend
from muomni_cli.models.locate import model_named
from muomni_cli.recipe.model import has_stage
from muomni_cli.recipe.stages import DPO, OMNI, SPEAKING, SPEECH
from muomni_cli.registry.entries import open_entry
from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.runs.checkpoint import build_aside, fresh_codec, load_model, open_part, read_checkpoint, weights_of
from muomni_cli.runs.run import RunFolder
from muomni_cli.speech.asr import OTHERS
from muomni_cli.speech.wer import NO_VOCODER_MESSAGE, wer_evaluator
from muomni_cli.training.base_model import PretrainedModel, load_pretrained
from muomni_cli.training.distributed.strategy import Strategy

if TYPE_CHECKING:
    from muomni_cli.recipe.model import Recipe
    from muomni_cli.recipe.train_settings import TrainSettings

SENTENCES = 16  # per validation of a codec; they take a few seconds
Opened = TypeVar("Opened")


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
        drawn: what was drawn from the data before training was resumed.
        strategy: one process, or how several train this stage together.
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
    drawn: Drawn = ()
    strategy: Strategy = field(default_factory=Strategy)

    def tokenizer(self) -> Tokenizer:
        """The run's tokenizer, trained now if ``learn_tokenizer`` is set. RequestError if it is missing."""
        return self._tokenizer

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        if self.run.status("tokenizer") != "finished":
            base = load_pretrained(self.settings.init, self.stage) if self.stage in ("thinker", OMNI, DPO) else None
            base = base or self._base_thinks()
            if base is not None:  # it is copied when the training of a Thinker begins, and not in a dry run
                return base.tokenizer(self.recipe)
        missing = self.run.status("tokenizer") == "missing" and self.recipe.tokenizer is not None
        if missing and self.learn_tokenizer is not None:
            return self.learn_tokenizer()
        return self.run.tokenizer(self.command("tokenizer"))

    def text(self) -> TextData:
        """The recipe's text as token shards, split into train and validation. RequestError if data is missing."""
        return self._text

    @cached_property
    def _text(self) -> TextData:
        data = open_text(self.recipe, self.tokenizer(), self.progress)
        self.report(data.validating)
        val = [stream for stream in data.val if self.held_out in ("", stream.source)]
        return replace(data, train=replace(data.train, drawn=self.drawn), val=val)

    def examples(self) -> DecodedExampleData:
        """The stage's examples (of its modality, or speech), decoded and split. RequestError if data is missing."""
        return self._examples

    @cached_property
    def _examples(self) -> DecodedExampleData:
        data = open_examples(self.recipe, self.stage, self.seed, self.progress)
        self.report(data.validating)
        data.train.sampler.drawn = self.drawn
        return data

    @property
    def has_examples(self) -> bool:
        """Whether :meth:`examples` has been loaded."""
        return "_examples" in self.__dict__

    def fresh_codec(self) -> Codec:
        """The recipe's codec with random weights, for its shapes. RequestError if the recipe has none."""
        return fresh_codec(self.recipe)

    def codec(self) -> Codec:
        """The trained codec, frozen, on this stage's device. RequestError if it is not trained."""
        return self._codec

    @cached_property
    def _codec(self) -> Codec:
        fresh = self.recipe.codec is None or self._stands_in("codec")  # fresh_codec() reports a missing table
        codec: Codec = self.fresh_codec() if fresh else self._open_part("codec")
        return _frozen(codec, self.device)

    def vocoder(self) -> Vocoder | None:
        """The vocoder, frozen, if it is trained or needs no training; else None."""
        chosen = self.recipe.vocoder
        if chosen is None:
            return None
        vocoder: Vocoder
        if not has_stage("vocoder", chosen):
            mel = self.fresh_codec().mel.model_dump(mode="json")
            vocoder = build_aside(chosen.registered, chosen.config, {"mel": mel})
        elif self.run.status("vocoder") == "missing" or self.run.checkpoint("vocoder") is None:
            return None  # no checkpoint: another process has just started training it
        else:
            vocoder = self._open_part("vocoder")
        return _frozen(vocoder, self.device)

    def hidden_states(self, text: str) -> list[TextChunk]:
        """``text`` token by token, each with the trained Thinker's state that predicts it. RequestError without one."""
        return thinker_hidden_states(self._thinker, self.tokenizer(), self.recipe.chat.template, text)

    @cached_property
    def _thinker(self) -> Thinker:
        chosen = self.recipe.thinker
        thinker: Thinker
        base = self._base_thinks()
        if chosen is not None and base is not None:
            thinker = cast("Thinker", base.own_part("thinker", chosen)[0])
        elif chosen is not None and self._stands_in("thinker"):
            thinker = build_aside(chosen.registered, chosen.config, {"vocab_size": self.tokenizer().vocab_size})
        else:
            thinker = self._open_part("thinker")
        return _frozen(thinker, self.device)

    def _base_thinks(self) -> PretrainedModel | None:
        """The model that a stage of speech starts from, if this run has no Thinker of its own: the Thinker and the
        tokenizer are those of that model."""
        if self.stage not in SPEAKING or self.run.status("thinker") != "missing":
            return None
        return load_pretrained(self.settings.init, self.stage)

    def speech(self, spell: Callable[[str], str]) -> SpeechData:
        """The recipe's speech as codes of the trained codec, with the time of every character of its text. ``spell``:
        written text to spoken form ("5" to "five"). RequestError if the codec or an aligning encoder is not trained."""
        aligner, config, heard_with = self._open_aligner()
        codec = self.codec()
        target, rate = getattr(config, "sample_rate", None), sample_rate_of(codec)
        if target is None:
            raise RequestError("the encoder that aligns takes no audio samples", "align with an audio encoder")

        def resampled(wave: NDArray[np.float32]) -> NDArray[np.float32]:
            return resample(wave, rate, int(target))

        coded_with = None if self._stands_in("codec") else weights_of(self.run, "codec", self.command("codec"))
        marks = ["untrained" if path is None else _fingerprint(path) for path in (heard_with, coded_with)]
        data = self.examples()
        weights = [source.weight for source in self.recipe.data.sources[SPEECH]]
        encoders = SpeechEncoders(partial(encode_waves, codec), aligner, marks, spell, resampled)
        speech = open_speech(data, encoders, weights, self.seed, self.progress)
        speech.train.sampler.drawn = self.drawn
        return speech

    def _open_aligner(self) -> tuple[Aligner, Any, Path | None]:
        """The recipe's encoder that can align, its config and its weights (None if untrained), from this run or the
        model in ``init_encoders``. RequestError if there is none, or it is not trained."""
        encoders, init = self.recipe.encoders, self.settings.init_encoders
        able = [name for name, chosen in encoders.items() if _align_of(chosen.registered.part)]
        modality = next(iter([*able, *init]), None)
        if modality is None:
            raise RequestError(
                f"recipe {self.recipe.name} has no encoder that can align text with speech",
                "add [encoders.audio] with one that can, and train it on the same speech, or name a model with one: "
                'train.talker.init_encoders={audio="MODEL"}',
            )
        if self._aligner_stands_in(modality):
            rate = encoders[modality].config.sample_rate if able else sample_rate_of(self.codec())  # type: ignore[attr-defined]
            return Evenly(rate), MelConfig(sample_rate=rate), None
        if modality in init:
            return aligner_of(init[modality], modality, self.device)
        return _trained_aligner(self.run, modality, self.command(modality), self.device)

    def _aligner_stands_in(self, modality: str) -> bool:
        """Whether a dry run does without the aligning encoder, because it is not trained."""
        if (named := self.settings.init_encoders.get(modality)) is None:
            return self._stands_in(modality)
        if not self.trial:
            return False
        try:
            return model_named(named).run().checkpoint(modality) is None
        except RequestError:
            return True

    def understood(self, codec: Codec) -> dict[str, float]:
        """Word error rates of a few held-out recordings (``wer_original``) and of their resynthesis by ``codec``
        (``wer``). Empty if the recognizer (``muomni[eval]``) or a vocoder is missing: ``progress`` reports it once."""
        return self._understood(codec)

    @cached_property
    def _understood(self) -> Callable[[Codec], dict[str, float]]:
        return Resynthesis(self)

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
        start = start_ids(tokenizer)
        requests = [
            Request([*start, *tokenizer.encode(prompt)], sampling, seed=self.seed + row, max_tokens=max_tokens)
            for row, prompt in enumerate(prompts)
        ]
        texts = [""] * len(requests)
        for event in generate(TorchBackend(thinker, chosen.registered.part.capabilities), tokenizer, requests):
            texts[event.row] += event.text
        return texts

    def _stands_in(self, stage: str) -> bool:
        """Whether an untrained part replaces that of ``stage``, in a dry run."""
        return self.trial and self.run.status(stage) == "missing"

    def _open_part(self, stage: str) -> Any:
        return open_part(self.run, stage, self.command(stage))[0]


def _frozen(part: Opened, device: torch.device) -> Opened:
    cast("nn.Module", part).eval().requires_grad_(False).to(device)
    return part


@torch.no_grad()
def thinker_hidden_states(thinker: Thinker, tokenizer: Tokenizer, template: Template, text: str) -> list[TextChunk]:
    """An answer token by token, each with the (D,) state that predicts it; tokens beyond the context have none."""
    layout = chat_ids(tokenizer, [Message("assistant", text)], template)
    ids, answer = (row[: thinker.config.ctx_len] for row in (layout.ids, layout.answer))
    device = thinker.head_weight.device
    states = thinker.hidden(torch.tensor([ids], device=device))[0].float().cpu().numpy()
    stream = TextStream(tokenizer)
    places = [place for place, said in enumerate(answer) if said and place > 0]
    said = [TextChunk(stream.push(ids[place]), states[place - 1]) for place in places]
    rest = text[len("".join(piece.text for piece in said)) :]
    return [*said, TextChunk(rest)] if rest else said


def _align_of(part: Any) -> str | None:
    return part.align if isinstance(part, EncoderPart) else None


def aligner_of(model: str, modality: str, device: torch.device) -> tuple[Aligner, Any, Path]:
    """The encoder of a model that aligns, its config, and the file that identifies its weights: that of its run, or of
    its bundle if only that has the head. RequestError if there is none, or it is not trained."""
    found = model_named(model)
    trained = found.folder is not None and found.folder.checkpoint(modality) is not None
    if found.bundle is not None and not trained:
        engine = found.bundle.open("cpu")
        if modality in engine.heads:
            registered, config = open_entry(engine.heads[modality])
            if _align_of(registered.part):
                aligner = cast("Aligner", engine.transcriber())
                return aligner, config, found.bundle.root / found.bundle.runtime.marker
    run = found.run()
    return _trained_aligner(run, modality, f"muomni train {modality} {run.recipe_path} --run {run.name}", device)


def _trained_aligner(run: RunFolder, modality: str, command: str, device: torch.device) -> tuple[Aligner, Any, Path]:
    registered, config, _ = run.part(modality, command)
    align = _align_of(registered.part)
    if align is None:
        raise RequestError(
            f"the {modality} encoder of {run.root} cannot align", "name another run in train.talker.init_encoders"
        )
    weights = weights_of(run, modality, command)
    aligner = resolve(align, f"encoder {registered.use}")(config)
    load_model(aligner, read_checkpoint(weights), ema=True)
    return _frozen(aligner, device), config, weights


class Evenly:
    """An :class:`muomni_cli.contract.speech.Aligner` for dry runs: every character takes equally long."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate

    def align(self, waves: Sequence[NDArray[np.float32]], texts: Sequence[str]) -> list[list[CharSpan] | None]:
        return [[CharSpan(0, len(text), 0.0, len(wave) / self._rate)] for wave, text in zip(waves, texts, strict=True)]

    def fit(self, wave: NDArray[np.float32], texts: Sequence[str]) -> list[float]:  # noqa: ARG002
        return [0.0] * len(texts)


def _fingerprint(weights: Path) -> str:
    with weights.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=12)).hexdigest()


class Resynthesis:
    """Word error rate of held-out recordings before and after a codec; see :meth:`TrainingContext.understood`."""

    def __init__(self, context: TrainingContext) -> None:
        self._context = context
        examples = context.examples().val
        order = np.random.default_rng(0).permutation(len(examples)).tolist()
        texts = [examples.texts[row] for row in order[:SENTENCES]]
        others = (examples.texts[row] for row in order[SENTENCES : SENTENCES + 2 * OTHERS])
        self._evaluator = wer_evaluator(texts, others, context.progress)
        rows = self._evaluator.rows if self._evaluator else []
        self._waves: list[NDArray[np.float32]] = [np.array(examples.inputs[order[row]]) for row in rows]
        self._vocoder: Vocoder | None = None
        self._original: float | None = None

    def __call__(self, codec: Codec) -> dict[str, float]:
        if self._evaluator is None:
            return {}
        rate, device = sample_rate_of(codec), self._context.device
        if self._vocoder is None and not is_waveform(codec):
            self._vocoder = self._context.vocoder()
            parts = [one for one in get_registry().all(VocoderPart.kind) if not one.part.borrowed]
            free = [one for one in parts if one.part.objective is None]
            if self._vocoder is None and free:  # the first that needs no training
                mel = codec.mel.model_dump(mode="json")
                self._vocoder = _frozen(build_aside(free[0], free[0].part.config(), {"mel": mel}), device)
            if self._vocoder is None:
                self._context.progress(NO_VOCODER_MESSAGE)
                self._evaluator = None
                return {}
        if self._original is None:
            self._original = self._evaluator.evaluate(self._waves, rate).errors.rate
        made = []
        with torch.autocast(device.type, enabled=False):  # in the precision of inference
            for wave in self._waves:
                codes = encode_waves(codec, [wave])[0]
                made.append(codes_to_samples(codec, self._vocoder, codes, device)[: wave.size])
        return {"wer_original": self._original, "wer": self._evaluator.evaluate(made, rate).errors.rate}
