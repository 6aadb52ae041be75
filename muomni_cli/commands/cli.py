"""The Typer application: assembles all commands, runs one, and turns errors into exit codes."""

from __future__ import annotations

import errno
import importlib
import os
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from typing import Annotated, Any

import typer
from typer.models import CommandInfo, TyperInfo

from muomni_cli.core.console import (
    TEXT_COMMANDS,
    meant_command,
    print_error,
    say,
    tolerate_encoding,
    translated,
    with_dashed_text,
    with_default_page,
)
from muomni_cli.core.errors import MuomniError, __version__, absence, missing_package
from muomni_cli.core.stopping import asked
from muomni_cli.registry.loading import Plugin, add_file, describe
from muomni_cli.registry.registry import BUILT_IN, get_registry

COMMANDS = {
    "train": "train:train",
    "chat": "chat:chat",
    "listen": "speech:listen",
    "tts": "speech:tts",
    "eval": "eval:evaluate",
    "sweep": "sweep:sweep",
    "trace": "trace:trace",
    "doctor": "doctor:doctor",
}
GROUPS = {
    "runs": "models:runs_app",
    "models": "models:app",
    "bench": "bench:app",
    "recipes": "recipes:app",
    "data": "data:app",
    "cache": "cache:app",
    "plugins": "plugins:app",
}
"""Commands and groups of commands, by the module in this package and the name there."""

LISTING = frozenset({"-h", "--help", "-V", "--version"})  # words that show what commands there are, or none of them


def execute(words: list[str]) -> int:
    """Run the command of ``words``; returns its exit code."""
    tolerate_encoding()
    debug = _take_debug(words)
    try:
        _take_plugins(words)
        code = _run(words)
        print(end="", flush=True)  # an unwritable stdout is an error; print also works without a stdout
    except BrokenPipeError:
        code = 1
    except (Exception, KeyboardInterrupt) as error:
        if asked():  # the caller says so
            raise
        if debug:
            traceback.print_exc()
        code = report(error, " ".join(["muomni", *words[:1]]))
    try:
        print(end="", flush=True)
    except OSError:  # otherwise the interpreter complains at exit about output that cannot be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def report(error: BaseException, command: str = "muomni") -> int:
    """Print what failed and how to fix it to stderr; returns the exit code."""
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return 130
    if isinstance(error, MuomniError):
        print_error(error.what, error.fix)
        return error.exit_code
    if isinstance(error, typer.TyperException):
        return _report_usage(error)
    if isinstance(error, OSError) and error.errno is not None:
        return _report_system(error)
    if isinstance(error, ModuleNotFoundError) and (package := missing_package(error)):
        print_error(*absence(command, [package]))
        return 1
    if isinstance(error, MemoryError):
        print_error("out of memory", "close other programs, or take a smaller model or shorter inputs")
        return 1
    print_error(f"a bug of muomni: {describe(error)}", "run it again with --debug, and report what that prints")
    return 1


def _report_usage(error: typer.TyperException) -> int:
    message = error.format_message()
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "muomni")
    if "\n" in message:  # a group without a command: its help
        say(message)
    elif unknown := re.match(r"No such command '(.*?)'", message):
        commands = list(getattr(getattr(context, "command", None), "commands", ()))
        near = meant_command(unknown[1], commands)
        hint = f"did you mean: {path} {near}? " if near else f"one of: {', '.join(commands)}; "
        if offered := [command for command in commands if command.endswith(f":{unknown[1]}")]:
            hint = f"say which: {' or '.join(f'{path} {command}' for command in offered)}; "
        print_error(f"no such command '{unknown[1]}'{get_registry().absences()}", f"{hint}see {path} --help")
    else:
        print_error(message[:1].lower() + message[1:].removesuffix("."), f"see {path} --help")
    return error.exit_code


