"""The pairs of ``[[data.dpo]]`` and ``[[data.talker_dpo]]``, laid out for a model and split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.data import Message, Preference, SpeechPreference
from muomni_cli.contract.models import Tokenizer
from muomni_cli.contract.speech import Utterance
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import fingerprint_of
from muomni_cli.data.batches import BatchSampler, Sampled
from muomni_cli.data.prompt import Template, chat_ids
from muomni_cli.data.sources import (
    DataSource,
    Validating,
    empty_side,
    merge,
    of_rows,
    open_sources,
    preference_items,
    problems,
)
from muomni_cli.data.split import SPLITS, Split, split_of
from muomni_cli.data.text import tokenizer_hash

if TYPE_CHECKING:
    from muomni_cli.recipe.model import Recipe

Progress = Callable[[str], None]
A = TypeVar("A")
LISTED = 3  # reasons in the error that no pair can be used


@dataclass(frozen=True, slots=True)
class Answer:
    """A conversation of T ids whose last answer begins at ``begin`` and ends with the last id."""

    ids: NDArray[np.int32]  # (T,)
    begin: int


@dataclass(frozen=True, slots=True)
class Laid(Generic[A]):
    """A pair as the model takes it; ``size``: the longer side, for batches of similar lengths."""

    chosen: A
    rejected: A
    size: int


class Pairs(Sampled, Generic[A]):
    """The pairs of one side of the split."""

    def __init__(self, rows: Sequence[tuple[Laid[A], int]], weights: Sequence[float], seed: int) -> None:
        self.pairs = [pair for pair, _ in rows]
        self.sources = [source for _, source in rows]
        self.sampler = BatchSampler([pair.size for pair in self.pairs], self.sources, weights, seed)

    def __len__(self) -> int:
        return len(self.pairs)


@dataclass(frozen=True, slots=True)
class PairData(Generic[A]):
    """Both sides, what they depend on, and their held-out items."""

    train: Pairs[A]
    val: Pairs[A]
    fingerprint: str
    validating: Sequence[Validating]


LayOut = Callable[[Preference | SpeechPreference], "Laid[Any] | str"]


def open_answers(recipe: Recipe, tokenizer: Tokenizer, progress: Progress) -> PairData[Answer]:
    """The pairs of ``[[data.dpo]]`` as conversations for the recipe's Thinker. RequestError if there are no data, or
    none can be used on a side of the split."""
    assert recipe.thinker is not None, "the stage dpo has a Thinker"
    context, template, system = int(recipe.thinker.config.ctx_len), recipe.chat.template, recipe.chat.system  # type: ignore[attr-defined]

    def lay_out(item: Preference | SpeechPreference) -> Laid[Answer] | str:
        if not isinstance(item, Preference):
            return "are of codes, which belong in [[data.talker_dpo]]"
        prompt = item.prompt
        if system and prompt[0].role != "system":  # as in a chat
            prompt = (Message("system", system), *prompt)
        sides = [answer_of(tokenizer, prompt, text, template) for text in (item.chosen, item.rejected)]
        if sides[0].begin > context:
            return f"have a prompt that is longer than the context of {context} tokens"
        size = max(len(side.ids) for side in sides)
        if size > context + 1:
            return f"are longer than the context of {context} tokens"
        return Laid(sides[0], sides[1], size)

    identity = {"context": context, "template": template, "system": system, "tokenizer": tokenizer_hash(tokenizer)}
    return _open(recipe, "dpo", lay_out, identity, progress)


def answer_of(tokenizer: Tokenizer, prompt: Sequence[Message], text: str, template: Template) -> Answer:
    """The prompt and one answer to it, laid out."""
    layout = chat_ids(tokenizer, [*prompt, Message("assistant", text)], template)
    end = len(layout.answer) - layout.answer[::-1].index(True)
    begin = end
    while begin and layout.answer[begin - 1]:
        begin -= 1
    return Answer(np.asarray(layout.ids[:end], np.int32), begin)


def open_utterances(recipe: Recipe, progress: Progress) -> PairData[Utterance]:
    """The pairs of ``[[data.talker_dpo]]``; errors as of :func:`open_answers`."""

    def lay_out(item: Preference | SpeechPreference) -> Laid[Utterance] | str:
        if not isinstance(item, SpeechPreference):
            return "are of text, which belong in [[data.dpo]]"
        sides = [Utterance(item.text, item.voice, np.array(codes, np.int64)) for codes in (item.chosen, item.rejected)]
        return Laid(sides[0], sides[1], max(len(side.codes) for side in sides))

    return _open(recipe, "talker_dpo", lay_out, {}, progress)


def _open(recipe: Recipe, table: str, lay_out: LayOut, identity: dict[str, Any], progress: Progress) -> PairData[Any]:
    sources = open_sources(recipe, table)
    sides: dict[Split, list[tuple[Laid[Any], int]]] = {split: [] for split in SPLITS}
    unused: Counter[tuple[str, str]] = Counter()  # pairs by source and reason
    unreadable: dict[str, str] = {}
    for number, source in enumerate(sources):
        for item in preference_items(source):
            laid = lay_out(item)
            if isinstance(laid, str):
                unused[item.source or source.name, laid] += 1
            else:
                sides[split_of(item, recipe.data.val_fraction)].append((laid, number))
        merge(unreadable, source.dataset.unreadable)
    for (name, reason), count in unused.items():
        merge(unreadable, {name: f"{count:,} pairs {reason}"})
    for line in problems(unreadable):
        progress(f"warning: not used: {line}")
    _require_pairs(table, sources, sides, unreadable, recipe.data.val_fraction)
    weights = [source.weight for source in sources]
    pairs = {split: Pairs(rows, weights, recipe.seed) for split, rows in sides.items()}
    counts = of_rows(
        table,
        [source.name for source in sources],
        {split: one.sources for split, one in pairs.items()},
        [source.notes for source in sources],
    )
    fingerprint = fingerprint_of(
        [identity, recipe.data.val_fraction, [[source.identity, source.state_of_files()] for source in sources]]
    )
    return PairData(pairs["train"], pairs["val"], fingerprint, counts)


def _require_pairs(
    table: str,
    sources: Sequence[DataSource],
    sides: dict[Split, list[Any]],
    unreadable: dict[str, str],
    val_fraction: float | None,
) -> None:
    """RequestError if a side has no pair."""
    usable = sum(map(len, sides.values()))
    if not usable and unreadable:
        reasons = [f"{name}: {reason}" for name, reason in list(unreadable.items())[:LISTED]]
        raise RequestError(
            f"no pair of [[data.{table}]] can be used: {'; '.join(reasons)}",
            "correct the file: each row needs a prompt, and a chosen and a rejected answer that differ"
            if table == "dpo"
            else "make pairs of the Talker: muomni data preferences RECIPE -o FOLDER",
        )
    for split in SPLITS:
        if not sides[split]:
            raise empty_side(split, table, sources, usable, val_fraction)
