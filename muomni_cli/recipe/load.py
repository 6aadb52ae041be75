"""Find a recipe, by path or by the name of one that ships with muomni or a plugin, and turn its TOML into a
:class:`Recipe`. All mistakes are reported at once."""

from __future__ import annotations

import copy
import functools
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from muomni_cli.contract.declarations import CodecPart, DatasetPart, EncoderPart
from muomni_cli.contract.speech import MelConfig, mel_mistake
from muomni_cli.core.console import say
from muomni_cli.core.errors import ROOT, RequestError
from muomni_cli.core.files import RUNS
from muomni_cli.recipe.model import Data, PartSpec, Recipe, SourceSpec
from muomni_cli.recipe.names import Names
from muomni_cli.recipe.overrides import lay_over, shorten_warmups
from muomni_cli.recipe.problems import (
    Mistake,
    RecipeMistakesError,
    dotted,
    from_pydantic,
    key_lines,
    note_on,
    unknown,
    usual,
)
from muomni_cli.recipe.settings import ChatSettings, DataSettings, Settings
from muomni_cli.recipe.stages import PAIRED, SLOTS, SPEECH, STAGES
from muomni_cli.recipe.toml import KeyPath, TomlLimitError, out_of_range, parse, read_text
from muomni_cli.recipe.train_settings import TrainSettings
from muomni_cli.registry.registry import get_registry, nearest
from muomni_cli.registry.sets import references_in, set_file

Model = TypeVar("Model", bound=BaseModel)
SOURCES = ("text", "omni", SPEECH, *PAIRED)
"""Names of ``[[data.<name>]]`` in addition to the modalities of ``[encoders.<modality>]``."""
HOST_KEYS = ("weight", "task", "license", "eval_only")  # keys of a source that belong to the host, not to the part
_TOP = ("name", "doc", "seed", *SLOTS, "encoders", "data", "train", "chat", "callbacks")
MOST_MISTAKES = 100
"""A file with more is hardly a recipe."""
MAX_WEIGHT = 1e9
BY_MEL = ("codec", "vocoder")  # parts that must have the same log-mel
_TASK_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Shipped:
    name: str
    doc: str
    origin: str
    path: Path

    @property
    def full_name(self) -> str:
        """``plugin:name``; muomni's own are ``muomni:name``."""
        return f"{self.origin}:{self.name.rpartition(':')[2]}"


def shipped_recipes() -> list[Shipped]:
    """Every recipe that has a name: muomni's own, then those of plugins."""
    inside = ROOT / "muomni_cli" / "_recipes"  # in a wheel; in a checkout they are beside the package
    shipped = []
    for path in sorted((inside if inside.is_dir() else ROOT / "recipes").glob("*.toml")):
        doc = str(tomllib.loads(path.read_text(encoding="utf-8")).get("doc", ""))
        shipped.append(Shipped(path.stem, doc, "muomni", path))
    own = {recipe.name for recipe in shipped}
    return shipped + [
        Shipped(one.full_name if one.use in own else one.use, one.part.doc, one.plugin.name, one.part.path)
        for one in get_registry().recipes()
    ]


def find_recipe(path_or_name: str) -> Path:
    """The file of a recipe; ``recipes/NAME.toml`` means the shipped recipe if there is no such file. RequestError if
    there is no such file and no shipped recipe of that name, or several."""
    path = Path(path_or_name).expanduser()
    if path.is_file():
        return path
    offered = shipped_recipes()
    shipped = {recipe.name: recipe.path for recipe in offered}
    named = shipped | {recipe.full_name: recipe.path for recipe in offered}
    if path_or_name in named:
        return named[path_or_name]
    if several := [recipe.full_name for recipe in offered if recipe.full_name.rpartition(":")[2] == path_or_name]:
        what = f"{len(several)} plugins have a recipe {path_or_name!r}"
        raise RequestError(what, f"say which: {' or '.join(several)}")
    if path.parent == Path("recipes") and path.suffix == ".toml" and path.stem in shipped:
        _notify(path_or_name)
        return shipped[path.stem]
    if path.is_dir():
        raise RequestError(f"{path} is a folder, not a recipe", f"name one recipe, or a file: {path}/NAME.toml")
    near = path.stem if path.stem in shipped else nearest(path_or_name, list(shipped))
    listed = f"recipes that come with muomni: {', '.join(shipped)}"
    raise RequestError(
        f"there is no recipe {path_or_name!r}", f"did you mean {near!r}? {listed}" if near else f"name a file; {listed}"
    )


def _owner(file: Path) -> str | None:
    """The plugin that ships the recipe, ``muomni`` for muomni's own."""
    return next((one.origin for one in shipped_recipes() if one.path.resolve() == file.resolve()), None)


