"""A model card in Markdown, with scores, and the content of ``muomni models info``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muomni_cli.contract.metrics import HEADINGS, MetricResult, as_json, rows
from muomni_cli.core.errors import RequestError, __version__
from muomni_cli.models.locate import model_named
from muomni_cli.models.package_run import SPEECH, TEXT, describe, listed
from muomni_cli.registry.registry import declared


def read_scores(files: Sequence[Path]) -> list[MetricResult]:
    """The metrics in ``files``, without single sentences. RequestError if a file cannot be read or parsed."""
    cards = []
    for file in files:
        try:
            entries = json.loads(file.read_text(encoding="utf-8"))
            cards += [MetricResult(**{k: v for k, v in entry.items() if k != "sentences"}) for entry in entries]
        except OSError as error:
            what = f"cannot read {file}: {error.strerror or error}"
            raise RequestError(what, "name a file that eval wrote") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise RequestError(
                f"{file} does not contain the output of muomni eval",
                f"create it: muomni eval RECIPE -m MODEL --json > {file}",
            ) from error
    return cards


@dataclass(frozen=True, slots=True)
class ModelCardInfo:
    """The content of a model card."""

    name: str
    package: str
    doc: str
    license: str
    facts: Mapping[str, Any]  # of :func:`describe`
    scores: Sequence[MetricResult]
    half: bool  # fp16 weights
    files: Sequence[str]  # single-file plugins that it needs


def card(about: ModelCardInfo) -> str:
    """The README of a packaged model, in Markdown."""
    install = f"pip install .    # in this folder, or: pip install {about.package}"
    sections = [
        ("Capabilities", _does(about)),
        ("Usage", ["```sh", install, *uses(about.name, about.facts), "```"]),
        ("Parts", _parts(about)),
        ("Training data", _data(about)),
        ("Evaluation", _scores(about)),
        ("Limitations", _limits(about)),
        ("License", [about.license or "Not stated. Ask the author of this package before you redistribute it."]),
    ]
    page = [f"# {about.name}", about.doc]
    for title, lines in sections:
        page += [f"## {title}", "\n".join(lines)]
    made = f"Packed by muomni {__version__}: see `muomni models info {about.name}`."
    return "\n\n".join([*page, made]) + "\n"


def _does(about: ModelCardInfo) -> Iterator[str]:
    facts = about.facts
    yield f"- {facts['does'][:1].upper()}{facts['does'][1:]}." + (
        f" {facts['parameters']:,} parameters." if facts["parameters"] else ""
    )
    if facts["transcribes"]:
        yield "- It transcribes speech (`muomni listen`)."
    if facts["voices"]:
        yield f"- It speaks with the voice{'s' * (len(facts['voices']) > 1)} {listed(facts['voices'])}."
    kinds = [name for name in ("run", "bundle") if facts[name]]
    contents = {
        "run": f"weights for training ({_mb(facts['run'])}{', fp16' if about.half else ''}), which need PyTorch",
        "bundle": f"a bundle that runs without PyTorch ({_mb(facts['bundle'])})",
    }
    yield f"- The package holds {listed(tuple(contents[kind] for kind in reversed(kinds)))}."


def uses(name: str, facts: Mapping[str, Any]) -> list[str]:
    """Commands that use a model, the most common first."""
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
        lines.append(f"muomni train omni RECIPE {own}    # start from its weights")
    return [*lines, f"muomni models info {name}"]


def _parts(about: ModelCardInfo) -> Iterator[str]:
    yield "| part | stage | type | size | parameters |"
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
        yield f"\nTraining steps: {', '.join(f'{stage} {count:,}' for stage, count in steps.items())}."


def _scores(about: ModelCardInfo) -> Iterator[str]:
    if not about.scores:
        yield f"Not measured. Evaluate it: `muomni eval RECIPE -m {about.name} --json > scores.json`."
        return
    yield "On held-out data, with bootstrapped confidence intervals.\n"
    yield f"| {' | '.join(heading.lower() for heading in HEADINGS)} |"
    yield f"|{'---|' * len(HEADINGS)}"
    for row in rows(about.scores):
        yield f"| {' | '.join(cell(word) for word in row)} |"


def _limits(about: ModelCardInfo) -> Iterator[str]:
    facts = about.facts
    yield "- It knows only the training data above, but answers questions about anything else too."
    yield "- It is not trained for safe, fair or true answers."
    if facts["context"]:
        yield f"- The context, media included, is limited to {facts['context']:,} tokens."
    if not about.scores:
        yield "- It has not been evaluated."
    stated = [source["license"] for sources in facts["data"].values() for source in sources]
    if not stated or "not stated" in stated:
        yield "- The license of some of its data is not stated."
    if about.half:
        yield "- Its weights were rounded to 16 bits: answers may differ slightly from those of the original run."
    for file in about.files:
        yield f"- It needs the plugin in the file `{file}`, which this package does not contain: `--plugin {file}`."


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _mb(folder: Mapping[str, Any] | None) -> str:
    return f"{folder['bytes'] / 1e6:.1f} MB" if folder else ""


def details(spec: str) -> dict[str, Any]:
    """An installed model, a run or a bundle as plain data. RequestError if it is missing, damaged or needs a plugin."""
    found = model_named(spec)
    if found.installed is not None:
        own = declared(found.installed)
        scores = as_json(read_scores([own_scores])) if (own_scores := found.installed.part.scores) else []
        return own | describe(found) | {"scores": scores}
    name = found.folder.model()["name"] if found.folder is not None else spec
    own = {"name": name, "use": spec, "doc": "", "package": "", "version": "", "license": "", "card": None}
    return own | describe(found) | {"scores": []}
