"""Pairs of utterances for the stage ``talker_dpo``: a Talker speaks each text several times at a temperature, and a
recognizer that shares nothing with the model reads what was said. The utterance with the fewest word errors is paired
with that with the most, the second best with the second worst, and so on; a text whose utterances all have as many
decides nothing and gives no pair.

``samples.jsonl`` has a line for each text with all of its utterances and is written text by text, so that an
interrupted command goes on where it stopped; ``pairs.jsonl`` is made of it. Imports torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.declarations import TalkerPart
from muomni_cli.contract.speech import Utterance
from muomni_cli.contract.training import SpeechPolicy
from muomni_cli.core.checksums import sha256
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import parse_json, read_bytes, write_bytes, write_json
from muomni_cli.data.sources import example_items, open_sources
from muomni_cli.generation.loop import check_limits
from muomni_cli.models.engines import CAN_SPEAK, open_run
from muomni_cli.models.locate import resolve_model
from muomni_cli.recipe.stages import SPEECH
from muomni_cli.registry.entries import open_entry
from muomni_cli.registry.registry import resolve
from muomni_cli.speech.asr import OTHERS, Recognizer, words_of
from muomni_cli.speech.wer import word_errors
from muomni_cli.voice.synthesis import codes_to_audio

if TYPE_CHECKING:
    from muomni_cli.models.run_engine import RunEngine
    from muomni_cli.recipe.model import Recipe

SAMPLES, PAIRS, ABOUT = "samples.jsonl", "pairs.jsonl", "about.json"
AT_ONCE = 100  # texts in the language model of a recognizer, besides others: as in an evaluation
REPORTED = 25  # texts between lines about the progress


@dataclass(frozen=True, slots=True)
class SampleSettings:
    """How texts are spoken: ``samples`` times each at ``temperature``. RequestError for a value out of range."""

    count: int = 500  # of texts; 0: all
    samples: int = 6
    temperature: float = 0.7
    voice: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        check_limits(self, "g")
        if self.samples < 2:
            raise RequestError(f"{self.samples} samples of a text make no pair", "draw at least 2: --samples 6")
        if self.temperature == 0:
            raise RequestError("samples at temperature 0 are all the same", "draw warmer: --temperature 0.7")


@dataclass(frozen=True, slots=True)
class PreferenceSet:
    """What was written: the list of pairs, the texts and how many of them were spoken now, and the word error rates of
    the chosen and of the rejected utterances."""

    path: Path
    texts: int
    spoken: int
    pairs: int
    left_out: int
    chosen_wer: float
    rejected_wer: float


class Speaker:
    """A run's Talker as a policy, with its codec and vocoder. RequestError if it does not speak, or its Talker has no
    policy."""

    def __init__(self, model: str | None) -> None:
        found = resolve_model(model, CAN_SPEAK)
        self.engine: RunEngine = open_run(found.run(), found.weights)
        talker = self.engine.speech_module("talker")
        part = open_entry(self.engine.parts["talker"])[0].part
        if not isinstance(part, TalkerPart) or part.policy is None:
            raise RequestError(
                f"the Talker {part.name} cannot be tuned on pairs: it declares no policy", "use another Talker"
            )
        self.policy: SpeechPolicy = resolve(part.policy, f"talker {part.name}")(talker)
        weights = self.engine.checkpoint("talker")
        assert weights is not None, "the Talker was opened"
        self.weights = weights
        self.rate = self.engine.codec().mel.sample_rate

    def say(self, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """(T,Q) -> (N,) samples."""
        sounds = codes_to_audio(self.engine)
        return np.concatenate([sounds.push(codes), sounds.finish()])


def make_preferences(
    recipe: Recipe, model: str | None, folder: Path, settings: SampleSettings, progress: Callable[[str], None]
) -> PreferenceSet:
    """Speak sentences of the training side of the recipe's ``[[data.speech]]``, and write ``folder``.

    Raises:
        RequestError: there is no such model, voice or data, the folder holds samples of other settings, pocketsphinx is
            not installed, or no text gives a pair.
        MuomniError: the folder cannot be written.
    """
    texts = list(dict.fromkeys(item.text for one in open_sources(recipe, SPEECH) for item in _learned(one)))
    if not texts:
        raise RequestError("[[data.speech]] has no sentence to train on", "see muomni data check RECIPE")
    order = np.random.default_rng(settings.seed).permutation(len(texts)).tolist()
    chosen = [texts[place] for place in order[: settings.count or None]]
    others = [texts[place] for place in order[len(chosen) :] or order][: 2 * OTHERS]
    speaker = Speaker(model)
    _require_same(folder, settings, speaker)
    known = dict(_read_samples(folder / SAMPLES))
    judged, left_out = list(_judged(chosen, others)), 0
    spoken = 0
    progress(f"{len(judged):,} texts, {settings.samples} times each; stopped at any time, the same command goes on")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / ABOUT, _about(settings, speaker))
    with (folder / SAMPLES).open("a", encoding="utf-8") as file:
        for number, (text, recognizer) in enumerate(judged):
            if text in recognizer.left_out:
                left_out += 1
            elif text not in known:
                known[text] = _sampled(speaker, text, recognizer, settings)
                file.write(json.dumps({"text": text, "samples": known[text]}, ensure_ascii=False) + "\n")
                file.flush()
                spoken += 1
                if spoken % REPORTED == 0:
                    progress(f"{number + 1:,} of {len(judged):,} texts")
    if left_out:
        progress(f"left out: {left_out:,} texts with words that the recognizer does not know")
    return _write_pairs(folder, {text: known[text] for text, _ in judged if text in known}, spoken, left_out, settings)


def _learned(source: Any) -> Iterator[Any]:
    return (item for item in example_items(source) if item.split == "train")


def _judged(texts: Sequence[str], others: Sequence[str]) -> Iterator[tuple[str, Recognizer]]:
    """Each text with a recognizer of it among others. RequestError if pocketsphinx is not installed."""
    for begin in range(0, len(texts), AT_ONCE):
        some = texts[begin : begin + AT_ONCE]
        recognizer = Recognizer.for_sentences(some, others)
        yield from ((text, recognizer) for text in some)


def _sampled(speaker: Speaker, text: str, recognizer: Recognizer, settings: SampleSettings) -> list[dict[str, Any]]:
    """The utterances of a text, with what was heard, its word errors and the log-probability in nats."""
    import torch

    seed = int.from_bytes(hashlib.blake2b(f"{settings.seed} {text}".encode(), digest_size=7).digest(), "big")
    drawn = speaker.policy.sample(text, settings.voice, settings.samples, settings.temperature, seed)
    if not drawn:
        return []
    with torch.inference_mode():
        batch = speaker.policy.batch([Utterance(text, settings.voice, codes) for codes in drawn])
        likely = speaker.policy.log_probs(batch).tolist()
    heard = [recognizer.transcribe(speaker.say(codes), speaker.rate) for codes in drawn]
    errors = word_errors([text] * len(heard), heard).edits
    rows = zip(drawn, heard, errors, likely, strict=True)
    return [
        {"errors": count, "heard": words, "log_prob": round(nats, 3), "codes": codes.tolist()}
        for codes, words, count, nats in rows
    ]


def pairs_of(samples: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The best utterance with the worst, the second best with the second worst and so on, as long as their errors
    differ; of those with as many errors, the likelier come first."""
    best = sorted(samples, key=lambda one: (one["errors"], -one["log_prob"]))
    worst = sorted(samples, key=lambda one: (-one["errors"], -one["log_prob"]))
    pairs = list(zip(best, worst, strict=True))[: len(samples) // 2]
    return list(takewhile(lambda pair: pair[0]["errors"] < pair[1]["errors"], pairs))


def _write_pairs(
    folder: Path, known: Mapping[str, Sequence[Mapping[str, Any]]], spoken: int, left_out: int, settings: SampleSettings
) -> PreferenceSet:
    lines, edits, words = [], np.zeros(2), 0
    for text, samples in known.items():
        for pair in pairs_of(samples):
            row: dict[str, Any] = {"text": text, "voice": settings.voice, "key": text}
            for name, one in zip(("chosen", "rejected"), pair, strict=True):
                row |= {name: one["codes"], f"{name}_errors": one["errors"], f"{name}_heard": one["heard"]}
            lines.append(json.dumps(row, ensure_ascii=False))
            edits += [one["errors"] for one in pair]
            words += len(words_of(text))
    write_bytes(folder / PAIRS, "".join(f"{line}\n" for line in lines).encode())
    if not lines:
        raise RequestError(
            f"none of {len(known):,} texts gives a pair: all of its utterances have as many word errors",
            "speak more texts (--count), more often (--samples), or at a higher --temperature",
        )
    rates = [float(rate) for rate in edits / words]
    return PreferenceSet(folder / PAIRS, len(known), spoken, len(lines), left_out, *rates)


def _about(settings: SampleSettings, speaker: Speaker) -> dict[str, Any]:
    """What the samples depend on: with more texts, those that are there stay as they are."""
    return {
        "samples": settings.samples,
        "temperature": settings.temperature,
        "voice": settings.voice,
        "seed": settings.seed,
        "talker": sha256(speaker.weights),
    }


def _require_same(folder: Path, settings: SampleSettings, speaker: Speaker) -> None:
    """RequestError if the folder holds other samples, or other files."""
    if not folder.exists():
        return
    path = folder / ABOUT
    if not path.is_file():
        if not folder.is_dir() or any(folder.iterdir()):
            raise RequestError(f"{folder} exists and holds no samples of a Talker", "name another folder: -o FOLDER")
        return
    held, now = parse_json(path, read_bytes(path), "name another folder: -o FOLDER"), _about(settings, speaker)
    if changed := [name for name, value in now.items() if held.get(name) != value]:
        raise RequestError(
            f"{folder} holds samples of another {' and '.join(changed)}", "name another folder: -o FOLDER"
        )


def _read_samples(path: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The samples of each text that was spoken; a last line that was not written to its end is removed."""
    if not path.is_file():
        return
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        write_bytes(path, whole)
    for number, line in enumerate(whole.decode("utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            yield row["text"], row["samples"]
        except (ValueError, KeyError, TypeError) as error:
            raise RequestError(f"line {number} of {path} is damaged", "remove that line, and run again") from error