@cache
def _notify(path: str) -> None:
    """Once per process: a command may look up its recipe several times."""
    say(f"{path}: not here; using the recipe that comes with muomni")


def load_recipe(path_or_name: str, overrides: Sequence[str] = (), run: Path | None = None) -> Recipe:
    """Read and validate a TOML file or a shipped recipe, with ``key=value`` words applied.

    Args:
        run: the folder of the run that it trains, which says what ambiguous names mean (:class:`Names`); default: the
            run of the recipe's name.

    Raises:
        RequestError: it cannot be read; a RecipeMistakesError holds all of its mistakes.
    """
    file = find_recipe(path_or_name)
    text = read_text(file)
    if not text.strip():
        raise RequestError(f"{file} is empty", "copy the file again, or begin with one of muomni recipes list")
    tables = _tables(text, file)
    written = copy.deepcopy(tables)
    origins, mistakes = lay_over(tables, overrides)
    names = Names(file, functools.partial(_owner, file), run or RUNS / str(tables.get("name", file.stem)))
    reader = _Reader(tables, names, list(out_of_range(tables)))
    notes: list[str] = []
    with suppress(_TooManyMistakesError):
        if not reader.mistakes:
            notes = shorten_warmups(tables, written, origins)
            recipe = reader.recipe(default_name=file.stem, source=path_or_name)
    lines = key_lines(text) if reader.mistakes else {}
    found = dict.fromkeys(reader.mistakes)  # a value in place of a table is found more than once
    mistakes += [_place(path, message, file, lines, origins) for path, message in found]
    if mistakes:
        raise RecipeMistakesError(str(file), mistakes)
    return replace(recipe, notes=tuple(notes))


def _tables(text: str, file: Path) -> dict[str, Any]:
    try:
        return parse(text)
    except TomlLimitError as error:
        mistake = Mistake("", str(error), f"{file}:{error.line}" if error.line else str(file), error.line)
    except tomllib.TOMLDecodeError as error:
        message, _, position = str(error).partition(" (at ")
        number = re.search(r"line (\d+)", position)
        line = int(number[1]) if number else text.count("\n") + 1
        mistake = Mistake("", f"not TOML: {message[:1].lower()}{message[1:]}", f"{file}:{line}", line)
    raise RecipeMistakesError(str(file), [mistake])


def _place(
    path: KeyPath, message: str, file: Path, lines: Mapping[KeyPath, int], origins: Mapping[KeyPath, str]
) -> Mistake:
    """Locate a mistake: the override that set ``path`` or a table around it, else the line of the longest prefix in the
    file, together with overrides inside of a table."""
    prefixes = [path[:length] for length in range(len(path), 0, -1)]
    words = [origins[prefix] for prefix in prefixes if prefix in origins]
    if words:
        return Mistake(dotted(path), message, f"override {words[0]!r}")
    line = next((lines[prefix] for prefix in prefixes if prefix in lines), 0)
    inside = [repr(word) for changed, word in origins.items() if path and changed[: len(path)] == path]
    where = f"{file}:{line}" if line else str(file)
    return Mistake(dotted(path), message, f"{where} with {', '.join(inside)}" if inside else where, line)


class _TooManyMistakesError(Exception):
    """There is no use in looking for more."""


