"""A model card in Markdown, the scores that it reports, and ``muomni models info``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muomni_cli.contract.metrics import as_json
from muomni_cli.core.errors import RequestError
from muomni_cli.core.extras import __version__
from muomni_cli.models.describe import SPEECH, TEXT, describe, listed
from muomni_cli.models.locate import ModelRef, model_named
from muomni_cli.registry.registry import declared

if TYPE_CHECKING:
    from muomni_cli.contract.metrics import MetricResult


def read_scores(files: Sequence[Path]) -> list[MetricResult]:
    """The cards in ``files``, without what was said sentence by sentence.

    Raises:
        RequestError: one cannot be read, or holds something else.
    """
    from muomni_cli.contract.metrics import MetricResult

    cards = []
    for file in files:
        try:
            entries = json.loads(file.read_text(encoding="utf-8"))
            cards += [MetricResult(**_without_sentences(entry)) for entry in entries]
        except OSError as error:
            raise RequestError(f"cannot read {file}: {error.strerror or error}", "name what eval wrote") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise RequestError(
                f"{file} holds no cards of an evaluation", f"make them: muomni eval RECIPE -m MODEL --json > {file}"
            ) from error
    return cards


def _without_sentences(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "sentences"}


@dataclass(frozen=True, slots=True)
class ModelCardInfo:
    """What a card is about.

    Args:
        name: the model's.
        package: what pip calls it.
        doc: one line.
        license: of the model; empty if it is not stated.
        facts: see :func:`muomni_cli.models.describe.describe`.
        scores: what was measured.
        half: weights of the run are stored as fp16.
        files: plugins that are single files and that it needs; no package brings them.
    """

    name: str
    package: str
    doc: str
    license: str
    facts: Mapping[str, Any]
    scores: Sequence[MetricResult]
    half: bool
    files: Sequence[str]


def card(about: ModelCardInfo) -> str:
    """The whole page."""
    sections = [
        ("What it does", _does(about)),
        ("How to use it", _use(about)),
        ("Parts", _parts(about)),
        ("What it learned from", _data(about)),
        ("How well it does", _scores(about)),
        ("Limits", _limits(about)),
        ("License", [about.license or "Not stated. Ask whoever made this package before you pass it on."]),
    ]
    told = [f"# {about.name}", about.doc]
    for title, lines in sections:
        told += [f"## {title}", "\n".join(lines)]
    made = f"Packed by muomni {__version__}: `muomni models info {about.name}` says what is inside."
    return "\n\n".join([*told, made]) + "\n"


def _does(about: ModelCardInfo) -> Iterator[str]:
    facts = about.facts
    yield f"- {facts['does'][:1].upper()}{facts['does'][1:]}." + (
        f" {facts['parameters']:,} parameters." if facts["parameters"] else ""
    )
    if facts["transcribes"]:
        yield "- It writes down what is said in a recording (`muomni listen`)."
    if facts["voices"]:
        yield f"- It speaks with the voice{'s' * (len(facts['voices']) > 1)} {listed(facts['voices'])}."
    kinds = [name for name in ("run", "bundle") if facts[name]]
    told = {
        "run": f"weights to train further ({_mb(facts['run'])}{', fp16' if about.half else ''}), which need PyTorch",
        "bundle": f"a bundle that runs without PyTorch ({_mb(facts['bundle'])})",
    }
    yield f"- The package holds {listed(tuple(told[kind] for kind in reversed(kinds)))}."


def _use(about: ModelCardInfo) -> Iterator[str]:
    yield "```sh"
    yield f"pip install .    # in this folder, or: pip install {about.package}"
    yield from uses(about.name, about.facts)
    yield "```"


def uses(name: str, facts: Mapping[str, Any]) -> list[str]:
    """What to type to use a model, the most usual first."""
    lines = []
    modalities = [modality for modality in facts["takes"] if modality not in (TEXT, SPEECH)]
    if facts["context"]:
        lines.append(f'muomni chat -m {name} "Good morning."')
        lines += [f'muomni chat -m {name} "What is this?" --attach {modality}=FILE' for modality in modalities]
    if SPEECH in facts["gives"] and TEXT in facts["takes"]:
        lines.append(f'muomni tts -m {name} "Good morning." -o out.wav')
    if facts["transcribes"]:
        lines.append(f"muomni listen -m {name} FILE")
    if facts["run"] and (modalities or facts["context"]):
        own = f"init={name}" if facts["context"] else f"train.omni.init_encoders.{modalities[0]}={name}"
        lines.append(f"muomni train omni RECIPE {own}    # go on from its weights")
    return [*lines, f"muomni models info {name}"]


def _parts(about: ModelCardInfo) -> Iterator[str]:
    yield "| part | stage | made of | size | parameters |"
    yield "|---|---|---|---|---:|"
    for part in about.facts["parts"]:
        sizes = ", ".join(f"{key} {value:,}" for key, value in part["sizes"].items() if isinstance(value, int))
        numbers = f"{part['numbers']:,}" if part["numbers"] else ""
        made = f"{part['kind']} `{part['use']}` of {part['plugin']}"
        yield f"| {part['part']} | {part['stage']} | {made} | {sizes} | {numbers} |"


def _data(about: ModelCardInfo) -> Iterator[str]:
    data = about.facts["data"]
    if not data:
        yield "Not stated."
        return
    yield "| stage or list | source | task | license of the data |"
    yield "|---|---|---|---|"
    for name, sources in data.items():
        for source in sources:
            yield f"| {name} | `{source['use']}` | {cell(source.get('task', ''))} | {cell(source['license'])} |"
    steps = {stage: state["step"] for stage, state in about.facts["stages"].items() if state.get("step")}
    if steps:
        yield f"\nSteps of training: {', '.join(f'{stage} {count:,}' for stage, count in steps.items())}."


def _scores(about: ModelCardInfo) -> Iterator[str]:
    if not about.scores:
        yield f"Not measured. With data at hand: `muomni eval RECIPE -m {about.name} --json > scores.json`."
        return
    from muomni_cli.contract.metrics import HEADINGS, rows

    yield "On data that was held out; intervals are bootstrapped.\n"
    yield f"| {' | '.join(heading.lower() for heading in HEADINGS)} |"
    yield f"|{'---|' * len(HEADINGS)}"
    for row in rows(about.scores):
        yield f"| {' | '.join(cell(word) for word in row)} |"


def _limits(about: ModelCardInfo) -> Iterator[str]:
    facts = about.facts
    yield "- It knows what is in the data above and nothing else; asked about anything else it answers all the same."
    yield "- Nothing was done to make its answers safe, fair or true."
    if facts["context"]:
        yield f"- A conversation, with what is shown and played, has room for {facts['context']:,} tokens."
    if not about.scores:
        yield "- Nobody has measured how well it does."
    stated = [source["license"] for sources in facts["data"].values() for source in sources]
    if not stated or "not stated" in stated:
        yield "- The license of some of its data is not stated."
    if about.half:
        yield "- Its weights were rounded to 16 bits: answers may differ a little from those of the run it was made of."
    for file in about.files:
        yield f"- It needs the plugin in the file `{file}`, which this package does not bring: `--plugin {file}`."


def cell(text: str) -> str:
    """For a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def _mb(folder: Mapping[str, Any] | None) -> str:
    return f"{folder['bytes'] / 1e6:.1f} MB" if folder else ""


def details(spec: str) -> dict[str, Any]:
    """An installed model, a run or a bundle as plain data.

    Raises:
        RequestError: no such model, it is damaged, or a plugin that it needs is not here.
    """
    found = model_named(spec)
    return _declared(found, spec) | describe(found) | {"scores": _scores_info(found)}


def _declared(found: ModelRef, spec: str) -> dict[str, Any]:
    if found.installed is not None:
        return declared(found.installed)
    name = found.folder.model()["name"] if found.folder is not None else spec
    return {"name": name, "use": spec, "doc": "", "package": "", "version": "", "license": "", "card": None}


def _scores_info(found: ModelRef) -> list[dict[str, Any]]:
    registered = found.installed
    return as_json(read_scores([registered.part.scores])) if registered is not None and registered.part.scores else []