def _report_system(error: OSError) -> int:
    fixes = {
        errno.ENOSPC: "free some space, then run the same command again; no file is left half written",
        errno.EDQUOT: "free some space within your quota, then run the same command again",
        errno.EACCES: "change its permissions, or name another path",
        errno.EROFS: "name a writable path",
        errno.ENOENT: "name an existing path",
    }
    fix = fixes.get(error.errno or 0, "run it again with --debug to see where it happened")
    where = f": {error.filename}" if error.filename else ""
    print_error(f"{(error.strerror or 'system error').lower()}{where}", fix)
    return 1


def _take_debug(words: list[str]) -> bool:
    """Remove ``--debug`` from the words before a ``--``; it applies to every command."""
    options = words[: words.index("--")] if "--" in words else words
    if "--debug" not in options:
        return False
    words.remove("--debug")
    return True


def _take_plugins(words: list[str]) -> None:
    """Load every ``--plugin FILE`` and remove it from the words. RequestError if a file is not a plugin."""
    place = 0
    while place < len(words) and words[place] != "--":
        option, _, file = words[place].partition("=")
        if option != "--plugin":
            place += 1
            continue
        taken = 1 if file else 2
        add_file(file or "".join(words[place + 1 : place + 2]))
        del words[place : place + taken]


def _run(words: list[str]) -> int:
    called = words[0] if words and words[0] in COMMANDS.keys() | GROUPS.keys() else None
    cli = build_cli(get_registry().plugins, called)
    names = [_name(one) for one in cli.registered_commands] + [_name(one) for one in cli.registered_groups]
    words = translated(words, names)
    _keep_called(cli, words)
    root = typer.main.get_command(cli)
    if words[:1] == ["trace"]:
        words = with_default_page(words)
    if words[:1] and words[0] in TEXT_COMMANDS:
        called = getattr(root, "commands", {}).get(words[0])
        words = [words[0], *with_dashed_text(words[1:], called.params if called else [])]
    result = root(words, prog_name="muomni", standalone_mode=False)
    return result if isinstance(result, int) else 0


def build_cli(installed: Iterable[Plugin], called: str | None = None) -> typer.Typer:
    """The Typer app with all commands, built-in ones first; warns on stderr about broken and slow plugins. ``called``:
    of muomni's own commands and groups only this one, so that it imports no other."""
    cli = typer.Typer(
        rich_markup_mode=None, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
    )
    cli.callback(invoke_without_command=True)(_root)
    for name, place in COMMANDS.items():
        if called in (None, name):
            cli.command(name)(_imported(place))
    for name, place in GROUPS.items():
        if called in (None, name):
            cli.add_typer(_imported(place), name=name)
    plugins_there = list(installed)
    _add_commands(cli, [(plugin, theirs) for plugin in plugins_there if (theirs := plugin.commands()) is not None])
    for plugin in plugins_there:
        if plugin.info.status == "broken":
            say(f"warning: plugin {plugin.info.name} ({plugin.info.origin}) is left out: {plugin.info.reason}")
        elif plugin.warning:
            say(f"warning: plugin {plugin.info.name} ({plugin.info.origin}) {plugin.warning}")
    return cli


