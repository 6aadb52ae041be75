"""The trained parts that a speech stage needs (codec, vocoder, Thinker, aligner); word error rates of resynthesis."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from muomni_cli.audio.dsp import resample
from muomni_cli.audio.mel import decode_codes, encode_waves, to_samples
from muomni_cli.contract.data import Message
from muomni_cli.contract.declarations import EncoderPart, VocoderPart
from muomni_cli.contract.models import Thinker, Tokenizer
from muomni_cli.contract.speech import Aligner, CharSpan, Codec, TextChunk, Vocoder
from muomni_cli.core.errors import RequestError
from muomni_cli.data.examples import DecodedExampleData
from muomni_cli.data.prompt import Template, chat_ids
from muomni_cli.data.speech import SpeechData, SpeechEncoders, open_speech
from muomni_cli.generation.loop import TextStream
from muomni_cli.models.locate import model_named
from muomni_cli.recipe.model import SPEECH
from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.runs.checkpoint import (
    build_aside,
    codec_of,
    fresh_codec,
    load_model,
    open_part,
    read_checkpoint,
    weights_of,
)
from muomni_cli.runs.run import RunFolder
from muomni_cli.speech.asr import OTHERS
from muomni_cli.speech.wer import NO_VOCODER_MESSAGE, Wave, WerEvaluator, wer_evaluator

if TYPE_CHECKING:
    from muomni_cli.recipe import Recipe, TrainSettings

COUNT = 16  # sentences per validation; they take a few seconds


class SpeechStage(Protocol):
    """The stage that parts are opened for; see :class:`muomni_cli.training.context.TrainingContext`."""

    @property
    def recipe(self) -> Recipe: ...
    @property
    def settings(self) -> TrainSettings: ...
    @property
    def seed(self) -> int: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def run(self) -> RunFolder: ...
    @property
    def progress(self) -> Callable[[str], None]: ...
    @property
    def trial(self) -> bool: ...
    def tokenizer(self) -> Tokenizer: ...
    def examples(self) -> DecodedExampleData: ...
    def codec(self) -> Codec: ...
    def command(self, stage: str) -> str: ...


def open_codec(context: SpeechStage) -> Codec:
    codec_of(context.recipe)
    if _stands_in(context, "codec"):
        return cast("Codec", _frozen(cast("nn.Module", fresh_codec(context.recipe)), context))
    module, _ = open_part(context.run, "codec", context.command("codec"))
    return cast("Codec", _frozen(module, context))


def open_vocoder(context: SpeechStage) -> Vocoder | None:
    """The run's vocoder if it is trained or needs no training; else None."""
    chosen = context.recipe.vocoder
    if chosen is None:
        return None
    if chosen.registered.part.objective is None:
        mel = fresh_codec(context.recipe).mel.model_dump(mode="json")
        return cast("Vocoder", _frozen(build_aside(chosen.registered, chosen.config, {"mel": mel}), context))
    if context.run.status("vocoder") == "missing" or context.run.checkpoint("vocoder") is None:
        return None  # no checkpoint: another process has just started training it
    return cast("Vocoder", _frozen(open_part(context.run, "vocoder", context.command("vocoder"))[0], context))


def any_vocoder(context: SpeechStage, codec: Codec) -> Vocoder | None:
    """The run's vocoder, else the first registered one that needs no training."""
    own = open_vocoder(context)
    if own is not None:
        return own
    mel = codec.mel.model_dump(mode="json")
    for registered in get_registry().all(VocoderPart.kind):
        if registered.part.objective is None:
            return cast("Vocoder", _frozen(build_aside(registered, registered.part.config(), {"mel": mel}), context))
    return None


def open_thinker(context: SpeechStage) -> Thinker:
    chosen = context.recipe.thinker
    if chosen is not None and _stands_in(context, "thinker"):
        entry = {"vocab_size": context.tokenizer().vocab_size}
        return cast("Thinker", _frozen(build_aside(chosen.registered, chosen.config, entry), context))
    module, _ = open_part(context.run, "thinker", context.command("thinker"))
    return cast("Thinker", _frozen(module, context))


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


