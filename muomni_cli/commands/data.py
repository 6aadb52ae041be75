"""``muomni data``: check, show, export, synthesize, record and download training data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muomni_cli.commands.options import JsonOption, OverridesArgument, RecipeArgument
from muomni_cli.core.console import print_json, print_table, say, stderr_console, terminal_safe
from muomni_cli.core.errors import RequestError
from muomni_cli.core.stopping import Terminated

if TYPE_CHECKING:
    from rich.progress import Progress

    from muomni_cli.data.check import DataReport
    from muomni_cli.data.public_datasets import SetState

SHOWN = 12  # labels listed at most
METER = 40  # characters of a level meter

app = typer.Typer(
    no_args_is_help=True, help="Download public datasets; check, export, synthesize or record the data of a recipe."
)


@app.command()
def get(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Public datasets; see --list.")] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the public datasets and which of them are downloaded.")
    ] = False,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Accept files without a published checksum.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the downloaded archives after conversion.")] = False,
    json: JsonOption = False,
) -> None:
    """Download public datasets, verify and convert them, into $MUOMNI_DATA or the platform's data folder.

    Recipes refer to their files as set:NAME. An interrupted download continues where it stopped.
    """
    from muomni_cli.data.public_datasets import get_sets, kept_lines, states

    if listed:
        if names:
            raise RequestError("--list takes no names", "muomni data get --list, or muomni data get NAME")
        _list(states(), json=json)
        return
    if not names:
        raise RequestError("no dataset is named", "list the datasets: muomni data get --list")
    with _bars() as bars:
        try:
            found = get_sets(names, _Watcher(bars), unverified=unverified, keep=keep)
        except (KeyboardInterrupt, Terminated):
            bars.stop()
            lines = kept_lines(names)
            say(f"stopped: {'; '.join(lines) or 'nothing was downloaded yet'}")
            if lines:
                say(f"continue with: muomni data get {' '.join(names)}")
            raise
    for state in found:
        say(f"{state.use} is here")
    if json:
        print_json([state.as_json() for state in found])
    else:
        for state in found:
            print(*state.files, sep="\n")


def _list(states: list[SetState], *, json: bool) -> None:
    from muomni_cli.registry.sets import size_text

    if json:
        print_json([state.as_json() for state in states])
        return
    rows = []
    for state in states:
        download = state.download
        doc = download.doc + ("" if download.verified else " (unverified: no published checksum)")
        rows.append((state.use, size_text(download.size), state.here, download.license, doc))
    print_table(("NAME", "SIZE", "HERE", "LICENSE", "WHAT"), rows)


class _Watcher:
    """Prints licenses, then progress: bars on a terminal, otherwise one line per file."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars

    def begin(self, state: SetState) -> None:
        from muomni_cli.core.files import data_folder
        from muomni_cli.registry.sets import size_text

        download = state.download
        say(f"{state.use}: {download.doc}")
        say(f"  license: {download.license} ({download.license_url})")
        say(f"  {size_text(download.size)} to download, into {data_folder()}")

    def task(self, words: str, total: int) -> Callable[[int], None]:
        if not self._bars.console.is_terminal:
            say(f"  {words}")
        task = self._bars.add_task(words, total=total)
        return lambda done: self._bars.update(task, completed=done)


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    console = stderr_console()
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bars:
        yield bars


class Format(StrEnum):
    WAV = "wav"
    FLAC = "flac"


class Split(StrEnum):
    TRAIN = "train"
    VAL = "val"


@app.command()
def check(recipe: RecipeArgument, overrides: OverridesArgument = None, json: JsonOption = False) -> None:
    """Read all data of a recipe and report counts, lengths, labels, unreadable files, and overlap of train and
    validation data.

    Every file that training would open is opened. Exits with 2 if there is nothing to train or validate on, and with 1
    if some of the data cannot be used.
    """
    from muomni_cli.core.files import RUNS
    from muomni_cli.data.check import check as check_data
    from muomni_cli.data.text import known_tokenizer
    from muomni_cli.recipe.load import load_recipe
    from muomni_cli.runs.run import RunFolder

    loaded = load_recipe(recipe, overrides or ())
    tokenizer = known_tokenizer(loaded, RunFolder(RUNS / loaded.name).tokenizer_folder())
    if tokenizer is None:
        say("lengths are in characters: the recipe has no trained tokenizer yet")
    report = check_data(loaded, tokenizer)
    if json:
        counts = [one.as_json() for one in report.validating]
        print_json(asdict(report) | {"validating": counts, "usable": report.usable, "warnings": report.warnings})
    else:
        _print(report)
    if report.refusals:
        raise RequestError(*report.refusals[0])
    raise typer.Exit(0 if report.usable and report.complete else 1)


