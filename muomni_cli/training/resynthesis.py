"""A codec in training, as it sounds: how much of held-out speech is understood after it. Imports torch, no part by
name."""

from __future__ import annotations

import numpy as np
import torch

from muomni_cli.contract.speech import Codec, Vocoder
from muomni_cli.sound.coding import decode_codes, encode_waves, to_samples
from muomni_cli.speech.hearing import MUTE, Hearing, Wave, hearing
from muomni_cli.speech.judge import OTHERS
from muomni_cli.training.voice_parts import SpeechStage, any_vocoder

COUNT = 16
"""Sentences that are listened to: a few seconds' work each time."""


class Resynthesis:
    """Held-out sounds, what is understood of them, and someone to ask again about what a codec makes of them."""

    def __init__(self, context: SpeechStage) -> None:
        self._context = context
        examples = context.examples().val
        order = np.random.default_rng(0).permutation(len(examples)).tolist()
        texts = [examples.texts[row] for row in order[:COUNT]]
        others = (examples.texts[row] for row in order[COUNT : COUNT + 2 * OTHERS])
        self._hearing: Hearing | None = hearing(texts, others, context.progress)
        judged = self._hearing.rows if self._hearing else []
        self._waves: list[Wave] = [np.array(examples.inputs[order[row]]) for row in judged]
        self._vocoder: Vocoder | None = None
        self._original: float | None = None

    def __call__(self, codec: Codec) -> dict[str, float]:
        """``wer_original`` and ``wer``; empty where nobody can hear, or nothing can be heard."""
        if self._hearing is None:
            return {}
        if self._vocoder is None:
            self._vocoder = any_vocoder(self._context, codec)
        if self._vocoder is None:
            self._context.progress(MUTE)
            self._hearing = None
            return {}
        rate, device = codec.mel.sample_rate, self._context.device
        if self._original is None:
            self._original = self._hearing.of(self._waves, rate).errors.rate
        with torch.autocast(device.type, enabled=False):  # heard as it will be used
            made = [resynthesized(codec, self._vocoder, wave, device)[1] for wave in self._waves]
        return {"wer_original": self._original, "wer": self._hearing.of(made, rate).errors.rate}


def resynthesized(codec: Codec, vocoder: Vocoder, wave: Wave, device: torch.device) -> tuple[Wave, Wave]:
    """(N,) samples through their codes -> (M,F) log-mel and (N,) samples."""
    mel = decode_codes(codec, encode_waves(codec, [wave])[0])
    return mel, to_samples(vocoder, mel, device)[: wave.size]