def open_aligner(context: SpeechStage) -> tuple[Aligner, Any, Path | None]:
    """The recipe's encoder that can align, its config and its weights (None if untrained), from this run or the one in
    ``init_encoders``. RequestError if there is none, or it is not trained."""
    found = [(name, c) for name, c in context.recipe.encoders.items() if _align_of(c.registered.part)]
    if not found:
        raise RequestError(
            f"recipe {context.recipe.name} has no encoder that can align text with speech",
            "add [encoders.audio] with one that can, and train it on the same speech",
        )
    modality, chosen = found[0]
    if modality not in context.settings.init_encoders and _stands_in(context, modality):
        return Evenly(chosen.config.sample_rate), chosen.config, None  # type: ignore[attr-defined]
    run, command = context.run, context.command(modality)
    if modality in context.settings.init_encoders:
        run = model_named(context.settings.init_encoders[modality]).run()
        command = f"muomni train {modality} {run.recipe_path} --run {run.name}"
    registered, config, _ = run.part(modality, command)
    align = _align_of(registered.part)
    if align is None:
        raise RequestError(
            f"the {modality} encoder of {run.root} cannot align", "name another run in train.talker.init_encoders"
        )
    weights = weights_of(run, modality, command)
    module: nn.Module = resolve(align, f"encoder {chosen.use}")(config)
    load_model(module, read_checkpoint(weights), ema=True)
    return cast("Aligner", _frozen(module, context)), config, weights


def _align_of(part: Any) -> str | None:
    return part.align if isinstance(part, EncoderPart) else None


def open_stage_speech(context: SpeechStage, spell: Callable[[str], str]) -> SpeechData:
    aligner, config, heard_with = open_aligner(context)
    codec = context.codec()
    target, rate = getattr(config, "sample_rate", None), codec.mel.sample_rate
    if target is None:
        raise RequestError("the encoder that aligns takes no audio samples", "align with an audio encoder")

    def resampled(wave: NDArray[np.float32]) -> NDArray[np.float32]:
        return resample(wave, rate, int(target))

    coded_with = None if _stands_in(context, "codec") else weights_of(context.run, "codec", context.command("codec"))
    marks = [_fingerprint(heard_with), _fingerprint(coded_with)]
    data = context.examples()
    weights = [source.weight for source in context.recipe.data.sources[SPEECH]]
    encoders = SpeechEncoders(partial(encode_waves, codec), aligner, marks, spell, resampled)
    return open_speech(data, encoders, weights, context.seed, context.progress)


class Evenly:
    """An :class:`muomni_cli.contract.speech.Aligner` for dry runs: every character takes equally long."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate

    def align(self, waves: Sequence[NDArray[np.float32]], texts: Sequence[str]) -> list[list[CharSpan] | None]:
        return [[CharSpan(0, len(text), 0.0, len(wave) / self._rate)] for wave, text in zip(waves, texts, strict=True)]


def _stands_in(context: SpeechStage, stage: str) -> bool:
    """Whether an untrained part replaces that of ``stage``, in a dry run."""
    return context.trial and context.run.status(stage) == "missing"


def _fingerprint(weights: Path | None) -> str:
    if weights is None:
        return "untrained"
    with weights.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=12)).hexdigest()


def _frozen(module: nn.Module, context: SpeechStage) -> nn.Module:
    return module.eval().requires_grad_(False).to(context.device)


class Resynthesis:
    """Word error rate of held-out recordings before and after a codec; see ``TrainingContext.understood``."""

    def __init__(self, context: SpeechStage) -> None:
        self._context = context
        examples = context.examples().val
        order = np.random.default_rng(0).permutation(len(examples)).tolist()
        texts = [examples.texts[row] for row in order[:COUNT]]
        others = (examples.texts[row] for row in order[COUNT : COUNT + 2 * OTHERS])
        self._evaluator: WerEvaluator | None = wer_evaluator(texts, others, context.progress)
        rows = self._evaluator.rows if self._evaluator else []
        self._waves: list[Wave] = [np.array(examples.inputs[order[row]]) for row in rows]
        self._vocoder: Vocoder | None = None
        self._original: float | None = None

    def __call__(self, codec: Codec) -> dict[str, float]:
        if self._evaluator is None:
            return {}
        if self._vocoder is None:
            self._vocoder = any_vocoder(self._context, codec)
        if self._vocoder is None:
            self._context.progress(NO_VOCODER_MESSAGE)
            self._evaluator = None
            return {}
        rate, device = codec.mel.sample_rate, self._context.device
        if self._original is None:
            self._original = self._evaluator.evaluate(self._waves, rate).errors.rate
        with torch.autocast(device.type, enabled=False):  # in the precision of inference
            made = [resynthesized(codec, self._vocoder, wave, device)[1] for wave in self._waves]
        return {"wer_original": self._original, "wer": self._evaluator.evaluate(made, rate).errors.rate}


def resynthesized(codec: Codec, vocoder: Vocoder, wave: Wave, device: torch.device) -> tuple[Wave, Wave]:
    """(N,) samples through their codes -> (M,F) log-mel and (N,) samples."""
    mel = decode_codes(codec, encode_waves(codec, [wave])[0])
    return mel, to_samples(vocoder, mel, device)[: wave.size]
