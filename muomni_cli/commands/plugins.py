"""``muomni plugins``: list, inspect, check, create, enable and disable plugins."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from muomni_cli.commands.options import JsonOption
from muomni_cli.contract.declarations import ModelFiles
from muomni_cli.core.console import print_json, print_table, say
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.registry.loading import set_enabled
from muomni_cli.registry.registry import describe_part, describe_plugin, did_you_mean, get_registry, registered_parts

if TYPE_CHECKING:
    from muomni_cli.conformance.runner import CheckReport

app = typer.Typer(no_args_is_help=True, help="List, inspect, check, create, enable and disable plugins.")

PluginOrPart = Annotated[str, typer.Argument(metavar="NAME", help="Plugin or part.")]
PluginName = Annotated[str, typer.Argument(metavar="NAME", help="Plugin name from `muomni plugins list`.")]


@app.command("list")
def list_plugins(json: JsonOption = False) -> None:
    """List every plugin with its origin and the parts it provides."""
    described = [describe_plugin(plugin) for plugin in get_registry().plugins]
    if json:
        print_json(described)
        return
    rows = []
    for plugin in described:
        counts = plugin["parts"].items()
        parts = [f"{count} {kind if count == 1 or kind.endswith('s') else kind + 's'}" for kind, count in counts]
        origin = f"{plugin['origin']} {plugin['version']}"
        rows.append((plugin["name"], origin, plugin["status"], plugin["reason"] or ", ".join(parts) or "-"))
    print_table(("NAME", "ORIGIN", "STATUS", "PARTS"), rows)


@app.command()
def info(name: PluginOrPart, json: JsonOption = False) -> None:
    """Show a plugin, or a part with its settings and capabilities."""
    registry = get_registry()
    everything = registered_parts(registry)
    plugin = next((plugin for plugin in registry.plugins if plugin.info.name == name), None)
    if plugin:
        parts = [describe_part(registered) for registered in everything if registered.plugin.name == name]
        described = [describe_plugin(plugin) | {"parts": parts}]
    else:
        named = (o for o in everything if name in (o.use, o.part.name, f"{o.plugin.name}:{o.part.name}"))
        described = [describe_part(registered) for registered in named]
    if not described:
        known = [p.info.name for p in registry.plugins] + [registered.use for registered in everything]
        raise RequestError(
            f"there is no plugin or part {name!r}{registry.absences()}",
            did_you_mean(name, known, "see: muomni plugins list"),
        )
    if json:
        print_json(described[0] if len(described) == 1 else described)
        return
    for number, entry in enumerate(described):
        print(end="\n" if number else "")
        _print_plugin(entry) if plugin else _print_part(entry)


@app.command()
def check(name: PluginOrPart, json: JsonOption = False) -> None:
    """Run the conformance checks: shapes, caches, padding, streaming, training, files and exports.

    Every part is built with its smallest config, and only the capabilities that it declares are checked. Exits with 1
    if a check fails.
    """
    from muomni_cli.conformance.runner import examine, parts_called

    reports: list[CheckReport] = []
    for named in parts_called(name, get_registry()):
        say(f"checking {named.part.kind} {named.part.name}")
        reports.append(examine(named.part, named.plugin))
        if not json:
            _print_report(reports[-1], first=len(reports) == 1)
    if json:
        print_json([report.as_data() for report in reports])
    broken = [(report.part, result) for report in reports for result in report.failed]
    passed = sum(result.state == "passed" for report in reports for result in report.results)
    for part, result in broken:
        say(f"{part.kind} {part.name} fails {result.check.name}: {result.check.doc}\n  {result.summary}")
    if broken:
        names = ", ".join(result.check.name for _, result in broken)
        raise MuomniError(
            f"{name} fails {len(broken)} of {len(broken) + passed} checks: {names}",
            "fix it, or do not declare the capability, then check it again",
        )
    say(f"{name} passes all {passed} checks that apply to it")


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Plugin name: lower-case letters, digits and -.")],
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="encoder, thinker, talker, codec, vocoder, tokenizer, dataset, callback, command or model.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Parent folder of the new package.")
    ] = Path(),
) -> None:
    """Write the package of a new plugin: a working example to be changed."""
    from muomni_cli.scaffold import write

    folder = write(name, kind, output, get_registry())
    print(folder)
    say(f"next: pip install -e {folder}    muomni plugins check {name}    and read {folder / 'README.md'}")


@app.command()
def enable(name: PluginName) -> None:
    """Enable a disabled plugin."""
    _known(name)
    say(f"{name} is enabled" if set_enabled(name, on=True) else f"{name} is already enabled")


@app.command()
def disable(name: PluginName) -> None:
    """Disable a plugin for all later commands."""
    _known(name)
    changed = set_enabled(name, on=False)
    say(f"{name} is disabled; undo with: muomni plugins enable {name}" if changed else f"{name} is already disabled")


def _known(name: str) -> None:
    names = [plugin.info.name for plugin in get_registry().plugins]
    if name not in names:
        raise RequestError(f"there is no plugin {name!r}", did_you_mean(name, names, "see: muomni plugins list"))


def _print_plugin(entry: dict[str, Any]) -> None:
    print(f"{entry['name']}  {entry['origin']} {entry['version']}, {entry['status']}")
    for line in (entry["doc"], entry["reason"]):
        if line:
            print(line)
    if entry["parts"]:
        print()
        print_table(("KIND", "NAME", "WHAT"), [(part["kind"], part["use"], part["doc"]) for part in entry["parts"]])


def _print_part(entry: dict[str, Any]) -> None:
    print(f"{entry['kind']} {entry['name']}  (plugin {entry['plugin']})\n{entry['doc']}")
    if "path" in entry:
        print(f"file: {entry['path']}")
    elif entry["kind"] == ModelFiles.kind:
        print("\n".join(f"{field}: {entry[field]}" for field in ("bundle", "run", "card") if field in entry))
    elif "size" in entry:
        print(
            f"license: {entry['license']}\nfiles: {', '.join(entry['paths'])}\nget it: muomni data get {entry['use']}"
        )
    elif "check" in entry:
        print(f"check: {entry['check']}")
    elif "stages" in entry:
        print(f"stages: {', '.join(entry['stages'])}\nmade by: {entry['make']}")
    else:
        print(f"can: {', '.join(entry['capabilities']) or 'no optional capabilities'}\n")
        rows = [(f["name"], _default(f), f["type"], f["description"]) for f in entry["config"]]
        if rows:
            print_table(("SETTING", "DEFAULT", "TYPE", "WHAT"), rows)


def _print_report(report: CheckReport, *, first: bool) -> None:
    print(f"{'' if first else chr(10)}{report.part.kind} {report.part.name}  (plugin {report.plugin})\n")
    states = {"passed": "passed", "failed": "FAILED", "skipped": "-"}
    rows = [(v.check.name, states[v.state], v.summary or v.check.doc) for v in report.results]
    print_table(("CHECK", "", "RESULT"), rows)


def _default(setting: dict[str, Any]) -> str:
    if setting["required"]:
        return "(required)"
    return "-" if setting["default"] is None else dumps(setting["default"], ensure_ascii=False)  # as in a recipe
