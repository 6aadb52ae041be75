"""``muomni models`` and ``muomni runs``: what is installed, and what was trained."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated, Any

import typer

from muomni_cli.commands.options import JsonOption
from muomni_cli.core.console import print_json, print_table, say
from muomni_cli.core.errors import RequestError

app = typer.Typer(no_args_is_help=True, help="List and inspect installed models, and package models for pip.")
runs_app = typer.Typer(no_args_is_help=True, help="List and inspect training runs, and plot their curves.")

HEADINGS = ("RUN", "STAGE", "STATUS", "STEP", "LOSS", "VAL LOSS", "BITS/BYTE", "SIZE", "AGE")


@app.command("list")
def list_models(json: JsonOption = False) -> None:
    """List the models of installed packages."""
    from muomni_cli.registry.registry import installed_models

    found = installed_models()
    if json:
        print_json(found)
        return
    if not found:
        say("no model package is installed; make one: muomni models pack RUN -o FOLDER")
        return
    rows = []
    for model in found:
        holds = " and ".join(kind for kind in ("bundle", "run") if model[kind]) or "-"
        package = f"{model['package']} {model['version']}"
        rows.append((model["use"], package, holds, model["license"] or "-", model["doc"]))
    print_table(("NAME", "PACKAGE", "HOLDS", "LICENSE", "WHAT"), rows)


@app.command()
def info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Installed model, run or bundle.")],
    json: JsonOption = False,
) -> None:
    """Show a model: parts and sizes, inputs and outputs, training data, and evaluation results."""
    from muomni_cli.models.model_card import details

    found = details(model)
    print_json(found) if json else _print(found)


@app.command()
def pack(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Run or bundle, by folder or name.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="New folder for the package.")],
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the model for -m (default: the name of the run).")
    ] = "",
    version: Annotated[str, typer.Option(metavar="VERSION", help="Package version.")] = "0.1.0",
    bundle: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Include this bundle, exported from the run.")
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Output of `muomni eval --json`, for the model card; repeatable."),
    ] = None,
    license: Annotated[str, typer.Option("--license", metavar="TEXT", help="License of the model.")] = "",
    half: Annotated[bool, typer.Option("--half", help="Store the weights of the run as fp16.")] = False,
    voice: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=RUN", help="Add this voice, which `muomni train voice` made; repeatable."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENCODER",
            help="Leave out this encoder's own stage where the omni stage has tuned the encoder; repeatable.",
        ),
    ] = None,
) -> None:
    """Write a pip-installable package of a run, a bundle, or both, with weights and a model card."""
    from muomni_cli.models.model_card import uses
    from muomni_cli.models.package import PackageOptions, pack
    from muomni_cli.models.package_run import size_of

    voices = {}
    for word in voice or ():
        voice_name, equals, run = word.partition("=")
        if not (voice_name and equals and run):
            raise RequestError(f"--voice {word} names no voice and run", "write --voice NAME=RUN")
        voices[voice_name] = run
    options = PackageOptions(name, version, bundle, scores or (), license, half, without or (), voices)
    packed = pack(model, output, options)
    say(f"wrote {output} ({size_of(output) / 1e6:.1f} MB); read its README.md, the public model card")
    if voices:
        say(f"it has no bundle: muomni export --onnx -m {packed.name} makes one with all voices")
    say(f"next: pip install {output}    {uses(packed.name, packed.facts)[0]}")


@app.command()
def merge(
    model: Annotated[str, typer.Argument(metavar="RUN", help="Run with adapters, by folder or name.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="RUN", help="Folder of the new run.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier run.")] = False,
) -> None:
    """Add a run's adapters to the weights that they adapt, in a new run."""
    from muomni_cli.core.errors import require
    from muomni_cli.models.locate import model_named
    from muomni_cli.registry.registry import resolve

    require("muomni models merge", "torch")
    stages = resolve("muomni_cli.models.merge:merge")(model_named(model).run(), output, say, replace=force)
    say(f"wrote {output} ({', '.join(stages)})")


@app.command()
def average(
    models: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs, by folder or name.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="RUN", help="Folder of the new run.")],
    last: Annotated[
        int, typer.Option(min=0, metavar="K", help="Of one run: average its K newest checkpoints (0: all it kept).")
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier run.")] = False,
) -> None:
    """Average the weights of the checkpoints that a run kept (keep_last), or of several runs, in a new run."""
    from muomni_cli.core.errors import require
    from muomni_cli.models.locate import model_named
    from muomni_cli.registry.registry import resolve

    if last and len(models) > 1:
        raise RequestError("--last is about the checkpoints of one run", "leave it out, or name one run")
    require("muomni models average", "torch")
    runs = [model_named(model).run() for model in models]
    stages = resolve("muomni_cli.models.average:average")(runs, output, say, last=last, replace=force)
    say(f"wrote {output} ({', '.join(stages)})")


