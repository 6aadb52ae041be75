"""``muomni serve`` in a process of its own: it says where it listens, and stops within seconds when it is asked to."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from muomni_cli.api import RequestError
from muomni_cli.commands.cli import build_cli
from muomni_cli.registry.registry import get_registry
from muomni_serve.settings import ServeSettings, key_of, models_of, seconds_of
from tests.serve.running import LONG

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def started(*options: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address, once it listens."""
    command = [sys.executable, "-m", "muomni_cli", "serve", "-m", "nano", "--port", "0", "--threads", "1", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT), **variables}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = re.fullmatch(r"serving nano on (http://127\.0\.0\.1:\d+)/v1 \(Ctrl-C stops\)\n", line)
        assert found, line + process.stderr.read()
        yield process, found[1]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_it_serves_and_ends_at_once_when_nobody_waits() -> None:
    with started(MUOMNI_API_KEY="k") as (process, url):
        assert httpx.get(f"{url}/v1/models").status_code == 401
        assert httpx.get(f"{url}/v1/models", headers={"Authorization": "Bearer k"}).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr is not None
        assert process.stderr.read() == "stopped by Ctrl-C\n"


def test_what_is_under_way_ends_with_an_error_event_after_the_grace_period() -> None:
    asked = {"model": "nano", "input": LONG, "response_format": "pcm", "stream_format": "sse"}
    with started("--grace", "0.5") as (process, url):
        with httpx.stream("POST", f"{url}/v1/audio/speech", json=asked, timeout=60) as answer:
            lines = (line for line in answer.iter_lines() if line)
            next(lines)
            begin = time.monotonic()
            process.send_signal(signal.SIGTERM)
            *spoken, last = lines
        assert spoken  # within the grace period
        assert '"code":"server_stopping"' in last
        assert process.wait(20) == 128 + signal.SIGTERM
        assert time.monotonic() - begin < 20
        assert process.stderr is not None
        assert process.stderr.read() == "stopped by SIGTERM\n"


def run(*words: str, module: str = "") -> subprocess.CompletedProcess[str]:
    """The command, without the package ``module`` if one is named."""
    code = "import sys; sys.modules[sys.argv[1]] = None; from muomni_cli.app import main; main(sys.argv[2:])"
    command = [sys.executable, "-c", code, module or "muomni_nothing", "serve", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("-m", "nowhere"), 2, "error: there is no model 'nowhere'"),
        (("-m", "nano", "-m", "nano"), 2, "error: two models have the id 'nano'"),
        (("--keep", "soon"), 2, "error: 'soon' is not a time"),
        (("--cors-origin", "pages"), 2, "error: 'pages' is not a web origin"),
        (("--allow-host", "a:80"), 2, "error: 'a:80' is not a host name"),
        (("--api-key", "a b"), 2, "error: the key has characters that a header cannot carry"),
        (("--host", "203.0.113.1", "-m", "nano"), 1, "error: 203.0.113.1:8000 cannot be listened on"),
    ],
)
def test_wrong_options_are_two_lines(words: tuple[str, ...], code: int, what: str) -> None:
    done = run(*words)
    first, second = done.stderr.splitlines()
    assert done.returncode == code
    assert first.startswith(what)
    assert second.startswith("  fix: ")


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("-m", "nano", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "cannot be listened on" in done.stderr


def test_the_extra_is_named_where_it_is_missing() -> None:
    done = run("-m", "nano", module="uvicorn")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: muomni serve needs packages that are not installed",
        "  fix: install them: pip install 'muomni[serve]'",
    ]


def test_no_pytorch_for_a_bundle() -> None:
    code = """
import sys
sys.modules["torch"] = None
from muomni_serve.app import make_app
from muomni_serve.service import open_service
from muomni_serve.settings import ServeSettings
service = open_service(ServeSettings(models={"nano": "nano"}))
make_app(service)
print(service.models["nano"].entry.capabilities)
"""
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins"), str(ROOT / "exports")])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables, check=False)
    assert done.stdout == "['audio', 'chat', 'image', 'speak', 'transcribe']\n", done.stderr


def test_listing_commands_do_not_import_the_server() -> None:
    code = "import sys; from muomni_cli.app import main\ntry: main(['plugins', 'list'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'starlette', 'uvicorn', 'numpy'} & set(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_help_has_every_option() -> None:
    shown = CliRunner().invoke(build_cli(get_registry().plugins), ["serve", "--help"]).output
    for option in (
        "--model",
        "--host",
        "--api-key",
        "--cors-origin",
        "--keep",
        "--queue",
        "--max-body",
        "--grace",
        "--exact",
    ):
        assert option in shown


def test_options_are_read() -> None:
    assert models_of([]) == {"": None}
    assert models_of(["nano", "a=runs/b", "runs/c/"]) == {"nano": "nano", "a": "runs/b", "c": "runs/c/"}
    assert [seconds_of(text) for text in ("30s", "10m", "1.5h", "7", "forever")] == [30, 600, 5400, 7, float("inf")]
    assert key_of(None) == ""
    for wrong in ({"origins": ("https://a/b",)}, {"hosts": ("a/b",)}):
        with pytest.raises(RequestError):
            ServeSettings(**wrong)  # type: ignore[arg-type]
