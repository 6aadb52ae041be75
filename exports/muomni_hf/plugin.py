"""Plugin: ``muomni import hf`` and ``muomni export --hf``. Imports no torch or transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muomni_cli.api import ExporterPart, PartConfig, RequestError, hookimpl


def hf(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="With config.json, safetensors and tokenizer.json.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="RUN", help="The run to make (default: FOLDER's name, under runs/)."),
    ] = None,
    ctx_len: Annotated[
        int | None, typer.Option(min=8, metavar="N", help="A shorter context: less memory. (default: the checkpoint's)")
    ] = None,
    add_token: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="A special token to add to the vocabulary; repeatable.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier run.")] = False,
) -> None:
    """Import a language model in Hugging Face's format: Llama 2 and 3, SmolLM2 and 3, Qwen2, Qwen3 or Mistral."""
    from muomni_cli.core.console import say
    from muomni_cli.core.errors import require
    from muomni_cli.core.files import RUNS
    from muomni_cli.registry.registry import resolve

    require("muomni import", "torch")
    if not folder.is_dir():
        raise RequestError(f"there is no folder {folder}", "name a checkpoint that lies here: nothing is downloaded")
    root = output or RUNS / folder.resolve().name
    make = resolve("muomni_hf.importing:import_checkpoint", "muomni import hf")
    make(folder, root, ctx_len=ctx_len or 0, add_tokens=tuple(add_token or ()), replace=force, notify=say)
    named = root.name if root.parent == RUNS else root
    say(f'next: muomni chat -m {named} "Hello"')


def peft(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="With adapter_config.json and its safetensors.")],
    base: Annotated[str, typer.Option("--base", metavar="MODEL", help="The run or installed model that it adapts.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="RUN", help="The run to make (default: FOLDER's name, under runs/)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier run.")] = False,
) -> None:
    """Import LoRA adapters that peft saved, onto a model that was imported or trained here."""
    from muomni_cli.core.console import say
    from muomni_cli.core.errors import require
    from muomni_cli.core.files import RUNS
    from muomni_cli.registry.registry import resolve

    require("muomni import", "torch")
    root = output or RUNS / folder.resolve().name
    make = resolve("muomni_hf.adapters:import_adapters", "muomni import peft")
    make(folder, base, root, replace=force, notify=say)


@hookimpl
def register_exporters() -> list[ExporterPart]:
    return [
        ExporterPart(
            name="hf",
            doc="as a Hugging Face checkpoint, for transformers and whatever reads its format: the Thinker alone",
            config=PartConfig,
            build="muomni_hf.exporting:export",
            precisions=("fp32", "fp16"),
            requires=("torch", "transformers", "jinja2"),
        ),
        ExporterPart(
            name="peft",
            doc="the adapters of the Thinker alone, in the format of peft",
            config=PartConfig,
            build="muomni_hf.adapters:export",
            precisions=("fp32",),
            requires=("torch",),
        ),
    ]


@hookimpl
def register_commands(cli: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Make a run of a model in another format.")
    group.command()(hf)
    group.command()(peft)
    cli.add_typer(group, name="import")
