"""``muomni export --NAME``: a model's Thinker and tokenizer by the exporter of a plugin."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from muomni_cli.contract.bundle import TextModel
from muomni_cli.contract.declarations import ExporterPart
from muomni_cli.core.console import print_table, say
from muomni_cli.core.errors import RequestError, require
from muomni_cli.core.files import new_folder, occupied, replacing
from muomni_cli.registry.registry import get_registry, resolve


def export_text_model(
    name: str, model: str | None, output: Path | None, precision: Sequence[str], *, replace: bool
) -> None:
    """Write the model with the exporter ``name``. A folder, or the single file that the exporter makes of it, appears
    only when it agrees with PyTorch.

    Raises:
        RequestError: the output exists, the exporter has no such precision, or the model has no Thinker.
        MuomniError: a package is missing, or the other side does not agree.
    """
    registered = get_registry().get(ExporterPart.kind, name)
    part = cast("ExporterPart", registered.part)
    chosen = precision[0] if precision else part.precisions[0]
    if len(precision) > 1 or chosen not in part.precisions:
        fix = f"one of {', '.join(part.precisions)}"
        raise RequestError(f"--{name} does not write --precision {' '.join(precision)}", fix)
    require(f"muomni export --{name}", *part.requires)
    trained = resolve("muomni_onnx.sources:find_trained", "muomni export")(model)
    target = output or Path(f"{trained.name}{part.suffix or f'-{name}'}")
    if occupied(target) and not replace:
        fix = "replace it: the same command with --force; or name another place with -o"
        raise RequestError(f"{target} is there already", fix)
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
    build = resolve(part.build, f"exporter {name}")
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
    size = sum(path.stat().st_size for path in ([target] if target.is_file() else target.rglob("*")) if path.is_file())
    say(f"wrote {target} ({size / 1e6:.2f} MB)")
