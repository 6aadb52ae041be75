"""The data sources of a recipe, and how much of each is held out."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muomni_cli.contract.data import Conversation, Dataset, Document, Example, Preference, SpeechPreference
from muomni_cli.core.errors import RequestError
from muomni_cli.data.public_datasets import require_sets
from muomni_cli.data.split import SPLITS, SURE, SourceSplit, Split, SplitDataset, counted, uncertainty
from muomni_cli.recipe.stages import PAIRED, SOUND, SPEECH
from muomni_cli.registry.registry import resolve

if TYPE_CHECKING:
    from muomni_cli.recipe.model import Recipe

# Name of an item by table.
NOUNS = {"image": "picture", "audio": "sound", "speech": "sound", "text": "document", "omni": "conversation"}
NOUNS |= dict.fromkeys(PAIRED, "pair")
NAMED = 20  # files that cannot be used are named up to this number
FEW_CHARACTERS = 2_000  # with less held-out text, bits per byte mean little


@dataclass(frozen=True, slots=True)
class Validating:
    """Size of the split of one source."""

    table: str  # NAME of ``[[data.<NAME>]]``
    source: str  # name of the source
    items: Mapping[Split, int]  # number on each side
    remarks: Sequence[str] = ()  # of the source, after reading
    characters: Mapping[Split, int] | None = None  # number on each side, if known
    cut: int = 0  # documents whose ends are held out, because there are too few to hold out whole ones
    noun: str = ""  # name of an item, if it differs from :data:`NOUNS`
    left_out: Mapping[str, int] = field(
        default_factory=dict
    )  # reason -> number of files or examples not used on purpose

    @property
    def uncertainty(self) -> float:
        """Half the width of the widest 95 % interval of a share of the held-out items."""
        return uncertainty(self.items["val"])

    def line(self) -> str:
        return self._held_out() + "".join(
            f"{', ' if place else '; left out: '}{count:,} {reason}"
            for place, (reason, count) in enumerate(self.left_out.items())
        )

    def _held_out(self) -> str:
        where, amount = f"{self.table}, {self.source}", ""
        if self.characters and self.table == "text":
            amount = f", {self.characters['val']:,} of {sum(self.characters.values()):,} characters"
        if self.cut:
            ends = "the end of the only document is" if self.cut == 1 else f"the ends of {self.cut} documents are"
            return f"{where}: {ends} held out{amount}: too few to hold out whole ones"
        return f"{where}: {self.items['val']:,} of {self._counted(sum(self.items.values()))} held out{amount}"

    def warnings(self) -> Iterator[str]:
        """Remarks of the source, and whether too little is held out for reliable scores."""
        where, held = f"{self.table}, {self.source}", self.items["val"]
        for remark in self.remarks:
            yield f"{where}: {remark}"
        if not any(self.items.values()):
            yield f"{where}: gives nothing to learn from"
        if self.characters and self.table == "text":  # scored per byte, not per document
            if 0 < (few := self.characters["val"]) < FEW_CHARACTERS:
                yield f"{where}: only {few:,} characters are held out; add text, or raise data.val_fraction"
        elif held and 2 * self.uncertainty > SURE and not self.cut:
            yield (
                f"{where}: {self._counted(held)} held out: scores are uncertain by ±{self.uncertainty:.2f}; "
                "add data, or raise data.val_fraction"
            )

    def _counted(self, count: int) -> str:
        return _counted(count, self.noun or NOUNS.get(self.table, "example"))

    def as_json(self) -> dict[str, Any]:
        return {
            "table": self.table,
            "source": self.source,
            "train": self.items["train"],
            "val": self.items["val"],
            "cut": self.cut,
            "uncertainty": self.uncertainty,
            "left_out": dict(self.left_out),
            "warnings": list(self.warnings()),
        }


def describe(found: Iterable[Validating]) -> Iterator[str]:
    """Lines of all sources, followed by the warnings."""
    every = list(found)
    yield from (one.line() for one in every)
    yield from (f"warning: {warning}" for one in every for warning in one.warnings())


def merge(unreadable: dict[str, str], more: Mapping[str, str]) -> None:
    """Add ``more`` to what could not be used; reasons of one file are joined."""
    for name, reason in more.items():
        unreadable[name] = f"{unreadable[name]}; {reason}" if name in unreadable else reason


def problems(unreadable: Mapping[str, str]) -> Iterator[str]:
    """Lines of what could not be used: the first ones by name, and the others counted by reason."""
    rows = list(unreadable.items())
    yield from (reason if name in reason else f"{name}: {reason}" for name, reason in rows[:NAMED])
    kinds = Counter(reason.replace(name, "").partition(" (")[0].strip() for name, reason in rows[NAMED:])
    yield from (f"{count:,} more: {kind}" for kind, count in kinds.items())


def of_rows(
    table: str, names: Sequence[str], splits: Mapping[Split, Sequence[int]], notes: Sequence[Mapping[str, Any]]
) -> list[Validating]:
    """The split size of each source. ``splits``: side -> source number of each item; ``notes``: of each source, from
    :attr:`DataSource.notes`."""
    counts = {split: Counter(numbers) for split, numbers in splits.items()}
    return [
        Validating(table, name, {split: count[number] for split, count in counts.items()}, **notes[number])
        for number, name in enumerate(names)
    ]


def require_sides(
    folder: Path,
    table: str,
    sources: Sequence[DataSource],
    usable: Mapping[Split, int],
    val_fraction: float | None,
    only: Split | None = None,
) -> None:
    """RequestError if a side of the split has no ``usable`` items; ``folder``, the data in the cache, is then removed.

    Args:
        sources: are read again to find the reason.
        usable: number of usable items on each side.
        only: the side that was requested, if only one was.
    """
    for split in (only,) if only else SPLITS:
        if not usable[split]:
            shutil.rmtree(folder, ignore_errors=True)
            raise empty_side(split, table, sources, sum(usable.values()), val_fraction, only)


def empty_side(
    split: Split,
    table: str,
    sources: Sequence[DataSource],
    usable: int,
    val_fraction: float | None,
    only: Split | None = None,
) -> RequestError:
    """The error for a side without usable items, which names the reason; arguments as of :func:`require_sides`, except
    for ``usable``, the number of usable items of both sides."""
    items, keys, remarks = 0, dict[str, None](), list[str]()
    assigned, barren = Counter[Split](), Counter[tuple[str, Split | None]]()
    for source in sources:
        for item in source.dataset.documents():
            items += 1
            assigned[item.split or "train"] += 1
            if len(keys) < 2:
                keys[item.key.removesuffix("#end")] = None
        barren += source.dataset.barren
        remarks += source.dataset.remarks
    where, noun = f"[[data.{table}]]", NOUNS.get(table, "example")
    verb, aim, other = "train on", "training", "validation"
    if split == "val":
        verb, aim, other = "validate on", "validation", "training"
    own = {key: count for key, count in barren.items() if key[1] == split}
    if barren and (own or not items):
        listed = " and ".join(counted(own if items else barren))
        return RequestError(
            f"{where} has nothing to {verb if items else 'learn from'}: {listed}",
            'add others; answers are messages of the role assistant, and with learn = "all" every turn is learned',
        )
    if only and not items:
        return RequestError(f"nothing of {where} is for {aim}", "use the other --split, or see muomni data check")
    if not items:
        return RequestError(f"{where} has no {noun}s", "see what is wrong with `muomni data check RECIPE`")
    if items == 1:
        return RequestError(
            f"no {noun} of {where} is for {aim}: there is a single one in all",
            "add at least one more; a model is trained on some and validated on others",
        )
    if len(keys) == 1:
        return RequestError(
            f"all {_counted(items, noun)} of {where} share one key ({next(iter(keys))[:60]!r}), and a key is "
            f"never on both sides: there is nothing to {verb}",
            "add items with another key (speaker, document, scene), or name none: without a key each stands for itself",
        )
    if val_fraction is not None and not 0 < val_fraction < 1 and not remarks:
        change = "lower" if split == "train" else "raise"
        return RequestError(
            f"none of the {_counted(items, noun)} of {where} is for {aim} (data.val_fraction = {val_fraction})",
            f"{change} data.val_fraction, leave it out, or name some with `holdout`",
        )
    if remarks or not assigned[split]:
        reason = f": {remarks[0]}" if remarks else ""
        return RequestError(
            f"the sources assign all {_counted(items, noun)} of {where} to {other}{reason}",
            "correct `holdout` or `split` in the recipe, or leave it out: then some are chosen by their keys",
        )
    return RequestError(
        f"none of the {_counted(assigned[split], noun)} of {where} to {verb} can be used; {usable:,} others can",
        "see what is wrong with them: muomni data check RECIPE",
    )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class DataSource:
    """One opened ``[[data.<name>]]`` table."""

    name: str  # for display and metrics: its task, or its number and part
    weight: float  # sampling weight
    dataset: SplitDataset
    identity: dict[str, Any]  # JSON data of everything in the recipe that determines its documents
    table: str = "text"  # NAME of ``[[data.<NAME>]]``
    stem: str = ""  # for file names: its number and part

    @property
    def notes(self) -> dict[str, Any]:
        """What to say about it after reading, as JSON data."""
        return {"remarks": self.dataset.remarks, "left_out": self.dataset.left_out}

    def state_of_files(self) -> list[tuple[str, int, int]]:
        """Path, size and modification time (ns) of each file."""
        found = ((path, path.stat()) for path in self.dataset.files())
        return [(str(path.resolve()), stat.st_size, stat.st_mtime_ns) for path, stat in found]


def open_sources(
    recipe: Recipe, name: str = "text", only: Split | None = None, *, partly: bool = False
) -> list[DataSource]:
    """Every source in ``[[data.<name>]]`` except ``eval_only`` ones, in order; each item has its side of the split.

    Args:
        only: yield only items of this side, and include ``eval_only`` sources.
        partly: allow missing public datasets; their sources raise when they are read.

    Raises:
        RequestError: the recipe has no such source, or public datasets are missing.
    """
    chosen_sources = [one for one in recipe.data.sources.get(name, ()) if only or not one.eval_only]
    if not chosen_sources:
        what = "no text" if name == "text" else f"no data for {name}"
        raise RequestError(f"the recipe names {what}", f'add a table [[data.{name}]] with use = "..."')
    if not partly:
        require_sets(recipe, [name], measured=only is not None)
    datasets: list[Dataset] = [
        resolve(one.registered.part.build, wanted_by=f"dataset {one.registered.part.name}")(one.config)
        for one in chosen_sources
    ]
    learned = [dataset for dataset, one in zip(datasets, chosen_sources, strict=True) if not one.eval_only]
    split = SourceSplit(learned, recipe.data.val_fraction)
    opened: list[DataSource] = []
    for index, (chosen, built) in enumerate(zip(chosen_sources, datasets, strict=True)):
        plugin, part = chosen.registered.plugin, chosen.registered.part
        identity: dict[str, Any] = {
            "part": f"{plugin.name}:{part.name}",
            "version": plugin.version,
            "config": chosen.config.model_dump(mode="json"),
        }
        stem = f"{index}-{part.name}"
        if only:
            identity["only"] = [only, chosen.eval_only]
        dataset = SplitDataset(built, None if chosen.eval_only else split, only)
        opened.append(DataSource(chosen.task or stem, chosen.weight, dataset, identity, name, stem))
    return opened


def text_items(source: DataSource) -> Iterator[Document | Conversation]:
    """The items of a text source. Raises RequestError: an item is not text, or has media."""
    for item in conversation_items(source):
        if isinstance(item, Conversation) and any(message.media for message in item.messages):
            raise RequestError(
                f"{source.name} in [[data.{source.table}]] gives more than text",
                "conversations with images or audio belong in [[data.omni]]",
            )
        yield item


def conversation_items(source: DataSource) -> Iterator[Document | Conversation]:
    """The items of a source of text or conversations, which may have media. Raises RequestError: an item is an
    example."""
    for item in source.dataset.documents():
        if isinstance(item, Example):
            raise RequestError(
                f"{source.name} in [[data.{source.table}]] gives examples of {item.media.modality}",
                f"move it to [[data.{item.media.modality}]], or ask questions about them in [[data.omni]]",
            )
        if isinstance(item, Preference | SpeechPreference):
            table = "dpo" if isinstance(item, Preference) else "talker_dpo"
            raise RequestError(
                f"{source.name} in [[data.{source.table}]] gives pairs of answers", f"move it to [[data.{table}]]"
            )
        yield item


def word_items(source: DataSource) -> Iterator[Document | Conversation]:
    """The items of a source of text or conversations, depending on its table."""
    return text_items(source) if source.table == "text" else conversation_items(source)


def preference_items(source: DataSource) -> Iterator[Preference | SpeechPreference]:
    """The items of a source of pairs. Raises RequestError: an item is none."""
    for item in source.dataset.documents():
        if not isinstance(item, Preference | SpeechPreference):
            raise RequestError(
                f"{source.name} in [[data.{source.table}]] gives a {type(item).__name__.lower()}, not a pair",
                'use a source of pairs there, such as use = "preferences"',
            )
        yield item


def example_items(source: DataSource) -> Iterator[Example]:
    """The items of a source of one modality's examples. Raises RequestError: an item is not an example, or has another
    modality."""
    for item in source.dataset.documents():
        if not isinstance(item, Example):
            raise RequestError(
                f"{source.name} in [[data.{source.table}]] gives a {type(item).__name__.lower()}, not an example",
                "use a source of examples there; conversations belong in [[data.omni]]",
            )
        if item.media.modality != (SOUND if source.table == SPEECH else source.table):
            raise RequestError(
                f"{source.name} in [[data.{source.table}]] gives examples of {item.media.modality}",
                f"move it to [[data.{item.media.modality}]], or leave such files out",
            )
        yield item


def texts_of(item: Document | Conversation) -> Iterator[str]:
    if isinstance(item, Document):
        yield item.text
    else:
        for message in item.messages:
            yield message.text
