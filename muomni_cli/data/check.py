"""``muomni data check``: read every source to its end and report problems instead of raising.

Memory is bounded: lengths are counted in buckets, and at most ``REMEMBERED`` lines or keys per split are held, as
hashes. Media of files are decoded as training would; media that are generated are only counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from muomni_cli.contract.data import Conversation, Document, Media, Preference
from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.console import say
from muomni_cli.core.errors import RequestError
from muomni_cli.data.media import decode_all
from muomni_cli.data.public_datasets import missing_sets
from muomni_cli.data.sources import (
    NOUNS,
    DataSource,
    Validating,
    empty_side,
    example_items,
    merge,
    open_sources,
    preference_items,
    problems,
    texts_of,
    word_items,
)
from muomni_cli.data.split import SPLITS, Split, hash_of, split_of
from muomni_cli.data.text import SourceStats, batches, encode_items, size_of
from muomni_cli.recipe.stages import PAIRED, SPEAKING
from muomni_cli.registry.sets import get_command

if TYPE_CHECKING:
    from muomni_cli.recipe.model import PartSpec, Recipe

REMEMBERED = 1_000_000
LABELS = 10_000
LONG_LINE = 40  # lines of at least this length that occur on both sides are reported as duplicates
PERCENTILES = (5, 50, 95, 99)
TALK = ("text", "omni")  # data tables with documents and conversations; all others have a modality's examples


class Lengths:
    """A histogram of lengths: exact below 1,000, rounded to three digits above (error below 0.5 %)."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.longest = 0

    def add(self, length: int) -> None:
        digits = max(0, len(str(length)) - 3)
        self._counts[round(length, -digits)] += 1
        self.longest = max(self.longest, length)

    def percentile(self, percent: float) -> int:
        """The smallest length that at least ``percent`` of all do not exceed; 0 if there are none."""
        if percent >= 100:
            return self.longest
        wanted = self._counts.total() * percent / 100
        passed = 0
        for length in sorted(self._counts):
            passed += self._counts[length]
            if passed >= wanted:
                return min(length, self.longest)
        return self.longest


@dataclass(slots=True)
class ExamplesReport:
    """One source of examples: counts, examples per label, a sample, why the source cannot be read (``error``), and how
    many of its media cannot (``unusable``)."""

    table: str
    stats: SourceStats
    labels: dict[str, int] = field(default_factory=dict)
    example: str = ""
    error: str = ""
    unusable: int = 0


def readers_of(recipe: Recipe, table: str) -> list[PartSpec]:
    """The parts that read the examples of a table in training."""
    stages = [stage for stage in (*recipe.encoders, *SPEAKING) if recipe.table_of(stage) == table]
    found = (recipe.reader(stage) for stage in stages)
    return list({id(one): one for one in found if one is not None}.values())


def unusable_media(media: Callable[[], Iterable[Media]], readers: Sequence[PartSpec]) -> dict[str, str]:
    """Names of media that come from files and cannot be used, and why: what training says when it decodes them.
    ``media`` is called once for each of the parts that read them; without any, the files are only opened."""
    found: dict[str, str] = {}
    for reader in readers:
        for one, result in decode_all(reader, filter(_from_file, media()), lambda one: one, say):
            if isinstance(result, str):
                found.setdefault(one.name, result)
    if not readers:
        opened = ((one.name, _damage(one)) for one in media() if _from_file(one))
        found = {name: reason for name, reason in opened if reason}
    return found


def _from_file(media: Media) -> bool:
    return hasattr(media, "path")


def _damage(media: Media) -> str:
    """Why media cannot be opened; empty if they can."""
    try:
        media.open().close()
    except RequestError as error:
        return error.what
    return ""


