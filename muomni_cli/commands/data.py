"""``muomni data``: download public datasets, look at what a recipe trains on, take examples of it, make speech."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muomni_cli.commands.data_get import get
from muomni_cli.core.console import print_json, print_table, say, terminal_safe

if TYPE_CHECKING:
    from muomni_cli.data.check import Report

SHOWN = 12
"""Labels that are listed."""


class Format(StrEnum):
    """Of sounds that are made."""

    WAV = "wav"
    FLAC = "flac"


class Side(StrEnum):
    """Of the split."""

    TRAIN = "train"
    VAL = "val"


app = typer.Typer(no_args_is_help=True, help="Download public datasets; check, extract or make the data of a recipe.")


@app.callback()
def data() -> None:
    """Download public datasets; check, extract or make the data of a recipe."""


app.command()(get)


@app.command()
def check(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's file or name.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to the recipe.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read all data of a recipe and report counts, lengths, labels, unreadable files, and what is on both sides of the
    split.

    Exits with 1 if there is nothing to train on.
    """
    from muomni_cli.data.check import check as check_data
    from muomni_cli.data.tokenizer import known_tokenizer
    from muomni_cli.recipe import load_recipe
    from muomni_cli.runs.folder import RUNS, RunFolder

    loaded = load_recipe(recipe, overrides or ())
    tokenizer = known_tokenizer(loaded, RunFolder(RUNS / loaded.name).stage("tokenizer"))
    if tokenizer is None:
        say("lengths are in characters: the recipe has no trained tokenizer yet")
    report = check_data(loaded, tokenizer)
    if json:
        counts = [one.as_json() for one in report.validating]
        print_json(asdict(report) | {"validating": counts, "usable": report.usable, "warnings": report.warnings})
    else:
        _print(report)
    raise typer.Exit(0 if report.usable else 1)


@app.command()
def write(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's file or name.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to the recipe.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FOLDER", help="Where the files go.")] = None,
    table: Annotated[str, typer.Option(metavar="NAME", help="Of which table [[data.NAME]].")] = "omni",
    source: Annotated[
        str, typer.Option(metavar="NAME", help="Its source, by task or number (default: the first).")
    ] = "",
    split: Annotated[Side, typer.Option(help="Which side of the data.")] = Side.VAL,
    count: Annotated[int, typer.Option(min=1, help="Most examples.")] = 10,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write examples of a recipe's data as files: pictures, sounds, and a list of what is said of them."""
    from muomni_cli.core.errors import RequestError
    from muomni_cli.data.write import LIST
    from muomni_cli.data.write import write as write_examples
    from muomni_cli.recipe import load_recipe

    if output is None:
        raise RequestError("there is no folder to write to", "name one: -o FOLDER")
    loaded = load_recipe(recipe, overrides or ())
    written = write_examples(loaded, table, source, output, split=split.value, count=count)
    if json:
        print_json([{"files": [str(path) for path in one.files], "text": one.text} for one in written])
    else:
        shown = [(" ".join(path.name for path in one.files) or "-", terminal_safe(one.text)) for one in written]
        print_table(("FILES", "TEXT"), shown)
    say(f"wrote {len(written):,} examples and their list {output / LIST}")


@app.command()
def speak(
    files: Annotated[list[Path], typer.Argument(metavar="TEXTFILE...", help="Running text, UTF-8.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where the corpus goes.")],
    voice: Annotated[str | None, typer.Option(help="Whose voice (default: the teacher's first).")] = None,
    teacher: Annotated[str | None, typer.Option(metavar="NAME", help="A source of data that has a teacher.")] = None,
    model: Annotated[str | None, typer.Option("-m", "--model", help="Let this trained model speak.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Most sentences; 0 for all.")] = 0,
    min_words: Annotated[int, typer.Option(min=1, help="Words of the shortest sentence.")] = 2,
    max_words: Annotated[int, typer.Option(min=1, help="Words of the longest sentence.")] = 25,
    lines: Annotated[bool, typer.Option("--lines", help="Speak every line as it is, whole sentence or not.")] = False,
    form: Annotated[Format, typer.Option("--format", help="Of the sounds.")] = Format.WAV,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make speech of text files: a sound for each sentence, and a list of them that recipes read.

    What was made before is kept: an interrupted corpus goes on where it was.
    """
    from muomni_cli.core.errors import RequestError
    from muomni_cli.speaking.dataset import speak as make
    from muomni_cli.speaking.dataset import texts_of
    from muomni_cli.speaking.teachers import find_speaker

    if min_words > max_words:
        raise RequestError(
            f"--min-words {min_words} is more than --max-words {max_words}", "raise --max-words or lower --min-words"
        )
    if model is not None and teacher is not None:
        raise RequestError("--model and --teacher both say who speaks", "choose one of them")
    texts = texts_of(files, (min_words, max_words), limit, cut=not lines)
    speaker = find_speaker(teacher, voice, model)
    say(f"speaking {len(texts):,} sentences with the voice {speaker.teacher.voice}")
    corpus = make(texts, speaker, output, form=form.value, progress=say)
    say(f"wrote {corpus.sentences:,} sentences, {corpus.seconds / 60:,.1f} minutes; {corpus.made:,} of them now")
    say(f'train on them: modality = "audio" and path = "{corpus.path}" in a table of [[data.speech]]')
    if json:
        print_json(asdict(corpus) | {"path": str(corpus.path)})
    else:
        print(corpus.path)


def _print(report: Report) -> None:
    rows: list[tuple[object, ...]] = []
    for one in report.everything:
        for side, documents in one.stats.documents.items():
            characters, tokens = one.stats.characters[side], one.stats.tokens[side]
            counts = f"{documents:,}", f"{characters:,}", f"{tokens:,}" if tokens else "-"
            rows.append((one.table, one.stats.name, side, *counts))
    print_table(("FOR", "SOURCE", "SIDE", "ITEMS", "CHARACTERS", "TOKENS"), rows)
    for source in report.sources:
        if source.longest:
            marks = "  ".join(f"{percent}%: {length:,}" for percent, length in source.percentiles.items())
            print(f"\n{source.stats.name}, length in {source.unit}:  {marks}  longest: {source.longest:,}")
            if source.longer is not None:
                print(f"  longer than ctx_len {report.ctx_len} (cut into windows): {source.longer:,}")
            if source.media:
                print(f"  shows: {', '.join(f'{count:,} {modality}' for modality, count in source.media.items())}")
            print(f"  begins: {source.example}")
    for examples in report.examples:
        if examples.example:
            print(f"\n{examples.table}, {examples.stats.name}, such as {terminal_safe(examples.example)}")
        if examples.labels:
            often = sorted(examples.labels.items(), key=lambda entry: -entry[1])[:SHOWN]
            most = ", ".join(f"{label} {count:,}" for label, count in often)
            more = f", and {len(examples.labels) - SHOWN:,} more" if len(examples.labels) > SHOWN else ""
            print(f"  labels: {terminal_safe(most)}{more}")
    print()
    for one_source in report.validating:
        print(terminal_safe(one_source.line()))
    for warning in report.warnings:
        print(f"warning: {warning}")
    if not report.warnings:
        print("nothing to complain about")
