"""Generates docs/cli.md, docs/hooks.md and tables of docs/recipes.md from the program, and tables of docs/nano.md and
README.md from nano's scores: ``make docs``."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo

from muomni_cli import api, testing
from muomni_cli.commands.cli import build_cli
from muomni_cli.conformance.runner import HOMES, checks_of
from muomni_cli.contract import bundle, codecs, declarations, engine, models, speech
from muomni_cli.recipe.settings import ChatSettings, DataSettings
from muomni_cli.recipe.train_settings import TrainSettings
from muomni_cli.registry.hookspecs import API_VERSION, DECLARES, HookSpecs
from muomni_cli.registry.registry import describe_settings, get_registry

KINDS: dict[Any, str] = {int: "INTEGER", float: "NUMBER", Path: "PATH"}
"""Types of option values in words; otherwise TEXT."""
DOCS = Path(__file__).resolve().parent

CLI = """# Commands

The help of every command, as `muomni COMMAND --help` prints it. Options can be placed anywhere; `--debug` and
`--plugin FILE` apply to every command.

- Results go to stdout, messages to stderr: `muomni tts hi -o - | aplay` works.
- Exit codes: 0 done, 1 failed, 2 invalid request, 130 interrupted. An error is one line that says what is wrong and one
  that says how to fix it; `--debug` prints a traceback.