def _imported(place: str) -> Any:
    """What ``module:name`` means in this package."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"muomni_cli.commands.{module}"), name)


def _add_commands(cli: typer.Typer, offered: Sequence[tuple[Plugin, typer.Typer]]) -> None:
    """Add the commands of plugins, and those of groups that have the name of a group of muomni to that group. A name
    stays that of muomni's own command; a plugin's second one of that name, and one that several plugins have, is called
    ``plugin:name``."""
    groups = {_name(one): one for one in cli.registered_groups}
    joining: dict[str, list[tuple[Plugin, typer.Typer]]] = {}
    named = []
    for plugin, one in [(plugin, one) for plugin, theirs in offered for one in _commands_of(theirs)]:
        if isinstance(one, TyperInfo) and _name(one) in groups and one.typer_instance is not None:
            joining.setdefault(_name(one), []).append((plugin, one.typer_instance))
        else:
            named.append((plugin, one, _name(one)))
    for name, theirs in joining.items():
        groups[name].typer_instance = _joined(groups[name], theirs)
    own = {_name(one) for one in _commands_of(cli)} | COMMANDS.keys() | GROUPS.keys()
    own |= {name for plugin, _, name in named if plugin.info.origin == BUILT_IN}
    counts = Counter(name for *_, name in named)
    for plugin, one, name in named:
        if plugin.info.origin != BUILT_IN and (name in own or counts[name] > 1):
            one.name = f"{plugin.info.name}:{name}"
        if isinstance(one, CommandInfo):
            cli.registered_commands.append(one)
        else:
            cli.registered_groups.append(one)


def _joined(group: TyperInfo, offered: Sequence[tuple[Plugin, typer.Typer]]) -> typer.Typer:
    """A copy of a group with the commands of plugins; the group itself is shared by all calls in this process."""
    assert group.typer_instance is not None
    whole = copy(group.typer_instance)
    whole.registered_commands = list(whole.registered_commands)
    whole.registered_groups = list(whole.registered_groups)
    _add_commands(whole, offered)
    return whole


def _commands_of(cli: typer.Typer) -> Iterator[CommandInfo | TyperInfo]:
    """Its commands and groups; in place of a group without a name, what is in it."""
    yield from cli.registered_commands
    for group in cli.registered_groups:
        if group.typer_instance is None or typer.main.solve_typer_info_defaults(group).name:
            yield group
        else:
            yield from _commands_of(group.typer_instance)


def _keep_called(cli: typer.Typer, words: Sequence[str]) -> None:
    """Keep only the called command, if any: typer inspects all signatures, which takes longer than some commands."""
    commands = [one for one in cli.registered_commands if _name(one) in words[:1]]
    groups = [one for one in cli.registered_groups if _name(one) in words[:1]]
    if commands or groups:
        cli.registered_commands, cli.registered_groups = commands, groups
    elif set(words) <= LISTING:
        cli.registered_commands = [_without_options(one) for one in cli.registered_commands]
        cli.registered_groups = [_without_commands(one) for one in cli.registered_groups]


def _without_options(command: CommandInfo) -> CommandInfo:
    """A copy with the same help and no options, for a list of commands."""
    shown = copy(command)
    shown.name = _name(command)
    shown.callback = _documented(command.callback)
    return shown


def _without_commands(group: TyperInfo) -> TyperInfo:
    """A copy with the same help and nothing in it, for a list of groups."""
    shown = copy(group)
    if group.typer_instance is not None:
        shown.typer_instance = inside = copy(group.typer_instance)
        inside.registered_commands, inside.registered_groups = [], []
        if inside.registered_callback is not None:
            inside.registered_callback = copy(inside.registered_callback)
            inside.registered_callback.callback = _documented(inside.registered_callback.callback)
    return shown


def _documented(function: Callable[..., None] | None) -> Callable[..., None] | None:
    """A function with the docstring of another, and no arguments for typer to inspect."""

    def listed() -> None: ...

    listed.__doc__ = function.__doc__ if function is not None else None
    return listed if function is not None else None


def _name(command: CommandInfo | TyperInfo) -> str:
    """The name to type."""
    if isinstance(command.name, str):
        return command.name
    if isinstance(command, TyperInfo):
        return typer.main.solve_typer_info_defaults(command).name or ""
    callback = command.callback
    return typer.main.get_command_name(callback.__name__) if callback else ""


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"muomni {__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  (its callback does the work)
        bool, typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[  # noqa: ARG001  (handled by main; here for --help)
        bool, typer.Option("--debug", help="Print a traceback when something fails.")
    ] = False,
    plugin: Annotated[  # noqa: ARG001  (likewise)
        list[str] | None, typer.Option("--plugin", metavar="FILE", help="Load a single-file plugin for this command.")
    ] = None,
) -> None:
    """Train, run and deploy tiny omni models."""
    if context.invoked_subcommand is None:
        print(context.get_help())