@app.command()
def export(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FOLDER", help="Output folder.")] = None,
    table: Annotated[str, typer.Option(metavar="NAME", help="Data table [[data.NAME]].")] = "omni",
    source: Annotated[
        str, typer.Option(metavar="NAME", help="Source in the table, by task or number (default: the first).")
    ] = "",
    split: Annotated[Split, typer.Option(help="Data split.")] = Split.VAL,
    count: Annotated[int, typer.Option(min=1, help="Maximum number of examples.")] = 10,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="Write one Parquet file with media inside, which datasets opens.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Export examples of a recipe's data as files: images, audio, and a list with their texts."""
    from muomni_cli.data.export import LIST, export_examples
    from muomni_cli.data.parquet_export import export_parquet
    from muomni_cli.recipe.load import load_recipe

    if output is None:
        raise RequestError("no output folder", "name one: -o FOLDER")
    loaded = load_recipe(recipe, overrides or ())
    write = export_parquet if parquet else export_examples
    written = write(loaded, table, source, output, split=split.value, count=count)
    if json:
        print_json([{"files": [str(path) for path in one.files], "text": one.text} for one in written])
    else:
        shown = [(" ".join(path.name for path in one.files) or "-", terminal_safe(one.text)) for one in written]
        print_table(("FILES", "TEXT"), shown)
    if parquet:
        say(f"wrote {len(written):,} examples to {written[0].files[0]}")
    else:
        say(f"wrote {len(written):,} examples and their list {output / LIST}")


@app.command()
def synthesize(
    files: Annotated[list[Path], typer.Argument(metavar="TEXTFILE...", help="Text files, UTF-8.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="Output folder.")],
    voice: Annotated[str | None, typer.Option(help="Voice name (default: the synthesizer's first voice).")] = None,
    synthesizer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Dataset plugin whose speech synthesizer to use.")
    ] = None,
    model: Annotated[str | None, typer.Option("-m", "--model", help="Speak with this trained model instead.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Maximum number of sentences; 0 for all.")] = 0,
    min_words: Annotated[int, typer.Option(min=1, help="Minimum words of a sentence.")] = 2,
    max_words: Annotated[int, typer.Option(min=1, help="Maximum words of a sentence.")] = 25,
    lines: Annotated[
        bool, typer.Option("--lines", help="Speak every line as it is, without splitting sentences.")
    ] = False,
    form: Annotated[Format, typer.Option("--format", help="Audio format.")] = Format.WAV,
    json: JsonOption = False,
) -> None:
    """Synthesize a speech dataset from text: an audio file per sentence, and a list of them that recipes read.

    Existing audio files are kept, so an interrupted run continues where it stopped.
    """
    from muomni_cli.voice.dataset import choose_synthesizer, speak, texts_of

    if min_words > max_words:
        what = f"--min-words {min_words} is more than --max-words {max_words}"
        raise RequestError(what, "raise --max-words or lower --min-words")
    if model is not None and synthesizer is not None:
        raise RequestError("--model and --synthesizer exclude each other", "choose one")
    texts = texts_of(files, (min_words, max_words), limit, cut=not lines)
    choice = choose_synthesizer(synthesizer, voice, model)
    say(f"speaking {len(texts):,} sentences with the voice {choice.synthesizer.voice}")
    corpus = speak(texts, choice, output, form=form.value, progress=say)
    say(f"wrote {corpus.sentences:,} sentences, {corpus.seconds / 60:,.1f} minutes; {corpus.made:,} of them now")
    say(f'train on them: modality = "audio" and path = "{corpus.path}" in a table of [[data.speech]]')
    if json:
        print_json(asdict(corpus) | {"path": str(corpus.path)})
    else:
        print(corpus.path)


@app.command()
def preferences(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FOLDER", help="Output folder.")] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="Run whose Talker speaks (default: the recipe's own run).")
    ] = None,
    count: Annotated[int, typer.Option(min=0, help="Number of sentences; 0 for all.")] = 500,
    samples: Annotated[int, typer.Option(min=2, help="Utterances of each sentence.")] = 6,
    temperature: Annotated[float, typer.Option(help="Sampling temperature of the codes, above 0.")] = 0.7,
    voice: Annotated[str, typer.Option(help="Voice name (default: the Talker's first voice).")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    json: JsonOption = False,
) -> None:
    """Make pairs of utterances for the stage talker_dpo: sentences of [[data.speech]], spoken several times by a Talker
    and ranked by the word errors of a recognizer.

    Sentences that were spoken before are kept, so an interrupted command goes on where it stopped, and a larger
    --count adds to them. Needs muomni[train,eval].
    """
    from muomni_cli.recipe.load import load_recipe
    from muomni_cli.voice.preferences import SampleSettings, make_preferences

    if output is None:
        raise RequestError("no output folder", "name one: -o FOLDER")
    settings = SampleSettings(count, samples, temperature, voice, seed)
    loaded = load_recipe(recipe, overrides or ())
    made = make_preferences(loaded, model or loaded.name, output, settings, say)
    say(
        f"{made.pairs:,} pairs from {made.texts:,} sentences, {made.spoken:,} of them spoken now; word error rate of "
        f"the chosen {made.chosen_wer:.3f}, of the rejected {made.rejected_wer:.3f}"
    )
    say(f'train on them: use = "preferences" and path = "{made.path}" in a table of [[data.talker_dpo]]')
    if json:
        print_json(asdict(made) | {"path": str(made.path)})
    else:
        print(made.path)


@app.command()
def record(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="Text file with a sentence a line.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="Folder of the recordings.")],
    silence: Annotated[float, typer.Option(min=0.3, max=5, help="Seconds of silence that end a recording.")] = 1.0,
    microphone: Annotated[str | None, typer.Option(help="Name or number of the microphone.")] = None,
) -> None:
    """Record a script by microphone, a WAV file per line, in the layout of LJSpeech.

    Lines that were recorded before are left out, so that an interrupted recording goes on where it stopped.
    """
    from muomni_cli.voice.recording import ScriptFolder, record_script, script_lines
    from muomni_cli.voice.recording import microphone as opened

    lines, folder = script_lines(script), ScriptFolder.open(output)
    with opened(microphone) as source:
        say("read each line as you would speak; the recording ends by itself when you are silent")
        made = record_script(lines, folder, source, silence=silence, ask=_ask, say=say, meter=_meter)
    print(file=sys.stderr)
    say(f"recorded {made:,} lines; {output} has {len(folder.texts):,} of {len(lines):,}")
    say(f"next: muomni train voice {output} --init nano")
    print(output)


def _ask(question: str) -> str:
    """The answer to a question on the terminal; the end of the input ends the recording."""
    print(question, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    return line.strip().lower() if line else "q"


def _meter(level: float) -> None:
    """Show a level in dB of full scale as a bar, on a terminal."""
    if sys.stderr.isatty():
        full = max(0, min(METER, round((level + 60) / 60 * METER)))
        print(f"\r[{'#' * full}{' ' * (METER - full)}] {level:4.0f} dB ", end="", file=sys.stderr, flush=True)


def _print(report: DataReport) -> None:
    rows = []
    for one in report.everything:
        for split, documents in one.stats.documents.items():  # only what can be used
            characters, tokens = one.stats.characters[split], one.stats.tokens[split]
            counts = f"{documents:,}", f"{characters:,}", f"{tokens:,}" if tokens else "-"
            rows.append((one.table, one.stats.name, split, *counts))
    print_table(("TABLE", "SOURCE", "SPLIT", "ITEMS", "CHARACTERS", "TOKENS"), rows)
    for source in report.sources:
        if source.longest:
            marks = "  ".join(f"{percent}%: {length:,}" for percent, length in source.percentiles.items())
            print(f"\n{source.stats.name}, length in {source.unit}:  {marks}  longest: {source.longest:,}")
            if source.longer is not None:
                how = "cut into windows" if source.table == "text" else "conversations are left out"
                print(f"  longer than ctx_len {report.ctx_len} ({how}): {source.longer:,}")
            if source.media:
                print(f"  shows: {', '.join(f'{count:,} {modality}' for modality, count in source.media.items())}")
            print(f"  begins: {source.example}")
    for examples in report.examples:
        if examples.example:
            print(f"\n{examples.table}, {examples.stats.name}, for example {terminal_safe(examples.example)}")
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
        print("no warnings")
