"""Plugin: the ONNX runtime, conformance checks of graphs, and ``muomni export``. Imports no torch or onnxruntime."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from muomni_cli.api import CheckSpec, PartConfig, RequestError, RuntimePart, hookimpl
from muomni_cli.commands.options import ModelOption

OVERRIDES = "muomni_onnx.overrides"  # key of the recipe overrides in the context of ``muomni export``
WORTH_A_LINE = 10_000  # bytes kept in full precision that are worth a line of output


class WithOverrides(TyperGroup):
    """A group with a callback of its own: extra words are recipe overrides, unless the first names a subcommand."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] in self.commands:
            return super().parse_args(ctx, args)
        ctx.allow_interspersed_args = True
        super().parse_args(ctx, args)
        ctx.meta[OVERRIDES] = [*ctx._protected_args, *ctx.args]
        ctx._protected_args, ctx.args = [], []
        return []

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[KEY=VALUE]..."]


def with_formats(function: Callable[..., None]) -> Callable[..., None]:
    """``function`` with a switch for each exporter of a plugin in place of its argument ``formats``, which receives the
    names of those that were given."""
    from muomni_cli.registry.registry import get_registry

    names = {one.part.name.replace("-", "_"): one for one in get_registry().all("exporter")}
    own = inspect.signature(function, eval_str=True).parameters
    switches = [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=False,
            annotation=Annotated[
                bool, typer.Option(f"--{one.part.name}", help=f"{one.part.doc[:1].upper()}{one.part.doc[1:]}.")
            ],
        )
        for name, one in names.items()
    ]
    parameters = [one for name, each in own.items() for one in (switches if name == "formats" else [each])]

    @wraps(function)
    def wrapper(**given: Any) -> None:
        chosen = [one.part.name for name, one in names.items() if given.pop(name)]
        function(**given, formats=chosen)

    wrapper.__dict__["__signature__"] = inspect.Signature(parameters)
    wrapper.__annotations__ = {one.name: one.annotation for one in parameters}
    return wrapper


def export(
    context: typer.Context,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="As ONNX graphs, for onnxruntime: the whole model, and the default.")
    ] = False,
    formats: Sequence[str] = (),
    model: ModelOption = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="Instead of a trained model: a recipe with random weights, changed by KEY=VALUE words.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FOLDER", help="The folder to make (default: MODEL-onnx, here)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    partial: Annotated[bool, typer.Option("--partial", help="Leave out parts that cannot be exported.")] = False,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[PART=]PRECISION",
            help="fp32; int8: smaller and faster on a CPU; int4: smaller still; fp16: for GPUs; web: small, and fast "
            "in WebAssembly. Of all parts, or of one, as talker=fp32; repeatable. (default: fp32, with --gguf fp16, "
            "with --web web)",
        ),
    ] = None,
) -> None:
    """Write a trained model as a folder that runs without PyTorch, once it is shown to agree with it."""
    if context.invoked_subcommand is not None:
        return
    overrides: list[str] = context.meta.get(OVERRIDES, [])
    if formats:
        if onnx or len(formats) > 1 or recipe or overrides or partial:
            options = "--onnx, --recipe, --partial and other formats"
            raise RequestError(f"--{formats[0]} goes without {options}", f"muomni export --{formats[0]} -m MODEL")
        from muomni_onnx.formats import export_in_format

        export_in_format(formats[0], model, output, precision or [], replace=force)
        return
    if model and recipe:
        raise RequestError("-m names a trained model and --recipe an untrained one", "choose one")
    if overrides and not recipe:
        fix = "name a trained model with -m, or add --recipe"
        raise RequestError(f"{overrides[0]!r} changes a recipe, and none is named", fix)
    if output is not None:
        _require_room(output, force=force)
    from muomni_cli.core.console import print_table, say
    from muomni_cli.core.errors import require
    from muomni_cli.registry.registry import resolve

    require("muomni export", "torch", "onnx", "onnxscript")
    from muomni_onnx.precision import choose

    chosen = choose(precision or [])
    make = resolve("muomni_onnx.export:export", "muomni export")
    if recipe is not None:
        found = resolve("muomni_onnx.sources:model_of_recipe")(recipe, overrides)
        output = _require_room(output or Path(f"{found.name}-onnx"), force=force)
        say(f"recipe {found.name}: random weights, so its output is noise")
    else:
        trained = resolve("muomni_onnx.sources:find_trained")(model)
        output = _require_room(output or Path(f"{trained.name}-onnx"), force=force)
        say(f"exporting {trained.name} ({trained.run.root}) to {output}")
        found = resolve("muomni_onnx.sources:model_of")(trained, partial=partial)
    report = make(found, output, partial=partial, precision=chosen, replace=force, notify=say)
    rows = []
    for line in report.lines:
        parity = line.parity
        measured = (f"{parity.error:.1e}", f"{parity.tolerance:.1e}", f"{parity.speed:.1f}x")
        rows.append((line.part, line.graph, line.precision, *measured, _mb(line.size)))
    print_table(("part", "graph", "precision", "error", "allowed", "speed", "MB"), rows)
    for line in report.lines:
        for kept in line.kept:
            if kept.size >= WORTH_A_LINE:
                say(f"{line.part} {line.graph}: {_mb(kept.size)} MB stay in full precision: {kept.why}")
    for whole in report.wholes:
        say(whole.says if whole.holds else f"{whole.says}: not required in lower precision")
    for note in report.notes:
        say(note)
    total = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    say(f"wrote {output} ({_mb(total)} MB)")
    say(f"check it wherever it runs: muomni export check {output}")