def _print(found: dict[str, Any]) -> None:
    origin = f"  ({found['package']} {found['version']})" if found["package"] else ""
    print(f"{found['use']}{origin}")
    numbers = f", {found['parameters']:,} parameters" if found["parameters"] else ""
    for line in (found["doc"], f"{found['does']}{numbers}"):
        if line:
            print(line)
    facts = {
        "voices": ", ".join(found["voices"]),
        "context": f"{found['context']} tokens" if found["context"] else "",
        "license": found["license"],
        **{kind: _place(found[kind]) for kind in ("bundle", "run")},
        "card": found["card"] or "",
    }
    print()
    for key, value in facts.items():
        if value:
            print(f"{key:8} {value}")
    print()
    parts = []
    for part in found["parts"]:
        sizes = ", ".join(f"{key} {value}" for key, value in part["sizes"].items()) or "-"
        numbers = (f"{part['numbers']:,}" if part["numbers"] else "-") + " (borrowed)" * part["borrowed"]
        parts.append((part["part"], part["stage"] or "-", f"{part['kind']} {part['use']}", sizes, numbers))
    print_table(("PART", "STAGE", "IMPLEMENTATION", "SIZE", "PARAMETERS"), parts)
    sources = [(name, s["use"], s.get("task", "-"), s["license"]) for name, own in found["data"].items() for s in own]
    if sources:
        print()
        print_table(("DATA", "SOURCE", "TASK", "LICENSE"), sources)
    if found["scores"]:
        from muomni_cli.contract.metrics import HEADINGS, MetricResult, rows

        print()
        print_table(HEADINGS, rows([MetricResult(**score) for score in found["scores"]]))


def _place(folder: dict[str, Any] | None) -> str:
    if folder is None:
        return ""
    precision = f", {' '.join(folder['precision'])}" if folder.get("precision") else ""
    return f"{folder['path']} ({folder['bytes'] / 1e6:.1f} MB{precision})"


@runs_app.command("list")
def list_runs(json: JsonOption = False) -> None:
    """List the runs under runs/, newest first."""
    from muomni_cli.runs.listing import all_runs

    found = all_runs()
    if json:
        print_json(found)
    elif not found:
        say("there are no runs here; train one: muomni train all RECIPE")
    else:
        print_table(HEADINGS, [row for run in found for row in _rows(run)])
        for run in found:
            if "error" in run:
                say(f"warning: {run['name']}: {run['error']}")


@runs_app.command()
def show(name: Annotated[str, typer.Argument(help="Run name or folder.")], json: JsonOption = False) -> None:
    """Show a run: stages, parts, files, and the versions it was trained with."""
    from muomni_cli.runs.listing import details, find_run

    run = details(find_run(name))
    if json:
        print_json(run)
        return
    print_table(HEADINGS, _rows(run))
    print()
    parts = [(name, part["use"], part["plugin"], part["weights"]) for name, part in run["parts"].items()]
    print_table(("PART", "USE", "PLUGIN", "WEIGHTS"), parts)
    print()
    print_table(("FILE", "SIZE"), [(path, _size(count)) for path, count in run["files"].items()])
    if lock := run["lock"]:
        versions = "  ".join(f"{package} {version}" for package, version in lock["packages"].items())
        print(f"\nmade with python {lock['python']}  {versions}  seed {lock['seed']}")


@runs_app.command()
def plot(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Run names or folders.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write a PNG file instead of text.")] = None,
    metric: Annotated[str, typer.Option(help="Metric to plot, by its name in metrics.jsonl.")] = "loss",
    stage: Annotated[str, typer.Option(help="Stage (default: the last one that has the metric).")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print the points as JSON instead.")] = False,
) -> None:
    """Plot a metric of one or several runs with its validation values, in the terminal or as a PNG file."""
    from muomni_cli.runs.listing import Curve, curve, find_run, png_plot, text_plot

    curves = []
    for name in names:
        run = find_run(name)
        found, steps, values = curve(run, metric, stage or None)
        curves.append(Curve(f"{name} ({found}): {metric} {values[-1]:.4g}", steps, values))
        with suppress(RequestError):  # not every metric is measured on held-out data too
            _, steps, values = curve(run, f"val_{metric}", found)
            curves.append(Curve(f"{name} ({found}): validation {metric} {values[-1]:.4g}", steps, values, True))
    if json:
        print_json([{"name": c.name, "steps": c.steps, "values": c.values, "validation": c.measured} for c in curves])
    if output is not None:
        units = {"loss": "nats per target", "lr": "learning rate", "memory": "bytes", "time": "seconds"}
        unit = units.get(metric.removeprefix("val_"))
        png_plot(curves, f"{metric} ({unit})" if unit else metric, output)
        say(f"wrote {output}")
    elif not json:
        print(text_plot(curves, columns=get_terminal_size().columns - 1))


def _rows(run: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row per stage; the first one has name, size and age."""
    stages = run["stages"] or {"-": {"status": "broken" if "error" in run else "empty"}}
    rows = []
    for number, (stage, state) in enumerate(stages.items()):
        step = f"{state['step']}/{state.get('steps') or '?'}" if state.get("step") is not None else "-"
        losses = [state.get(key) for key in ("loss", "val_loss", "bits_per_byte")]
        numbers = ["-" if loss is None else f"{loss:.4f}" for loss in losses]
        whole = (_size(run["bytes"]), _age(run["age_seconds"])) if number == 0 else ("", "")
        rows.append((run["name"] if number == 0 else "", stage, str(state["status"]), step, *numbers, *whole))
    return rows


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
