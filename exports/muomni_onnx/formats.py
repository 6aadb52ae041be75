"""``muomni export --NAME``: a model by the exporter of a plugin, from its Thinker and tokenizer or from its bundle."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from muomni_cli.contract.bundle import TextModel
from muomni_cli.contract.declarations import ExporterPart
from muomni_cli.core.console import print_table, say
from muomni_cli.core.errors import RequestError, require
from muomni_cli.core.files import new_folder, occupied, replacing
from muomni_cli.models.engines import ANY_TRAINED
from muomni_cli.models.locate import resolve_model
from muomni_cli.registry.registry import get_registry, resolve
from muomni_onnx.bundle import open_bundle
from muomni_onnx.web_form import in_web_form


def export_in_format(
    name: str, model: str | None, output: Path | None, precision: Sequence[str], *, replace: bool
) -> None:
    """Write the model with the exporter ``name``. A folder, or the single file that the exporter makes of it, appears
    only when it agrees with PyTorch.

    Raises:
        RequestError: the output exists, the exporter has no such precision, or the model has not what it takes.
        MuomniError: a package is missing, or the other side does not agree.
    """
    registered = get_registry().get(ExporterPart.kind, name)
    part = cast("ExporterPart", registered.part)
    chosen = precision[0] if precision else part.precisions[0]
    if len(precision) > 1 or chosen not in part.precisions:
        fix = f"one of {', '.join(part.precisions)}"
        raise RequestError(f"--{name} does not write --precision {' '.join(precision)}", fix)
    require(f"muomni export --{name}", *part.requires)
    if part.takes == "bundle":
        _export_bundle(part, model, output, precision[0] if precision else None, replace=replace)
    else:
        _export_text_model(part, model, output, chosen, replace=replace)


def _require_room(target: Path, *, replace: bool) -> None:
    if occupied(target) and not replace:
        fix = "replace it: the same command with --force; or name another place with -o"
        raise RequestError(f"{target} is there already", fix)


def _export_bundle(
    part: ExporterPart, model: str | None, output: Path | None, precision: str | None, *, replace: bool
) -> None:
    """From the bundle that the model is or has, if it has the precision; else from one that its run is exported to."""
    reference = resolve_model(model, ANY_TRAINED)
    target = output or Path(f"{reference.name}-{part.name}")
    _require_room(target, replace=replace)
    if occupied(target) and not (target / part.marker).is_file():
        raise RequestError(f"{target} is there already, and is not an export", "name another folder: -o FOLDER")
    build = resolve(part.build, f"exporter {part.name}")
    with tempfile.TemporaryDirectory() as temporary:
        given = open_bundle(reference.bundle.root) if reference.bundle is not None else None
        own = given.manifest.get("precision", "fp32") if given is not None else None
        if given is not None and (precision in (None, own) or (precision == "web" and own == "int8")):
            given.verify()
            say(f"exporting {reference.name} ({given.root}) to {target}")
            root = in_web_form(given, Path(temporary) / "bundle") if part.precisions[0] == "web" else given.root
        else:
            if reference.folder is None:
                fix = f"leave --precision out, or name the run that {reference.spec} was exported from"
                raise RequestError(f"{reference.spec} is a bundle of another precision than {precision}", fix)
            root = _exported(model, Path(temporary) / "bundle", precision or part.precisions[0])
        with new_folder(target, replace=replace) as folder:
            files = build(root, folder, precision=precision or part.precisions[0], notify=say)
    for one in files:
        say(one.says)
    _say_size(target)


def _exported(model: str | None, folder: Path, precision: str) -> Path:
    """A new bundle of a model's run."""
    require("muomni export", "torch", "onnx", "onnxscript")
    from muomni_onnx.precision import choose

    trained = resolve("muomni_onnx.sources:find_trained", "muomni export")(model)
    say(f"exporting {trained.name} ({trained.run.root}), in the precision {precision}")
    found = resolve("muomni_onnx.sources:model_of")(trained, partial=False)
    make = resolve("muomni_onnx.export:export", "muomni export")
    make(found, folder, precision=choose([precision]), notify=say)
    return folder


def _say_size(target: Path) -> None:
    size = sum(path.stat().st_size for path in ([target] if target.is_file() else target.rglob("*")) if path.is_file())
    say(f"wrote {target} ({size / 1e6:.2f} MB)")


def _export_text_model(
    part: ExporterPart, model: str | None, output: Path | None, chosen: str, *, replace: bool
) -> None:
    trained = resolve("muomni_onnx.sources:find_trained", "muomni export")(model)
    target = output or Path(f"{trained.name}{part.suffix or f'-{part.name}'}")
    _require_room(target, replace=replace)
    engine = trained.engine()
    others = [one for one in engine.parts if one != "thinker"]
    text_model = TextModel(
        trained.name,
        engine.omni().thinker,
        engine.omni().thinker.config,
        engine.parts["thinker"],
        engine.tokenizer(),
        dict(engine.chat),
        engine.checkpoint("omni" if engine.modalities else "thinker"),
    )
    say(f"exporting {trained.name} ({trained.run.root}) to {target}")
    if others:
        say(f"left out, for this format holds a language model alone: {', '.join(others)}")
    build = resolve(part.build, f"exporter {part.name}")
    place = target.with_name(f"{target.name}.folder") if part.suffix else target
    with new_folder(place, replace=replace) as folder:
        files = build(text_model, folder, precision=chosen, notify=say)
        if part.suffix:
            with replacing(target) as temporary:
                shutil.move(folder / files[0].name, temporary)
    if part.suffix:
        shutil.rmtree(place, ignore_errors=True)
    print_table(
        ("file", "precision", "error", "allowed"),
        [(one.name, one.precision, f"{one.error:.1e}", f"{one.allowed:.1e}") for one in files],
    )
    for one in files:
        say(one.says)
    _say_size(target)