def _require_room(output: Path, *, force: bool) -> Path:
    """``output``. RequestError if it exists and is not an export, or is not to be replaced."""
    from muomni_cli.core.files import occupied
    from muomni_onnx.bundle import MANIFEST

    if occupied(output) and not (output / MANIFEST).is_file():
        raise RequestError(f"{output} is there already, and is not an export", "name another folder: -o FOLDER")
    if occupied(output) and not force:
        fix = "replace it: the same command with --force; or name another folder: -o FOLDER"
        raise RequestError(f"{output} is there already", fix)
    return output


def check(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="The folder, or the name of an installed model.")],
) -> None:
    """Compare a bundle with its digests, and its graphs with what they gave when it was exported. Needs no PyTorch."""
    from muomni_cli.core.console import print_table, say
    from muomni_cli.models.locate import model_named
    from muomni_cli.registry.registry import resolve

    root = Path(bundle).expanduser()
    if not root.exists():
        model_ref = model_named(bundle)
        root = model_ref.bundle.root if model_ref.bundle is not None else model_ref.run().root
    checked = resolve("muomni_onnx.check:check", "muomni export check")(root)
    rows = []
    for one in checked:
        measured = (f"{one.error:.1e}", f"{one.tolerance:.1e}", _mb(one.size) if one.size else "")
        rows.append((one.part, one.graph, one.precision, *measured))
    print_table(("part", "graph", "precision", "error", "allowed", "MB"), rows)
    say(f"{bundle} is whole and agrees")


def _mb(size: int) -> str:
    return f"{size / 1e6:.2f}"


@hookimpl
def register_runtimes() -> list[RuntimePart]:
    return [
        RuntimePart(
            name="onnx",
            doc="bundles that muomni export --onnx wrote, with onnxruntime",
            config=PartConfig,
            build="muomni_onnx.runtime:build",
            marker="muomni.json",
        )
    ]


@hookimpl
def register_checks() -> list[CheckSpec]:
    return [
        CheckSpec(name="exports", doc="graphs return what PyTorch returns", check="muomni_onnx.conformance:EXPORTS"),
        CheckSpec(name="serves", doc="graphs together do what the part does", check="muomni_onnx.conformance:SERVES"),
    ]


@hookimpl
def register_commands(cli: typer.Typer) -> None:
    group = typer.Typer(cls=WithOverrides, invoke_without_command=True)
    group.callback()(with_formats(export))
    group.command()(check)
    cli.add_typer(group, name="export")
