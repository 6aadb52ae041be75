"""The figures of docs/tutorials/preference-tuning.md: word error rates of several models on the same held-out
sentences, and their differences with 95 % bootstrap intervals over sentences.

    python docs/preference_measure.py RECIPE MODEL [MODEL]... --limit 250 --keep FOLDER

The first model is what the others are compared with. Sentences are those of the validation side of the recipe's
``[[data.speech]]``, each spoken once with the most likely codes, or several times at a temperature (``--temperature 1
--times 4``). What was heard is kept in FOLDER, so an interrupted measurement goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
import torch

from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import write_json
from muomni_cli.data.sources import example_items, open_sources
from muomni_cli.recipe.load import load_recipe
from muomni_cli.speech.asr import OTHERS, Recognizer
from muomni_cli.speech.wer import WordErrors, word_errors
from muomni_cli.voice.preferences import Speaker

AT_ONCE = 100  # as in muomni eval


def main() -> None:
    """Print a line for each model. RequestError as of the recipe, a model or its voice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--limit", type=int, default=250)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--keep", type=Path, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    held, others = sentences(asked.recipe, asked.limit)
    found = [measured(model, held, others, asked) for model in asked.models]
    for model, errors in zip(asked.models, found, strict=True):
        interval = errors.interval()
        line = f"{model}: word error rate {errors.rate:.4f} ({interval.low:.4f} to {interval.high:.4f}, n {len(held)})"
        if errors is not found[0]:
            line += "; difference {:+.4f} ({:+.4f} to {:+.4f})".format(*errors.above(found[0]))
        print(line)


def sentences(recipe: str, limit: int) -> tuple[list[str], list[str]]:
    """Held-out sentences that the recognizer knows the words of, evenly from all, and others for its language model."""
    items = [item for one in open_sources(load_recipe(recipe), "speech") for item in example_items(one)]
    held = list(dict.fromkeys(item.text for item in items if item.split == "val"))
    learned = list(dict.fromkeys(item.text for item in items if item.split == "train"))
    unknown = Recognizer.for_sentences(held).left_out
    held = [text for text in held if text not in unknown]
    if not held:
        raise RequestError(f"{recipe} holds no sentence out", "name a recipe with [[data.speech]]")
    order = np.random.default_rng(0).permutation(len(held))[:limit]
    return [held[place] for place in order], learned[: 2 * OTHERS]


def measured(model: str, held: list[str], others: list[str], asked: argparse.Namespace) -> WordErrors:
    """The word errors of each sentence, in all of the utterances of it."""
    path: Path = asked.keep / f"{re.sub(r'[^a-z0-9.]+', '-', model)}-{asked.temperature:g}-{asked.times}.json"
    heard: dict[str, list[str]] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    speaker = Speaker(model)
    for begin in range(0, len(held), AT_ONCE):
        some = held[begin : begin + AT_ONCE]
        recognizer = Recognizer.for_sentences(some, others)
        for number, text in enumerate(some, start=begin):
            if text in heard:
                continue
            drawn = speaker.policy.sample(text, "", asked.times, asked.temperature, number)
            heard[text] = [recognizer.transcribe(speaker.say(codes), speaker.rate) for codes in drawn]
            if number % 10 == 9:
                write_json(path, heard)
    write_json(path, heard)
    each = [word_errors([text] * asked.times, heard[text]) for text in held]
    return WordErrors(tuple(sum(one.edits) for one in each), tuple(sum(one.words) for one in each))


if __name__ == "__main__":
    main()