def _check_examples(
    source: DataSource, recipe: Recipe, seen: Mapping[Split, set[int]], shared: dict[int, str]
) -> ExamplesReport:
    """Read one source of examples to its end. Updates ``seen``, the hashes of the modality's keys by side of the split,
    and ``shared``, those on both sides with their keys."""
    report = ExamplesReport(source.table, SourceStats(source.name))
    bad: dict[str, str] = {}
    try:
        bad = unusable_media(
            lambda: (example.media for example in example_items(source)), readers_of(recipe, source.table)
        )
        for example in example_items(source):
            if example.media.name in bad:
                report.unusable += 1
                continue
            split, hashed = split_of(example, recipe.data.val_fraction), hash_of(example.key)
            if len(seen[split]) < REMEMBERED:
                seen[split].add(hashed)
            if hashed in seen["val" if split == "train" else "train"]:
                shared.setdefault(hashed, example.key)
            report.stats.documents[split] += 1
            report.stats.characters[split] += len(example.text)
            if example.label is not None and (len(report.labels) < LABELS or example.label in report.labels):
                report.labels[example.label] = report.labels.get(example.label, 0) + 1
            if not report.example:
                label = "" if example.label is None else f", label {example.label!r}"
                report.example = f"{example.text[:120]!r}{label}, key {example.key[:60]!r}: {example.media.name}"
    except (RequestError, OSError) as error:
        report.error = str(error)
    report.stats.finish(source)
    merge(report.stats.unreadable, bad)
    return report


def _check_pairs(source: DataSource, recipe: Recipe) -> ExamplesReport:
    """Read one source of pairs to its end."""
    report = ExamplesReport(source.table, SourceStats(source.name))
    try:
        for item in preference_items(source):
            split = split_of(item, recipe.data.val_fraction)
            report.stats.documents[split] += 1
            if isinstance(item, Preference):
                report.stats.characters[split] += len(item.chosen) + len(item.rejected)
                shown = f"{item.prompt[-1].text[:60]!r}: {item.chosen[:60]!r} rather than {item.rejected[:60]!r}"
            else:
                report.stats.characters[split] += len(item.text)
                shown = f"{item.text[:60]!r}, {len(item.chosen):,} frames twice"
            report.example = report.example or shown
    except (RequestError, OSError) as error:
        report.error = str(error)
    report.stats.finish(source)
    return report


@dataclass(slots=True)
class SourceReport:
    """One source of documents or conversations: counts, lengths in ``unit``, and how many items exceed the model's
    context (``longer``; None if tokens or context are unknown).

    ``error``: why the source gave nothing. ``media``: number of media by modality. ``unusable``: number of media files
    that cannot be used; ``without``: number of conversations that are left out for that reason.
    """

    stats: SourceStats
    unit: str
    percentiles: dict[str, int] = field(default_factory=dict)
    longest: int = 0
    longer: int | None = None
    example: str = ""
    error: str = ""
    table: str = "text"
    media: dict[str, int] = field(default_factory=dict)
    unusable: int = 0
    without: int = 0


