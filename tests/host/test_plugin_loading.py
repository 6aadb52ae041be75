"""A plugin that is broken costs one line and nothing else; one that works is treated as a built-in is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from muomni_cli.core.errors import MuomniError
from muomni_cli.registry import loading as plugins
from muomni_cli.registry.loading import Plugin, load_plugins

Install = Callable[..., Path]
Load = Callable[[], list[Plugin]]
Muomni = Callable[..., "subprocess.CompletedProcess[str]"]

HEAD = """
    '''What a stranger wrote.'''
    from muomni_cli.api import Capability, DatasetPart, PartConfig, RecipeFile, ThinkerPart, hookimpl

    class Config(PartConfig):
        size: int = 3
"""
WORKS = f"""{HEAD}
    @hookimpl
    def register_datasets():
        return [DatasetPart(name="pebbles", doc="small stones", config=Config, build="nowhere.pebbles:build")]
"""
BROKEN = {
    "absent": ("", "No module named 'stranger_absent'"),
    "syntax": ("def (", "SyntaxError"),
    "imports": ("import a_package_that_nobody_has", "a_package_that_nobody_has"),
    "leaves": ("raise SystemExit(3)", "SystemExit: 3"),
    "newer": ("MUOMNI_API = 99", "needs plugin API 99"),
    "signature": (f"{HEAD}\n    @hookimpl\n    def register_datasets(extra): return []", "extra"),
    "unknown": (f"{HEAD}\n    @hookimpl\n    def register_telepathy(): return []", "register_telepathy"),
    "raises": (f"{HEAD}\n    @hookimpl\n    def register_datasets(): raise OSError('no\\nluck')", "OSError: no luck"),
    "single": (f"{HEAD}\n    @hookimpl\n    def register_datasets(): return 7", "register_datasets returned int"),
    "othertype": (f"{HEAD}\n    @hookimpl\n    def register_datasets(): return [7]", "int, not DatasetPart"),
    "config": (WORKS.replace("config=Config", "config=dict"), "must be a subclass of PartConfig"),
    "twice": (WORKS.replace("return [", "return 2 * ["), "declares dataset pebbles twice"),
    "commands": (f"{HEAD}\n    @hookimpl\n    def register_commands(cli): raise ValueError('no verb')", "no verb"),
    "annotation": (
        f"{HEAD}\n    def verb(x: 'Nowhere'): pass\n    @hookimpl\n    def register_commands(cli): cli.command()(verb)",
        "Nowhere",
    ),
}


def by_name(loaded: list[Plugin]) -> dict[str, Plugin]:
    return {plugin.info.name: plugin for plugin in loaded}


def test_stranger_is_loaded(install: Install, load: Load) -> None:
    install("good", WORKS)
    (plugin,) = load()
    assert (plugin.info.name, plugin.info.status, plugin.info.version) == ("good", "loaded", "1.2")
    assert plugin.doc == "What a stranger wrote."
    assert [(part.kind, part.name) for part in plugin.parts] == [("dataset", "pebbles")]


def test_every_broken_plugin_costs_one_line(install: Install, muomni: Muomni) -> None:
    install("good", WORKS)
    for name, (source, _) in BROKEN.items():
        install(name, source)
    done = muomni("plugins", "list", "--json")
    assert done.returncode == 0, done.stderr
    listed = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert listed["good"]["status"] == "loaded"
    lines = done.stderr.splitlines()
    assert len(lines) == len(BROKEN), done.stderr
    for name, (_, reason) in BROKEN.items():
        assert listed[name]["status"] == "broken"
        assert listed[name]["parts"] == {}
        assert reason in listed[name]["reason"], name
        assert sum(f"plugin {name} " in line and reason in line for line in lines) == 1, name


def test_strict_mode_raises(install: Install, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    install("leaves", "raise SystemExit(3)")
    monkeypatch.setenv("MUOMNI_STRICT_PLUGINS", "1")
    with pytest.raises(MuomniError, match="plugin leaves is broken: SystemExit: 3"):
        load()


def test_interrupt_is_not_swallowed(install: Install, load: Load) -> None:
    install("slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load()


def test_prints_of_a_plugin_stay_out_of_stdout(install: Install, muomni: Muomni) -> None:
    install("chatty", "print('here I am')")
    done = muomni("plugins", "list", "--json")
    assert json.loads(done.stdout)
    assert "here I am" in done.stderr


def test_second_plugin_of_one_name_is_left_out(install: Install, load: Load) -> None:
    install("one", WORKS, entry="stones", module="stranger_one")
    install("two", WORKS, entry="stones", module="stranger_two")
    first, second = load()
    assert (first.info.status, second.info.status) == ("loaded", "broken")
    assert "one-dist has a plugin of this name already" in second.info.reason


def test_module_that_is_built_in_and_entry_point_loads_once(
    install: Install, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("moved", WORKS, entry="moved", module="stranger_moved")
    monkeypatch.setattr(plugins, "BUILTINS", ("stranger_moved",))
    assert load() == []
    (plugin,) = load_plugins()
    assert (plugin.info.name, plugin.info.origin) == ("stranger_moved", "built-in")


def test_absent_built_in_is_merely_absent(load: Load, strangers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (strangers / "stranger_husk" / "__pycache__").mkdir(parents=True)
    monkeypatch.setattr(plugins, "BUILTINS", ("stranger_gone.plugin", "stranger_husk.plugin"))
    assert load() == []


@pytest.mark.parametrize("source", ["raise ValueError('bad day')", "import a_package_that_nobody_has"])
def test_broken_built_in_raises(source: str, load: Load, strangers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (strangers / "stranger_ours.py").write_text(source)
    monkeypatch.setattr(plugins, "BUILTINS", ("stranger_ours",))
    with pytest.raises(MuomniError, match="built-in plugin stranger_ours is broken"):
        load()


def test_command_of_a_plugin_runs(install: Install, muomni: Muomni) -> None:
    source = f"""{HEAD}
    def stones(number: int = 2): print("o" * number)

    @hookimpl
    def register_commands(cli): cli.command()(stones)
    """
    install("verbs", source)
    done = muomni("stones", "--number", "3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ooo\n", "")
    assert "stones" in muomni("--help").stdout


def test_commands_of_a_plugin_join_a_group_of_muomni(install: Install, muomni: Muomni) -> None:
    source = f"""{HEAD}
    import typer
    def stones(number: int = 2): print("o" * number)

    @hookimpl
    def register_commands(cli):
        group = typer.Typer()
        group.command()(stones)
        group.command("list")(stones)
        cli.add_typer(group, name="runs")
    """
    install("verbs", source)
    assert muomni("runs", "stones").stdout == "oo\n"
    assert muomni("runs", "verbs:list", "--number", "1").stdout == "o\n"
    assert muomni("runs", "list", "--json").stdout == "[]\n"


def test_disabled_plugin_is_not_even_imported(install: Install, muomni: Muomni) -> None:
    install("good", WORKS + "\n    print('imported')")
    assert "imported" in muomni("plugins", "disable", "good").stderr
    done = muomni("plugins", "list", "--json")
    assert {e["name"]: e["status"] for e in json.loads(done.stdout)}["good"] == "disabled"
    assert done.stderr == ""
    assert muomni("plugins", "enable", "good").returncode == 0
    assert "imported" in muomni("plugins", "list").stderr


def test_built_in_can_be_disabled(muomni: Muomni) -> None:
    assert muomni("plugins", "disable", "muomni_text").returncode == 0
    listed = {entry["name"]: entry for entry in json.loads(muomni("plugins", "list", "--json").stdout)}
    assert (listed["muomni_text"]["status"], listed["muomni_text"]["parts"]) == ("disabled", {})
    said = muomni("plugins", "info", "bpe").stderr
    assert "plugin muomni_text is disabled (muomni plugins enable muomni_text)" in said


@pytest.mark.parametrize("verb", ["enable", "disable"])
def test_switching_what_is_not_there_names_the_nearest(verb: str, muomni: Muomni) -> None:
    done = muomni("plugins", verb, "muomni_txt")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: there is no plugin 'muomni_txt'",
        "  fix: did you mean 'muomni_text'? see: muomni plugins list",
    ]


def test_reasons_do_not_grow(install: Install, load: Load) -> None:
    install("long", "raise ValueError('very ' * 1000)")
    assert len(load()[0].info.reason) <= 240


def test_listing_imports_nothing_heavy() -> None:
    heavy = ["torch", "numpy", "tokenizers", "onnxruntime"]
    for words in (["--help"], ["plugins", "list"], ["plugins", "info", "transformer", "--json"], ["runs", "list"]):
        code = (
            f"import sys; from muomni_cli.app import main\ntry: main({words!r})\n"
            f"finally: print([m for m in {heavy!r} if m in sys.modules], file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stderr.splitlines()[-1] == "[]", words