class _Reader:
    """Walks the tables of one recipe. Mistakes are collected in ``mistakes`` and left out of the result."""

    def __init__(self, tables: dict[str, Any], names: Names, mistakes: list[tuple[KeyPath, str]]) -> None:
        self.tables, self.names = tables, names
        self.mistakes = mistakes[:MOST_MISTAKES]

    def recipe(self, *, default_name: str, source: str) -> Recipe:
        for key in [key for key in self.tables if key not in _TOP]:
            self.wrong((key,), self.misplaced(key))
        encoders = self.many("encoders", "encoder")
        for modality, encoder in encoders.items():
            part = encoder.registered.part
            if isinstance(part, EncoderPart) and part.modality != modality:
                self.wrong(("encoders", modality, "use"), f"{encoder.use!r} encodes {part.modality}, not {modality}")
        if not self.mistakes and not self.tables.keys() & {*SLOTS, "encoders"}:
            self.wrong((), "names no part: a recipe needs tables such as [tokenizer] and [thinker]")
        name = str(self.plain("name", str, default_name))
        if not _RUN_NAME.fullmatch(name):
            self.wrong(("name",), f"{name!r} is not a valid name (letters, digits, -, _ and .)")
        parts = {slot: chosen for slot in SLOTS if slot in self.tables and (chosen := self.part((slot,), slot))}
        self.check_mel(parts)
        seed = int(self.plain("seed", int, 0))
        if not 0 <= seed < 2**63:
            self.wrong(("seed",), f"{seed} is not a valid seed (0 or more, below 2^63)")
        return Recipe(
            name=name,
            doc=self.plain("doc", str, ""),
            seed=seed,
            parts=parts,
            encoders=encoders,
            data=self.data(),
            train=self.train((*STAGES, *self.table(("encoders",)))),
            chat=self.settings(("chat",), ChatSettings, self.table(("chat",))) or ChatSettings(),
            callbacks=self.many("callbacks", "callback"),
            source=source,
        )

    def check_mel(self, parts: Mapping[str, PartSpec]) -> None:
        """A vocoder that works with one log-mel alone says so by a setting ``mel``; a codec of waveforms needs none."""
        whole = parts["codec"].registered.part if "codec" in parts else None
        if isinstance(whole, CodecPart) and whole.waveform and "vocoder" in parts:
            self.wrong(("vocoder",), f"the codec {whole.name} makes samples itself: leave [vocoder] out")
            return
        codec, vocoder = (getattr(parts[slot].config, "mel", None) if slot in parts else None for slot in BY_MEL)
        mistake = None
        if isinstance(codec, MelConfig) and isinstance(vocoder, MelConfig):
            mistake = mel_mistake(parts["vocoder"].use, vocoder, codec)
        if mistake is not None:
            self.wrong(("codec",), "; ".join(mistake))

    def wrong(self, path: KeyPath, message: str) -> None:
        self.mistakes.append((path, message))
        if len(self.mistakes) >= MOST_MISTAKES:
            raise _TooManyMistakesError

    def misplaced(self, key: str) -> str:
        """Error for an unknown top-level key; suggests the table that has a key of that name."""
        if isinstance(self.tables[key], dict):
            return unknown(key, _TOP, "table")
        models: dict[str, type[BaseModel]] = {"train": TrainSettings, "chat": ChatSettings, "data": DataSettings}
        for slot in SLOTS:
            use = self.tables[slot].get("use") if isinstance(self.tables.get(slot), dict) else None
            with suppress(RequestError):  # reported where the part is read
                if isinstance(use, str):
                    models[slot] = get_registry().get(slot, use, self.names.choose).part.config
        for table, model in models.items() if usual(key, _TOP) is None else ():
            if name := key if key in model.model_fields else usual(key, model.model_fields):
                return f"unknown key {key!r}; did you mean {f'{table}.{name}'!r}?{note_on(key)}"
        return unknown(key, _TOP, "key")

    def plain(self, key: str, kind: type[Any], default: Any) -> Any:
        value = self.tables.get(key, default)
        if isinstance(value, kind) and not isinstance(value, bool):
            return value
        self.wrong((key,), f"{value!r} is not {'an integer' if kind is int else 'a string'}")
        return default

    def table(self, path: KeyPath) -> dict[str, Any]:
        """The table at ``path``; empty if it is missing or not a table."""
        value: Any = self.tables
        for step in path:
            value = value[step] if not isinstance(value, dict) or step in value else {}
        if isinstance(value, dict):
            return value
        self.wrong(path, f"{value!r} stands where a table is needed: write [{dotted(path)}]")
        return {}

    def settings(self, path: KeyPath, model: type[Model], values: Mapping[str, Any]) -> Model | None:
        """Validate a table strictly: "4" is not a number, and true is not 1."""
        try:
            return model.model_validate_json(json.dumps(values, default=str), strict=True, context={"recipe": True})
        except ValidationError as error:
            for where, message in from_pydantic(error, model, path):
                self.wrong(where, message)
            bad = {str(item["loc"][0]) for item in error.errors() if item["loc"]}
            if bad and issubclass(model, Settings):  # validation did not reach contradictions among the other keys
                good = {key: value for key, value in values.items() if key not in bad}
                for key, other, message in model.model_construct(**good).contradictions():
                    if not bad & {key, other}:
                        self.wrong((*path, key), message)
            return None

    def part(self, path: KeyPath, kind: str, host_keys: Sequence[str] = ()) -> PartSpec | None:
        values = dict(self.table(path))
        use = values.pop("use", None)
        if not isinstance(use, str):
            if all(where != path for where, _ in self.mistakes):  # else it is not a table
                self.wrong((*path, "use"), f'needs use = "...", the name of a {kind}')
            return None
        try:
            registered = get_registry().get(kind, use, self.names.choose)
        except RequestError as error:
            self.wrong((*path, "use"), f"{error.what}; {error.fix}")
            return None
        own = {key: value for key, value in values.items() if key not in host_keys}
        if kind == DatasetPart.kind:
            own = self.datasets_named(path, own)
        config = self.settings(path, registered.part.config, own)
        return None if config is None else PartSpec(use, registered, config)

    def datasets_named(self, path: KeyPath, values: dict[str, Any]) -> dict[str, Any]:
        """``values`` with the plugin in every ``set:NAME``, which must be a declared public dataset."""
        named: Any = copy.deepcopy(values)
        for keys, reference in references_in(values):
            try:
                full = self.names.dataset(reference)
                set_file(full)
            except RequestError as error:
                self.wrong((*path, *keys), f"{error.what}; {error.fix}")
                continue
            table = named
            for key in keys[:-1]:
                table = table[key]
            table[keys[-1]] = full
        return cast("dict[str, Any]", named)

    def models_named(self, path: KeyPath, values: dict[str, Any]) -> dict[str, Any]:
        """``values`` of a ``[train]`` table with the plugin of every installed model that it names."""

        def full(key: KeyPath, name: Any) -> Any:
            try:
                return self.names.model(name) if isinstance(name, str) else name
            except RequestError as error:
                self.wrong((*path, *key), f"{error.what}; {error.fix}")
                return name

        named = {key: full((key,), value) if key == "init" else value for key, value in values.items()}
        if isinstance(encoders := named.get("init_encoders"), dict):
            named["init_encoders"] = {name: full(("init_encoders", name), one) for name, one in encoders.items()}
        return named

    def many(self, table: str, kind: str) -> dict[str, PartSpec]:
        found = {name: self.part((table, name), kind) for name in self.table((table,))}
        return {name: chosen for name, chosen in found.items() if chosen is not None}

    def data(self) -> Data:
        table = self.table(("data",))
        known = (*SOURCES, *self.table(("encoders",)))
        lists = {key: value for key, value in table.items() if key in known or isinstance(value, list | dict)}
        plain = {key: value for key, value in table.items() if key not in lists}
        sources: dict[str, tuple[SourceSpec, ...]] = {}
        for name, elements in lists.items():
            if name not in known:
                self.wrong(("data", name), unknown(name, [*known, *DataSettings.model_fields], "key"))
            elif not isinstance(elements, list):
                self.wrong(("data", name), f"is a list of tables: write [[data.{name}]]")
            else:
                read = [self.source(("data", name, index)) for index in range(len(elements))]
                sources[name] = tuple(source for source in read if source is not None)
                tasks = [source.task if source is not None else "" for source in read]
                for index, task in enumerate(tasks):  # unique, as metrics are reported by task
                    if task and task in tasks[:index]:
                        path = ("data", name, index, "task")
                        self.wrong(path, f"{task!r} names another table of this list already")
        return Data(self.settings(("data",), DataSettings, plain) or DataSettings(), sources)

    def source(self, path: KeyPath) -> SourceSpec | None:
        chosen = self.part(path, "dataset", host_keys=HOST_KEYS)
        weight, task, license, measure = (
            self.table(path).get(key, unset) for key, unset in zip(HOST_KEYS, (1.0, "", "", False), strict=True)
        )
        mistake = None
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= MAX_WEIGHT:
            mistake = "weight", f"{weight!r} is not a valid weight (a number above 0, up to {MAX_WEIGHT:,.0f})"
        elif task != "" and not (isinstance(task, str) and _TASK_NAME.fullmatch(task)):
            mistake = "task", f"{task!r} is not a valid task name (lower case letters, digits, - and _)"
        elif not isinstance(license, str) or "\n" in license:
            mistake = "license", f"{license!r} is not a valid license (one line of text)"
        elif not isinstance(measure, bool):
            mistake = "eval_only", f"{measure!r} is neither true nor false"
        if mistake is not None:
            self.wrong((*path, mistake[0]), mistake[1])
        if mistake is not None or chosen is None:
            return None
        return SourceSpec(chosen.use, chosen.registered, chosen.config, float(weight), task, license, measure)

    def train(self, stages: Sequence[str]) -> dict[str, TrainSettings]:
        """Settings of all stages: ``[train]`` merged with each ``[train.<stage>]``."""
        table = self.table(("train",))
        own_keys = TrainSettings.model_fields
        common = {key: value for key, value in table.items() if not isinstance(value, dict) or key in own_keys}
        common = self.models_named(("train",), common)
        found = {"": self.settings(("train",), TrainSettings, common)}
        said = {(path[-1], message) for path, message in self.mistakes if path[:1] == ("train",)}
        for stage, own in table.items():
            if not isinstance(own, dict) or stage in own_keys:
                continue
            if stage not in stages:
                self.wrong(("train", stage), unknown(stage, stages, "stage"))
            before = len(self.mistakes)
            merged = common | self.models_named(("train", stage), own)
            found[stage] = self.settings(("train", stage), TrainSettings, merged)
            self.mistakes[before:] = [  # do not repeat the mistakes of [train] for every stage
                (path, message)
                for path, message in self.mistakes[before:]
                if path[2] in own or (path[-1], message) not in said
            ]
        return {stage: settings for stage, settings in found.items() if settings is not None}
