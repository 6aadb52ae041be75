"""A model as an installable Python package: ``muomni models pack``. Imports no torch."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from muomni_cli.contract.metrics import as_json
from muomni_cli.core.errors import RequestError, __version__
from muomni_cli.core.files import new_folder, write_json, write_text
from muomni_cli.models.locate import BundleFolder, ModelRef, bundle_at, model_named
from muomni_cli.models.model_card import ModelCardInfo, card, read_scores
from muomni_cli.models.package_run import abilities, describe, pack_run, parts_of, require_voice, weights_of
from muomni_cli.registry.entries import differences, open_entry
from muomni_cli.registry.loading import PluginInfo
from muomni_cli.runs.run import RunFolder

NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?")

PLUGIN = '''"""The model {name}: {doc}"""

from pathlib import Path

from muomni_cli.api import ModelFiles, hookimpl

HERE = Path(__file__).resolve().parent
CARD = next((path for path in (HERE / "README.md", HERE.parents[1] / "README.md") if path.is_file()), None)


@hookimpl
def register_models():
    """See README.md."""
    return [
        ModelFiles(
            name={quoted_name},
            doc={quoted_doc},
{fields}            card=CARD,
        )
    ]
'''

PROJECT = """[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = {package}
version = {version}
description = {doc}
readme = "README.md"
{license}requires-python = ">=3.11"
dependencies = {dependencies}

[project.entry-points.muomni]
{module} = "{module}.plugin"

[tool.hatch.build]
ignore-vcs = true  # include weights that .gitignore excludes

[tool.hatch.build.targets.wheel]
packages = ["src/{module}"]

[tool.hatch.build.targets.wheel.force-include]
"README.md" = "{module}/README.md"
"""


@dataclass(frozen=True, slots=True)
class PackageOptions:
    name: str = ""  # of the model for ``-m``; that of the run or folder if empty
    version: str = "0.1.0"  # of the package
    bundle: Path | None = None  # to include with the run
    scores: Sequence[Path] = ()  # output files of ``muomni eval --json``
    license: str = ""  # of the model, in one line
    half: bool = False  # store the run's weights as fp16
    without: Sequence[str] = ()  # encoders whose own stages are left out
    voices: Mapping[str, str] = field(default_factory=dict)  # voices to add, by name: runs that speak with them


def pack(spec: str, output: Path, options: PackageOptions) -> ModelCardInfo:
    """Write the package of a model to a new folder; returns its card. A model to which voices are added is packed
    without the bundle that it came with, which lacks them. RequestError if the model, an option or ``output`` is
    unsuitable; MuomniError if the disk is full."""
    found = _found(spec, options)
    added = _voices(found, options)
    if found.installed is not None and not options.license:
        options = replace(options, license=found.installed.part.license)
    roots = [one.root.resolve() for one in (found.folder, found.bundle, *added.values()) if one is not None]
    own = found.folder.model()["name"] if found.folder else roots[0].name
    name = options.name or re.sub(r"[^a-z0-9]+", "-", str(own).lower()).strip("-")
    if not NAME.fullmatch(name):
        raise RequestError(f"{name!r} is not a valid model name", "use lowercase letters, digits and -: --name")
    if not VERSION.fullmatch(options.version):
        raise RequestError(f"{options.version!r} is not a valid version", "use one such as 0.1.0")
    if "\n" in options.license:
        raise RequestError("the license must be one line", 'write its name: --license "CC-BY-4.0"')
    scores = read_scores(options.scores)
    package, module = f"muomni-model-{name}", f"muomni_model_{name.replace('-', '_')}"
    with new_folder(output) as folder:
        inside = folder / "src" / module
        run = bundle = None
        if found.folder is not None:
            pack_run(found.folder, inside / "run", half=options.half, without=options.without, voices=added)
            run = RunFolder(inside / "run")
        if found.bundle is not None:
            shutil.copytree(found.bundle.root, inside / "bundle")
            bundle = BundleFolder(inside / "bundle", found.bundle.runtime)
        if scores:
            write_json(inside / "scores.json", as_json(scores))
        packed = ModelRef(bundle, run)
        doc = _doc(packed)
        files, dependencies = _needs(packed)
        about = ModelCardInfo(name, package, doc, options.license, describe(packed), scores, options.half, files)
        write_text(folder / "README.md", card(about))
        write_text(inside / "__init__.py", f'"""The model {name}, for muomni."""\n')
        write_text(inside / "plugin.py", _plugin(about, packed))
        project = PROJECT.format(
            package=quoted(package),
            doc=quoted(doc),
            module=module,
            version=quoted(options.version),
            license=f"license = {{ text = {quoted(options.license)} }}\n" if options.license else "",
            dependencies=json.dumps(dependencies),
        )
        write_text(folder / "pyproject.toml", project)
        _require_no_paths(folder, roots)
    return about


def _found(spec: str, options: PackageOptions) -> ModelRef:
    """The model to pack, with its bundle verified."""
    found = model_named(spec)
    if options.voices and found.folder is not None:
        found = replace(found, bundle=None)
    if found.weights is not None:
        raise RequestError(f"{spec} is a checkpoint, and a package contains a whole run", f"name {found.run().root}")
    if options.bundle is not None:
        bundle = bundle_at(options.bundle)
        if bundle is None:
            raise RequestError(
                f"{options.bundle} is not an exported bundle", "create one: muomni export --onnx -o FOLDER"
            )
        if found.bundle is not None and found.folder is None:
            raise RequestError(f"{spec} is a bundle already", "name a run, or leave --bundle out")
        found = replace(found, bundle=bundle)
    if found.folder is not None:
        weights_of(found.run(), options.without)
    if found.bundle is not None:
        found.bundle.open().verify()
    if found.folder is not None and found.bundle is not None:
        ours = {part: entry for _, part, entry in reversed([*parts_of(found.folder)])}
        for part, entry in found.bundle.open().parts.items():
            if part in ours and (changed := differences(ours[part], entry)):
                run, words = found.folder.root, " and ".join(changed)
                raise RequestError(
                    f"{part} of the bundle {found.bundle.root} differs from that of run {run} in {words}",
                    f"export the run: muomni export --onnx -m {run} -o FOLDER",
                )
    return found


def _voices(found: ModelRef, options: PackageOptions) -> dict[str, RunFolder]:
    """The runs of the voices to add. RequestError if they cannot be added to the model."""
    runs = {name: model_named(spec).run() for name, spec in options.voices.items()}
    if not runs:
        return {}
    if found.folder is None or found.bundle is not None:
        fix = "name a run without a bundle, and export it with the voices: muomni export --onnx"
        raise RequestError("voices are added to a run, and not to a bundle", fix)
    for name, run in runs.items():
        if not NAME.fullmatch(name):
            raise RequestError(f"{name!r} is not a valid name of a voice", "use lowercase letters, digits and -")
        require_voice(run, name, found.folder)
    return runs


def _doc(packed: ModelRef) -> str:
    """The recipe's own line, else the model's inputs and outputs."""
    if packed.folder is not None and packed.folder.recipe_path.is_file():
        doc = tomllib.loads(packed.folder.recipe_path.read_text(encoding="utf-8")).get("doc", "")
        if isinstance(doc, str) and doc.strip():
            return " ".join(doc.split())
    return str(abilities(packed.folder, packed.bundle.open() if packed.bundle else None)["does"])


def _needs(packed: ModelRef) -> tuple[list[str], list[str]]:
    """Single-file plugins, and package dependencies."""
    entries: list[Any] = [entry for _, _, entry in parts_of(packed.folder)] if packed.folder else []
    if packed.bundle is not None:
        entries += packed.bundle.open().parts.values()
    plugins: dict[str, PluginInfo] = {}
    for entry in entries:
        registered, _ = open_entry(entry)
        plugins[registered.plugin.name] = registered.plugin
    theirs = [plugin for plugin in plugins.values() if plugin.origin != "built-in"]
    files = sorted(plugin.file.name for plugin in theirs if plugin.file is not None)
    packages = sorted(f"{plugin.origin}>={plugin.version}" for plugin in theirs if plugin.file is None)
    return files, [f"muomni>={__version__}", *packages]


def _plugin(about: ModelCardInfo, packed: ModelRef) -> str:
    folders = {"bundle": packed.bundle, "run": packed.folder, "scores.json": about.scores}
    fields = [f'{file.partition(".")[0]}=HERE / "{file}",' for file, there in folders.items() if there]
    if about.license:
        fields.append(f"license={quoted(about.license)},")
    lines = "".join(f"            {field}\n" for field in fields)
    plain = about.doc.replace("\\", "/").replace('"', "'")
    name, doc = quoted(about.name), quoted(about.doc)
    return PLUGIN.format(name=about.name, doc=plain, fields=lines, quoted_name=name, quoted_doc=doc)


def quoted(text: str) -> str:
    """A string literal that is valid in Python, TOML and JSON."""
    return json.dumps(text, ensure_ascii=False)


def _require_no_paths(folder: Path, roots: Sequence[Path]) -> None:
    """Refuse a package that contains the model's local path, as a tokenizer or a bundle might."""
    private = {str(place) for place in (*roots, *(root.parent for root in roots), Path.home()) if len(place.parts) > 2}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for place in private:
            if place.encode() in content:
                raise RequestError(
                    f"{path.relative_to(folder)} contains the local path {place}",
                    "remove it from the model, or train the model in a folder whose path may be public",
                )