@dataclass(slots=True)
class DataReport:
    """All sources: ``sources`` of text and conversations, ``examples`` of modalities.

    ``val_lines``: number of long validation lines of text; ``shared``: how many of them are also in training text, with
    an example. ``in_both_splits``: modality -> number of keys on both sides, and one of them. ``missing``: public
    datasets that are not downloaded, including those of ``eval_only`` sources. ``refusals``: the errors, and what to
    do, with which training would end before it begins.
    """

    sources: list[SourceReport]
    ctx_len: int | None
    val_lines: int = 0
    shared: int = 0
    shared_example: str = ""
    examples: list[ExamplesReport] = field(default_factory=list)
    in_both_splits: dict[str, tuple[int, str]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    refusals: list[tuple[str, str]] = field(default_factory=list)

    @property
    def everything(self) -> list[SourceReport | ExamplesReport]:
        return [*self.sources, *self.examples]

    @property
    def validating(self) -> list[Validating]:
        """Held-out items of each source."""
        return [one.stats.validating(one.table) for one in self.everything if any(one.stats.documents.values())]

    @property
    def usable(self) -> bool:
        return any(source.stats.documents["train"] for source in self.everything)

    @property
    def complete(self) -> bool:
        """Whether everything that is there could be read."""
        return not any(one.stats.unreadable or (one.error and not self.missing) for one in self.everything)

    @property
    def warnings(self) -> list[str]:
        """One line for each thing that a person should look at before training."""
        found = [f"{source.stats.name}: {source.error}" for source in self.sources if source.error]
        found += [
            f"{source.stats.name}: {'; '.join(source.stats.remarks) or 'no text in what it names'}"
            for source in self.sources
            if not source.error and not any(source.stats.documents.values())
        ]
        found += [
            f"{source.stats.name}: {source.unusable:,} media files cannot be used, nor {source.without:,} conversations"
            for source in self.sources
            if source.unusable
        ]
        for examples in self.examples:
            name = f"{examples.table}: {examples.stats.name}"
            if examples.error:
                found.append(f"{name}: {examples.error}")
            elif examples.unusable:
                noun = NOUNS.get(examples.table, "example")
                total = examples.unusable + sum(examples.stats.documents.values())
                found.append(f"{name}: {examples.unusable:,} of {total:,} {noun}s cannot be used")
            elif not any(examples.stats.documents.values()):
                found.append(f"{name}: no examples in what it names")
        for one in self.everything:
            found += problems(one.stats.unreadable)
        found += [f"{what}: {fix}" for what, fix in self.refusals]
        if self.missing:
            found.append(f"public datasets are missing; get them with: {get_command(self.missing)}")
        for counts in self.validating:
            found += counts.warnings()
        for modality, (count, key) in self.in_both_splits.items():
            found.append(f"{count:,} keys of [[data.{modality}]] are on both sides of the split, such as {key!r}")
        if self.shared:
            found.append(
                f"{self.shared} of {self.val_lines} long validation lines are in the training text too, such as "
                f"{self.shared_example[:80]!r}"
            )
        return found


def check(recipe: Recipe, tokenizer: Tokenizer | None) -> DataReport:
    """Read every source of the recipe. Lengths are in tokens, or in characters without a ``tokenizer``."""
    ctx_len: int | None = getattr(recipe.thinker.config, "ctx_len", None) if recipe.thinker else None
    tables = [table for table, chosen in recipe.data.sources.items() if chosen] or ["text"]
    sources = [source for table in tables if table in TALK for source in open_sources(recipe, table, partly=True)]
    reports = [_check_source(source, recipe, tokenizer, ctx_len) for source in sources]
    report = DataReport(reports, ctx_len, missing=tuple(missing_sets(recipe)))
    for table in tables:
        if table not in TALK:
            seen: dict[Split, set[int]] = {split: set() for split in SPLITS}
            shared: dict[int, str] = {}
            for source in open_sources(recipe, table, partly=True):
                found = _check_pairs(source, recipe) if table in PAIRED else None
                report.examples.append(found or _check_examples(source, recipe, seen, shared))
            if shared:
                report.in_both_splits[table] = len(shared), next(iter(shared.values()))
    pairs = zip(sources, reports, strict=True)
    sound = [source for source, one in pairs if not one.error and source.table == "text"]
    _compare(report, sound, recipe.data.val_fraction)
    report.refusals = list(_refusals(report, recipe))
    return report


def _refusals(report: DataReport, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """For every table whose data are all there: the error of training if a side has nothing."""
    for table in dict.fromkeys(one.table for one in report.everything):
        own = [one for one in report.everything if one.table == table]
        if any(one.error for one in own) or missing_sets(recipe, [table], measured=False):
            continue
        usable = {split: sum(one.stats.documents[split] for one in own) for split in SPLITS}
        for split in SPLITS:
            if not usable[split]:
                sources = open_sources(recipe, table)
                error = empty_side(split, table, sources, sum(usable.values()), recipe.data.val_fraction)
                yield error.what, error.fix
                break


def _check_source(source: DataSource, recipe: Recipe, tokenizer: Tokenizer | None, ctx_len: int | None) -> SourceReport:
    report = SourceReport(SourceStats(source.name), "tokens" if tokenizer else "characters", table=source.table)
    media = Counter[str]()
    bad: dict[str, str] = {}
    lengths = Lengths()
    if tokenizer is not None and ctx_len is not None:
        report.longer = 0
    try:
        bad = _unusable_shown(source, recipe)
        for batch in batches(word_items(source)):
            sizes = [size_of(item) for item in batch]
            if tokenizer is not None:
                sizes = [len(ids) for ids, _ in encode_items(tokenizer, batch, recipe.chat.template)]
            for item, length in zip(batch, sizes, strict=True):
                shown = _shown(item)
                media.update(one.modality for one in shown)
                if any(one.name in bad for one in shown):
                    report.without += 1
                    continue
                lengths.add(length)
                report.stats.count(item, split_of(item, recipe.data.val_fraction), length if tokenizer else 0)
                if report.longer is not None and ctx_len is not None and length > ctx_len:
                    report.longer += 1
            report.example = report.example or _example(batch[0], tokenizer, recipe)
    except (RequestError, OSError) as error:
        report.error = str(error)
    report.stats.finish(source)
    merge(report.stats.unreadable, bad)
    report.unusable = len(bad)
    report.percentiles = {str(percent): lengths.percentile(percent) for percent in PERCENTILES}
    report.longest = lengths.longest
    report.media = dict(media)
    return report


def _shown(item: Document | Conversation) -> list[Media]:
    return [one for message in item.messages for one in message.media] if isinstance(item, Conversation) else []


def _unusable_shown(source: DataSource, recipe: Recipe) -> dict[str, str]:
    """:func:`unusable_media` of a source of conversations."""
    if source.table == "text":
        return {}
    media = dict.fromkeys(one for item in word_items(source) for one in _shown(item))
    found: dict[str, str] = {}
    for modality in dict.fromkeys(one.modality for one in media):
        own = [one for one in media if one.modality == modality]
        if modality in recipe.encoders:
            found |= unusable_media(lambda own=own: own, [recipe.encoders[modality]])  # type: ignore[misc]
        else:
            found |= {one.name: f"the recipe has no encoder for {modality}" for one in own}
    return found


def _example(item: Document | Conversation, tokenizer: Tokenizer | None, recipe: Recipe) -> str:
    """The beginning of an item as the model sees it: encoded, laid out and decoded again."""
    if tokenizer is None:
        return "\n".join(texts_of(item))[:200]
    ids, _ = next(iter(encode_items(tokenizer, [item], recipe.chat.template)))
    names = {token: f"<{name}>" for name, token in tokenizer.specials.items()}
    shown: list[str] = []
    plain: list[int] = []
    for token in ids[:80]:
        if token in names:
            shown += [tokenizer.decode(plain), names[token]]
            plain = []
        else:
            plain.append(token)
    return "".join([*shown, tokenizer.decode(plain)])


def _compare(report: DataReport, sources: list[DataSource], val_fraction: float | None) -> None:
    """Look for long validation lines in the training text."""
    held = set[int]()
    for line in _long_lines(sources, "val", val_fraction):
        held.add(hash_of(line))
        if len(held) == REMEMBERED:
            break
    report.val_lines = len(held)
    if not held:
        return
    for line in _long_lines(sources, "train", val_fraction):
        if (hashed := hash_of(line)) in held:
            held.remove(hashed)
            report.shared += 1
            report.shared_example = report.shared_example or line


def _long_lines(sources: list[DataSource], split: Split, val_fraction: float | None) -> Iterator[str]:
    """Long lines of one side of the split."""
    for source in sources:
        for item in word_items(source):
            if split_of(item, val_fraction) == split:
                lines = (line.strip() for text in texts_of(item) for line in text.split("\n"))
                yield from (line for line in lines if len(line) >= LONG_LINE)
