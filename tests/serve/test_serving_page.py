"""What docs/serving.md shows works: curl, Python and JavaScript, against a server, in a folder with the samples."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from muomni_serve.app import ENDPOINTS
from muomni_serve.requests import (
    CHAT_NEUTRAL,
    SPEECH_NEUTRAL,
    TRANSCRIPTION_NEUTRAL,
    ChatRequest,
    SpeechRequest,
    TranscriptionRequest,
)
from tests.docs.readme import Block, blocks
from tests.serve.conftest import SAMPLES
from tests.serve.running import Served

PAGE = (Path(__file__).resolve().parents[2] / "docs/serving.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("x.png", "y.wav"):
        shutil.copy(SAMPLES / name, tmp_path)
    return tmp_path


def of(language: str) -> list[Block]:
    """Blocks that a test runs."""
    return [block for block in blocks(PAGE) if block.language == language and not block.note]


def test_every_block_is_of_a_known_kind() -> None:
    kinds = {(block.language, block.note) for block in blocks(PAGE)}
    assert kinds == {("sh", "install"), ("sh", ""), ("python", ""), ("python", "livekit"), ("js", "")}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(served: Served, folder: Path) -> None:
    (block,) = of("sh")
    script = "set -e\n" + block.text.replace(ADDRESS, served.url).replace("curl ", "curl -sS --fail-with-body ")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "data: [DONE]" in done.stdout
    assert " --> " in done.stdout
    assert soundfile.info(str(folder / "left.wav")).samplerate == 16_000


def test_python(served: Served, folder: Path) -> None:
    script = "\n".join(block.text for block in of("python")).replace(ADDRESS, served.url)
    script += "\nassert words and words[0].word\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    first, second, parsed, arguments = done.stdout.splitlines()
    assert "triangle" in first
    assert second
    assert re.fullmatch(r"color='(red|blue)' layers=[12]", parsed)
    assert re.fullmatch(r'\{"color": ?"(red|blue)", ?"layers": ?[12]\}', arguments)
    assert soundfile.info(str(folder / "answer.wav")).frames
    assert (folder / "left.pcm").stat().st_size > 24_000


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_javascript(served: Served, folder: Path) -> None:
    (block,) = of("js")
    (folder / "ask.mjs").write_text(block.text.replace(ADDRESS, served.url))
    variables = {"PATH": os.environ["PATH"], "NODE_NO_WARNINGS": "1"}
    done = subprocess.run(["node", "ask.mjs"], capture_output=True, text=True, cwd=folder, env=variables, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 2


def test_the_table_of_paths_is_complete() -> None:
    shown = set(re.findall(r"`(?:GET|POST) (/[^`]*)`", PAGE.partition("## curl")[0]))
    assert shown == {one.path.replace("{model}", "{id}") for one in ENDPOINTS} | {"/openapi.json"}


def test_every_parameter_is_on_the_page() -> None:
    shown = PAGE.partition("## Parameters")[2].partition("## Limits")[0]
    neutral = {*CHAT_NEUTRAL, *SPEECH_NEUTRAL, *TRANSCRIPTION_NEUTRAL}
    for model in (ChatRequest, SpeechRequest, TranscriptionRequest):
        for name, field in model.model_fields.items():
            assert name in neutral or f"`{field.alias or name}" in shown, name
