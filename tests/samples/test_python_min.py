"""samples/python_min does with onnxruntime, numpy and tokenizers alone what muomni does."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image, ImageDraw

from muomni_cli import load
from tests.tiny_model import Whole

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "python_min" / "muomni_min.py"
NANO = SAMPLE.parents[2] / "plugins" / "muomni_nano" / "bundle"
SENTENCES = "the quick brown fox jumps over the lazy dog. what is red and round?"


def sample(*words: object) -> str:
    """What the sample prints. Warnings are errors there too."""
    command = [sys.executable, "-W", "error", str(SAMPLE), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def speech(whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By a model in full precision, which gives the same whether a sentence is read in one go or word by word."""
    path = tmp_path_factory.mktemp("speech") / "said.wav"
    sample("tts", whole.bundle, SENTENCES, path)
    return path


def test_it_is_short_and_imports_nothing_else() -> None:
    source = SAMPLE.read_text(encoding="utf-8")
    assert len(source.splitlines()) < 300
    nodes = list(ast.walk(ast.parse(source)))
    imported = {name.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for name in node.names}
    imported |= {(node.module or "").split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
    assert imported - sys.stdlib_module_names == {"numpy", "onnxruntime", "tokenizers"}


def picture(path: Path, mode: str) -> Image.Image:
    page = Image.new("RGB", (90, 64), (230, 230, 230))
    ImageDraw.Draw(page).ellipse((30, 15, 65, 50), fill=(214, 40, 40))
    page.convert(mode).save(path)
    return page.convert(mode).convert("RGB")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_the_same_pixels(mode: str, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("muomni_min", SAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    expected = picture(tmp_path / "picture.png", mode)
    made = module.read_png(tmp_path / "picture.png")
    np.testing.assert_array_equal(made.transpose(1, 2, 0), np.asarray(expected))


def test_the_same_answer_about_a_picture(tmp_path: Path) -> None:
    picture(tmp_path / "picture.png", "RGB")
    with load(str(NANO)) as model:
        expected = model.chat("what is this?", image=str(tmp_path / "picture.png"))
    assert sample("chat", NANO, "what is this?", tmp_path / "picture.png") == expected.strip()


def test_the_same_answer_without_a_picture() -> None:
    with load(str(NANO)) as model:
        assert sample("chat", NANO, "tell me a story") == model.chat("tell me a story").strip()


def test_the_same_speech(speech: Path, whole: Whole) -> None:
    written, rate = soundfile.read(speech, dtype="float32")
    with load(str(whole.bundle)) as model:
        samples, expected_rate = model.speak(SENTENCES)
    assert rate == expected_rate
    assert written.shape == samples.shape
    np.testing.assert_allclose(written, samples.clip(-1, 1), atol=1e-3)


def test_the_same_words(tmp_path: Path) -> None:
    with load(str(NANO)) as model:
        samples, rate = model.speak("yes. no. yes.")
        soundfile.write(tmp_path / "said.wav", samples, rate, subtype="PCM_16")
        words = [word.text for word in model.words(str(tmp_path / "said.wav"))]
    assert sample("listen", NANO, tmp_path / "said.wav").split() == words != []


def test_other_words_are_answered_with_the_usage() -> None:
    done = subprocess.run([sys.executable, str(SAMPLE), "sing"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "python muomni_min.py chat BUNDLE" in done.stderr
