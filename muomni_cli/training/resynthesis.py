"""Word error rate of held-out speech resynthesized by the codec, as a validation metric. Imports torch."""

from __future__ import annotations

import numpy as np
import torch

from muomni_cli.contract.speech import Codec, Vocoder
from muomni_cli.sound.coding import decode_codes, encode_waves, to_samples
from muomni_cli.speech.hearing import NO_VOCODER_MESSAGE, Wave, WerEvaluator, wer_evaluator
from muomni_cli.speech.judge import OTHERS
from muomni_cli.training.voice_parts import SpeechStage, any_vocoder

COUNT = 16
"""Sentences that are recognized, which takes a few seconds each time."""


class Resynthesis:
    """Held-out recordings and a recognizer for them, to score what a codec makes of them."""

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
        """``wer_original`` and ``wer``; empty if there is no recognizer or no vocoder."""
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