- `-m` takes a run (folder, or name under `runs/`), a checkpoint file, an exported bundle, or an installed model.
- `KEY=VALUE` words change recipe settings for one command; values are TOML: `thinker.d_model=128`, `train.lr=1e-3`.
- Environment: `MUOMNI_MODEL` (default of `-m`), `MUOMNI_CACHE` (prepared data; `~/.cache/muomni`),
  `MUOMNI_DATA` (public datasets; the platform's data folder, on Linux `~/.local/share/muomni`),
  `MUOMNI_CONFIG` (disabled plugins; `~/.config/muomni`), `MUOMNI_PLUGINS` (plugin files, as `--plugin`),
  `MUOMNI_STRICT_PLUGINS=1` (a broken plugin is an error).
"""

HOOKS = """# Hooks

What a plugin can declare. A plugin is an importable module that implements some of these functions with `@hookimpl` of
`muomni_cli.api`; the entry point group `muomni` of its package names the module, or `--plugin FILE` does. Each function
named `register_` is called once, at start-up, so the module imports no torch and no numpy: declarations refer to code
as `"package.module:attr"`, which is imported lazily. [Writing a plugin](plugins.md) is a step-by-step introduction.

The declarations and records below come from `muomni_cli.api`, checks from `muomni_cli.testing`. The other protocols are
implemented without importing them; for type checkers they are in `muomni_cli.contract`. Letters in shapes: B batch,
T tokens or frames, D width, V vocabulary, Q codebooks, K codebook size, F mel bins, M mel frames, N samples.

A module can set `MUOMNI_API = {version}`, the newest interface that it needs. An older host leaves the plugin out, with
that reason.
"""

SCORES = DOCS.parent / "plugins" / "muomni_nano" / "scores.json"
PLACE = re.compile(r"(<!-- cards: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

Key = tuple[str, str, str]
"""Stage, task and metric."""
CARDS: Sequence[tuple[str, Key, str, bool]] = (
    ("ten keywords, unseen speakers", ("audio", "keywords", "choice"), "pocketsphinx 0.80", True),
    ("ten keywords, what `listen` writes", ("audio", "keywords", "exact"), "", True),
    ("the same, 30 dB quieter", ("audio", "quiet-keywords", "exact"), "", False),
    ("the same, somewhere in 5 seconds", ("audio", "long-keywords", "exact"), "", False),
    ("the same in 5 seconds, by `chat`", ("omni", "long-sounds", "exact"), "", False),
    ("digits, the same speakers", ("audio", "digits", "choice"), "pocketsphinx 0.80", False),
    ("digits, a dataset not used for training", ("audio", "free-digits", "choice"), "pocketsphinx 0.76", True),
    ("the same, what `listen` writes", ("audio", "free-digits", "exact"), "", False),
    ("short commands, an unseen voice, word error rate", ("audio", "commands", "wer"), "", True),
    ("the same, transcribed by the Thinker", ("omni", "commands", "wer"), "", False),
    ("simple sentences, that voice, word error rate", ("audio", "sentences", "wer"), "", True),
    ("drawn scenes: captions and answers, exact match", ("omni", "pictures", "exact"), "", True),
    ("unseen pairs of color and shape", ("omni", "new-pairs", "exact"), "", True),
    ("scenes as JPEG of quality 50", ("omni", "jpeg-pictures", "exact"), "", True),
    ("scenes on white", ("omni", "white-pictures", "exact"), "", False),
    ("scenes on black", ("omni", "black-pictures", "exact"), "", False),
    ("scenes on dark blue", ("omni", "dark-blue-pictures", "exact"), "", False),
    ("scenes with one large object", ("omni", "large-pictures", "exact"), "", False),
    ("scenes of 128 by 64 pixels", ("omni", "wide-pictures", "exact"), "", False),
    ("scenes without color", ("omni", "gray-pictures", "exact"), "", False),
    ("everyday things in a style not used for training, named", ("omni", "new-style", "exact"), "", True),
    ("the same, which of ten", ("omni", "new-style-of-ten", "exact"), "", False),
    ("unknown pictures, told as such", ("omni", "unknown-pictures", "exact"), "", True),
    ("unknown sounds, told as such", ("omni", "unknown-sounds", "exact"), "", False),
    ("small talk, held-out conversations", ("omni", "small-talk", "exact"), "", True),
    ("questions about an image and a spoken word", ("omni", "questions", "exact"), "", True),
    ("the same with another image: answer follows it", ("omni", "questions/image", "exchanged"), "", False),
    ("the same with another sound: answer follows it", ("omni", "questions/audio", "exchanged"), "", False),
    (
        "speech, held-out sentences, word error rate",
        ("talker", "sentences", "wer_spoken"),
        "the teacher: topline",
        True,
    ),
    ("stories, bits per byte on held-out books", ("omni", "stories", "bits_per_byte"), "bzip2: baseline", True),
)
"""Description, metric, what to compare it with, and whether the README shows it."""

BUILT: dict[str, tuple[str, ...]] = {
    "tokenizer": ("Tokenizer",),
    "thinker": ("Thinker", "ThinkerOutput", "Cache"),
    "encoder": ("Encoder", "EncoderOutput", "Transcriber", "Responder", "Predictor", "PredictorModule", "Aligner"),
    "codec": ("Codec", "WaveCodec", "CodeShape", "CodecRunner", "WaveCodecRunner", "TensorStream"),
    "talker": ("Talker", "SpeechGenerator", "VoiceSettings", "TextChunk"),
    "vocoder": ("Vocoder", "VocoderRunner"),
    "dataset": ("Dataset", "Document", "Message", "Conversation", "Example", "Media", "Synthesizer"),
    "speech-program": ("SpeechProgram",),
    "callback": ("Callback",),
    "runtime": ("Engine", "GraphCall"),
    "exporter": ("TextModel", "ExportedFile"),
    "download": ("RemoteFile",),
    "metrics": ("Evaluation", "MetricResult", "EvalSample"),
}
"""Kind -> protocols and records of its parts."""

SHARED = {
    "Training": ("Objective", "StageContext", "Batch", "Loss", "Sample"),
    "Export": ("Graph", "GraphInput"),
    "Tracing": ("Step",),
    "Checks": ("Check", "Number", "CheckResult", "PartUnderTest"),
    "Errors": ("MuomniError", "RequestError"),
}
"""Section -> protocols and records of several kinds."""


def plain(doc: str | None) -> str:
    """A docstring as Markdown."""
    text = inspect.cleandoc(doc or "")
    text = re.sub(r":\w+:`~?([^`]*)`", lambda m: f"`{m[1].rpartition('.')[2]}`", text)
    text = text.replace("``", "`")
    lines, listed = [], False
    for line in text.splitlines():
        if re.fullmatch(r"(Args|Raises):", line):
            listed = True
            continue
        if listed and (match := re.match(r"    (\w+): (.*)", line)):
            lines.append(f"- `{match[1]}`: {match[2]}")
        elif listed and line.startswith("        "):
            lines.append(f"  {line.strip()}")
        else:
            listed = listed and not line.strip()
            lines.append(line)
    return "\n".join(lines).strip()


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument or option of a command."""

    name: str
    kind: Any
    info: Any
    default: Any

    @property
    def argument(self) -> bool:
        """Whether it is positional."""
        return isinstance(self.info, ArgumentInfo)

    @property
    def written(self) -> str:
        """``[PROMPT]``, ``-m, --model TEXT``."""
        if self.argument:
            name = self.info.metavar or self.name.upper()
            return str(name if self.default is inspect.Parameter.empty or name.startswith("[") else f"[{name}]")
        first = [self.info.default] if isinstance(self.info.default, str) else []  # as Typer reads it in Annotated
        names = [*first, *(self.info.param_decls or ())] or [f"--{self.name.replace('_', '-')}"]
        takes = "" if self.kind is bool else f" {self.info.metavar or KINDS.get(self.kind, 'TEXT')}"
        return f"{', '.join(names)}{takes}"

    def __str__(self) -> str:
        """One row of a table."""
        told = " ".join((self.info.help or "").split())
        none = self.default in (None, False, "", inspect.Parameter.empty) or "default" in told
        return f"| `{cell(self.written)}` | {cell(told)}{'' if none else f' (default: {self.default})'} |"


def parameters(call: Any) -> list[Parameter]:
    """The parameters of a command."""
    kinds, found = get_type_hints(call, include_extras=True), []
    for name, parameter in inspect.signature(call).parameters.items():
        if get_origin(kinds[name]) is Annotated:
            kind, info, *_ = get_args(kinds[name])
            inner = [one for one in get_args(kind) if one is not type(None)]
            while inner:
                kind, inner = inner[0], list(get_args(inner[0]))
            found.append(Parameter(name, kind, info, parameter.default))
    return found


def commands(app: typer.Typer, path: str) -> Iterator[tuple[str, str, list[Parameter], bool]]:
    """Every command: its path, help and parameters, and whether it is a group."""
    for info in app.registered_commands:
        assert info.callback is not None, "a command is a function"
        name = info.name or info.callback.__name__.replace("_", "-")
        yield f"{path} {name}", plain(info.callback.__doc__), parameters(info.callback), False
    for group in app.registered_groups:
        inner = group.typer_instance
        assert inner is not None, "a group is an app"
        yield f"{path} {group.name}", plain(inner.info.help), [], True
        yield from commands(inner, f"{path} {group.name}")


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def cli_page() -> str:
    ours = [plugin for plugin in get_registry().plugins if plugin.info.origin == "built-in"]
    pieces = [CLI]
    for path, told, taken, group in commands(build_cli(ours), "muomni"):
        pieces.append(f"{'##' if path.count(' ') == 1 else '###'} {path}\n\n{told}\n")
        places = [word.written for word in taken if word.argument]
        options = ["[OPTIONS]"] if len(places) < len(taken) else []
        if taken or not group:
            pieces.append(f"    {' '.join([path, *options, *places, *(['[COMMAND]'] if group else [])])}\n")
        if taken:
            pieces.append("\n".join(["| | |", "|---|---|", *map(str, taken)]) + "\n")
    return "\n".join(pieces)


def hooks_page() -> str:
    """docs/hooks.md: the hooks, what each returns, and the declarations and protocols with their docstrings."""
    pieces = [HOOKS.format(version=API_VERSION)]
    table = ["| hook | returns a list of | for |", "|---|---|---|"]
    for name, hook in vars(HookSpecs).items():
        if hasattr(hook, "muomni_spec"):
            declared = DECLARES.get(name)
            others = {"register_commands": "nothing; adds to `cli`, a `typer.Typer`"}
            returned = f"`{declared.__name__}`" if declared else others.get(name, "no list, but `bool` or None")
            table.append(f"| `{name}` | {returned} | {plain(hook.__doc__)} |")
    pieces.append("\n".join(table) + "\n")
    pieces.append(f"## All parts\n\n{plain(declarations.Part.__doc__)}\n")
    pieces.append(f"### Configuration\n\n{plain(declarations.PartConfig.__doc__)}\n")
    pieces.append(f"### Capabilities\n\n{plain(api.Capability.__doc__)}\n\n{_source(api.Capability)}")
    for hook, declared in DECLARES.items():
        pieces.append(_declaration(hook, declared))
    for title, names in SHARED.items():
        pieces.append(f"## {title}\n")
        pieces += [_source(_named(name)) for name in names]
    return "\n".join(pieces)


def _declaration(hook: str, declared: type) -> str:
    common = {field.name for field in fields(declarations.Part)}
    is_part = issubclass(declared, declarations.Part)
    rows = [f for f in fields(declared) if not is_part or f.name not in common]
    told = [f"## {hook}: {declared.__name__}", plain(declared.__doc__)]
    if rows:
        table = ["| field | type | if unset |", "|---|---|---|"]
        table += [f"| `{f.name}` | `{cell(str(f.type))}` | {_default(f)} |" for f in rows]
        told.append("\n".join(table))
    kind = declared.kind  # type: ignore[attr-defined]
    if kind in BUILT:
        told += [_source(_named(name)).strip() for name in BUILT[kind]]
    if kind in HOMES:
        checks = ["| check | passes if | for parts that |", "|---|---|---|"]
        for check in checks_of(kind):
            asked = f"declare `{check.needs}`" if check.needs else ""
            asked = asked or (f"declare `{check.declares}`" if check.declares else "(all)")
            checks.append(f"| {check.name} | {cell(check.doc)} | {asked} |")
        told += ["Checks of `muomni plugins check`:", "\n".join(checks)]
    return "\n\n".join(told) + "\n"


def _default(field: Any) -> str:
    if field.default is not MISSING:
        return f"`{field.default!r}`"
    return "must be set" if field.default_factory is MISSING else f"`{field.default_factory()!r}`"


def _named(name: str) -> Any:
    """A name of the API, or a protocol of the contract."""
    for module in (api, testing, models, speech, codecs, engine, bundle):
        if hasattr(module, name):
            return getattr(module, name)
    raise LookupError(name)


def _source(thing: type) -> str:
    return f"```py\n{inspect.getsource(thing).strip()}\n```\n"


def recipes_page() -> str:
    page = (DOCS / "recipes.md").read_text(encoding="utf-8")
    return re.sub(
        r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", lambda m: m[1] + _settings(m[2]) + m[3], page, flags=re.S
    )


def _settings(table: str) -> str:
    model = {"data": DataSettings, "train": TrainSettings, "chat": ChatSettings}[table]
    rows = ["| key | default | type | what |", "|---|---|---|---|"]
    for setting in describe_settings(model):
        default = json.dumps(setting["default"], ensure_ascii=False)
        rows.append(f"| `{setting['name']}` | `{default}` | {cell(setting['type'])} | {cell(setting['description'])} |")
    return "\n".join(rows) + "\n"


def with_table(page: str) -> str:
    """``page`` with tables of the current scores; unchanged if the model package is not installed."""
    if not SCORES.is_file():
        return page
    results = {(c["stage"], c["task"], c["metric"]): c for c in json.loads(SCORES.read_text(encoding="utf-8"))}
    return PLACE.sub(lambda m: m[1] + _cards(results, short=m[2] == "short") + m[3], page)


def _cards(results: Mapping[Key, Mapping[str, Any]], *, short: bool) -> str:
    rows = ["| metric | value | 95 % interval | n | baseline | topline | reference |", "|---|---|---|---|---|---|---|"]
    for label, key, beside, everywhere in CARDS:
        if key in results and (everywhere or not short):
            rows.append(_card(label, results[key], beside))
    return "\n".join(rows) + "\n"


def _card(label: str, result: Mapping[str, Any], beside: str) -> str:
    between = "" if result["low"] is None else f"{result['low']:.3f} to {result['high']:.3f}"
    baseline, topline = ("" if result[key] is None else f"{result[key]:.3f}" for key in ("baseline", "topline"))
    count = "" if result["n"] is None else f"{result['n']:,}"
    return f"| {label} | **{result['value']:.3f}** | {between} | {count} | {baseline} | {topline} | {beside} |"


PAGES = {
    "cli.md": cli_page,
    "hooks.md": hooks_page,
    "recipes.md": recipes_page,
    "nano.md": lambda: with_table((DOCS / "nano.md").read_text(encoding="utf-8")),
    "../README.md": lambda: with_table((DOCS.parent / "README.md").read_text(encoding="utf-8")),
}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
        print(f"wrote {DOCS / name}", file=sys.stderr)


if __name__ == "__main__":
    main()
