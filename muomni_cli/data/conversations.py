"""Conversations with media, laid out once: ids, which of them to train on, and which input each soft id refers to.

Soft ids are negative: -1 stands for a token of the conversation's first medium, -2 of its second. Each input is decoded
once, by worker processes, however many conversations use it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.data import Conversation, Document, Media, Message
from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.files import cache_folder, cached_folder, fingerprint_of
from muomni_cli.data.batches import BatchSampler, Sampled
from muomni_cli.data.media import Inputs, InputsWriter, Modality, decode_all, in_order, open_inputs
from muomni_cli.data.prompt import chat_ids, start_ids
from muomni_cli.data.sources import (
    DataSource,
    Validating,
    conversation_items,
    merge,
    of_rows,
    open_sources,
    problems,
    require_sides,
)
from muomni_cli.data.split import SPLITS, Split, split_of
from muomni_cli.data.text import tokenizer_hash

if TYPE_CHECKING:
    from muomni_cli.recipe.model import Recipe

FORMAT = 3  # incremented when the cached data for the same sources and settings change
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class OmniExample:
    """One conversation of T ids."""

    ids: NDArray[np.int32]  # (T,) int32; negative for media
    answer: NDArray[np.bool_]  # (T,) bool, whether to train on the id
    media: Sequence[tuple[str, int]]  # modality and index of each input
    source: int  # number of its source
    key: str = ""  # see :class:`muomni_cli.api.Conversation`
    about: Sequence[str] = ()  # modalities that the answer depends on, if the source says so or there is only one


class OmniDataset(Sampled, Sequence[OmniExample]):
    def __init__(self, folder: Path, seed: int, weights: Sequence[float]) -> None:
        self._ids = np.load(folder / "ids.npy", mmap_mode="r")
        self._answer = np.load(folder / "answer.npy", mmap_mode="r")
        rows = json.loads((folder / "rows.json").read_text("utf-8"))
        self._media: list[list[tuple[str, int]]] = [[(m, n) for m, n in row["media"]] for row in rows]
        self.sources = [int(row["source"]) for row in rows]
        self._keys: list[tuple[str, list[str]]] = [(row["key"], row["about"]) for row in rows]
        sizes = [int(row["size"]) for row in rows]
        self._starts = [0, *np.cumsum(sizes, dtype=np.int64).tolist()]
        self.sampler = BatchSampler(sizes, self.sources, weights, seed)

    def __len__(self) -> int:
        return len(self._media)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        begin, end = self._starts[index], self._starts[index + 1]
        own = self._media[index], self.sources[index], *self._keys[index]
        return OmniExample(self._ids[begin:end], self._answer[begin:end], *own)

    def size(self, row: int) -> int:
        return int(self._starts[row + 1] - self._starts[row])


@dataclass(frozen=True, slots=True)
class OmniData:
    """Both sides, the decoded inputs of each modality, the names of the sources, and their held-out items."""

    train: OmniDataset
    val: OmniDataset
    inputs: Mapping[str, Inputs]
    names: Sequence[str]
    fingerprint: str
    validating: Sequence[Validating] = ()


def open_omni_data(
    recipe: Recipe,
    tokenizer: Tokenizer,
    modalities: Mapping[str, Modality],
    progress: Progress,
    only: Split | None = None,
) -> OmniData:
    """The recipe's ``[[data.omni]]`` for the Thinker's ``tokenizer`` and the ``modalities`` fused with it: from the
    cache, or decoded and laid out now. ``only``: open only this side, including ``eval_only`` sources; the other is
    empty.

    Raises:
        RequestError: no source, an empty side, or an item that cannot be laid out.
        MuomniError: the cache cannot be written.
    """
    sources = open_sources(recipe, "omni", only)
    fingerprint = omni_fingerprint(recipe, sources, tokenizer)
    folder = cache_folder() / "conversations" / fingerprint
    maker = _Maker(recipe, tokenizer, modalities, progress)
    about = cached_folder(folder, "talks.json", "the conversations", lambda partial: maker.make(sources, partial))
    for line in problems(about["unreadable"]):
        progress(f"warning: not used: {line}")
    weights = [source.weight for source in sources]
    splits = {split: OmniDataset(folder / split, recipe.seed, weights) for split in SPLITS}
    usable = {split: len(conversations) for split, conversations in splits.items()}
    require_sides(folder, "omni", sources, usable, recipe.data.val_fraction, only)
    inputs = {modality: open_inputs(folder / modality) for modality in modalities}
    names = [source.name for source in sources]
    numbers = {split: conversations.sources for split, conversations in splits.items()}
    counts = of_rows("omni", names, numbers, about["notes"])
    return OmniData(splits["train"], splits["val"], inputs, names, fingerprint, counts)


def omni_fingerprint(recipe: Recipe, sources: Sequence[DataSource], tokenizer: Tokenizer) -> str:
    """Identifies everything that the cached data of ``sources`` depend on."""
    identity = {
        "format": FORMAT,
        "encoders": [
            [modality, one.registered.plugin.version, one.registered.full_name, one.config.model_dump(mode="json")]
            for modality, one in recipe.encoders.items()
        ],
        "context": _context(recipe),
        "template": recipe.chat.template,
        "system": recipe.chat.system,
        "val_fraction": recipe.data.val_fraction,
        "sources": [[source.identity, source.state_of_files()] for source in sources],
        "tokenizer": tokenizer_hash(tokenizer),
    }
    return fingerprint_of(identity)


def _context(recipe: Recipe) -> int:
    assert recipe.thinker is not None, "the omni stage has a Thinker"
    return int(recipe.thinker.config.ctx_len)  # type: ignore[attr-defined]


class _Side:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ids: list[NDArray[np.int32]] = []
        self._answer: list[NDArray[np.bool_]] = []
        self._rows: list[dict[str, Any]] = []

    def append(self, ids: Sequence[int], answer: Sequence[bool], about: Mapping[str, Any]) -> None:
        """Add a row. ``about``: everything else that :class:`OmniExample` says about it."""
        self._ids.append(np.asarray(ids, np.int32))
        self._answer.append(np.asarray(answer, np.bool_))
        self._rows.append({**about, "size": len(ids)})

    def close(self) -> None:
        self._folder.mkdir()
        np.save(self._folder / "ids.npy", np.concatenate([np.zeros(0, np.int32), *self._ids]))
        np.save(self._folder / "answer.npy", np.concatenate([np.zeros(0, np.bool_), *self._answer]))
        (self._folder / "rows.json").write_text(json.dumps(self._rows), "utf-8")


class _Maker:
    """Decodes and lays out conversations; what it cannot use is collected in ``unreadable``."""

    def __init__(
        self, recipe: Recipe, tokenizer: Tokenizer, modalities: Mapping[str, Modality], progress: Progress
    ) -> None:
        self.recipe, self.tokenizer, self.modalities, self.progress = recipe, tokenizer, modalities, progress
        self.context = _context(recipe)
        self.known: dict[Media, tuple[int, int]] = {}  # index among the inputs of its modality, number of tokens
        self.unreadable: dict[str, str] = {}
        self.unused: Counter[tuple[str, str]] = Counter()  # conversations by source and reason

    def make(self, sources: Sequence[DataSource], folder: Path) -> dict[str, Any]:
        """Write inputs and conversations to ``folder``; returns unreadable items and notes of the sources."""
        items = [list(conversation_items(source)) for source in sources]
        for modality in self.modalities:
            self._decode(modality, items, folder)
        splits = {split: _Side(folder / split) for split in SPLITS}
        for number, source_items in enumerate(items):
            for item in source_items:
                self._lay_out(item, number, splits)
        for split in splits.values():
            split.close()
        for source in sources:
            merge(self.unreadable, source.dataset.unreadable)
        for (name, reason), count in self.unused.items():
            merge(self.unreadable, {name: f"{count:,} conversations {reason}"})
        return {"unreadable": self.unreadable, "notes": [source.notes for source in sources]}

    def _decode(self, modality: str, items: Sequence[Sequence[Conversation | Document]], folder: Path) -> None:
        conversations = (item for group in items for item in group if isinstance(item, Conversation))
        media = (one for item in conversations for message in item.messages for one in message.media)
        wanted = dict.fromkeys(one for one in media if one.modality == modality)
        with closing(InputsWriter(folder / modality)) as writer:
            for one, result in decode_all(self.recipe.encoders[modality], wanted, lambda one: one, self.progress):
                if isinstance(result, str):
                    self.unreadable[one.name] = result
                else:
                    self.known[one] = writer.append(result), self.modalities[modality].num_tokens(result)

    def _lay_out(self, item: Conversation | Document, source: int, splits: Mapping[Split, _Side]) -> None:
        split = splits[split_of(item, self.recipe.data.val_fraction)]
        if isinstance(item, Document):
            text = self.tokenizer.encode(item.text)
            ids = [*start_ids(self.tokenizer), *text, self.tokenizer.specials["eos"]]
            for begin in range(0, len(ids) - 1, self.context):  # neighbors overlap by one, so all are targets
                piece = ids[begin : begin + self.context + 1]
                split.append(piece, [True] * len(piece), {"media": [], "source": source, "key": item.key, "about": []})
            return
        messages = [Message(m.role, m.text, tuple(in_order(m.media, self.modalities))) for m in item.messages]
        media = [one for message in messages for one in message.media]
        if any(one not in self.known for one in media):
            self.unused[item.source, "show what cannot be used"] += 1  # which was reported when it was decoded
            return
        kept: dict[str, Iterator[int]] = {}  # number of tokens of each input, by modality
        for modality, settings in self.modalities.items():
            counts = [self.known[one][1] for one in media if one.modality == modality]
            kept[modality] = iter(settings.allot(counts, self.context))
        soft = iter([[-1 - number] * next(kept[one.modality]) for number, one in enumerate(media)])
        layout = chat_ids(self.tokenizer, messages, self.recipe.chat.template, media_ids=lambda _: next(soft))
        if len(layout.ids) > self.context + 1:
            self.unused[item.source, f"are longer than the context of {self.context} tokens"] += 1
            return
        learned = layout.answer if item.learn == "answers" else [True] * len(layout.ids)
        if not any(learned[1:]):
            self.unused[item.source, "have no token to learn"] += 1
            return
        only = {one.modality for one in media}
        about = list(item.about or (only if len(only) == 1 else ()))
        indices = [(one.modality, self.known[one][0]) for one in media]
        split.append(layout.ids, learned, {"media": indices, "source": source, "key": item.key, "about": about})
