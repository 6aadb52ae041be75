"""samples/cpp, built with onnxruntime's C++ headers and the library of its Python package, does what muomni does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
from PIL import Image, ImageDraw

from muomni_cli import load
from muomni_cli.omni import OmniModel
from tests.tiny_model import Whole

pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(sys.platform != "linux", reason="links with the library of onnxruntime's package for Linux"),
]

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
NANO = SAMPLES.parent / "plugins" / "muomni_nano" / "bundle"
MISSING = ("is missing", "Could not find", "CMAKE_CXX_COMPILER")
SENTENCES = "the quick brown fox jumps over the lazy dog. what is red and round?"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, in which a memory error or undefined behavior is fatal."""
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    folder = tmp_path_factory.mktemp("cpp")
    (packaged,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(packaged)
    options = [f"-DONNXRUNTIME_LIBRARY={folder / 'libonnxruntime.so'}", "-DMUOMNI_SANITIZE=ON"]
    words = ["cmake", "-S", str(SAMPLES / "cpp"), "-B", str(folder / "build"), "-DCMAKE_BUILD_TYPE=Debug", *options]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    why = " ".join(done.stderr.split())
    if done.returncode and any(reason in why for reason in MISSING):
        pytest.skip(f"samples/cpp cannot be built here: {why[:300]}")
    assert done.returncode == 0, done.stderr
    words = ["cmake", "--build", str(folder / "build"), "--parallel", "2"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build" / "muomni_min"


@pytest.fixture(scope="module")
def nano() -> Iterator[OmniModel]:
    with load(str(NANO)) as model:
        yield model


def done(program: Path, *words: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([program, *map(str, words)], capture_output=True, check=False, timeout=600)


def said(program: Path, *words: object) -> str:
    """What it prints."""
    answer = done(program, *words)
    assert answer.returncode == 0, answer.stderr.decode()
    return answer.stdout.decode(errors="replace").removesuffix("\n")


def picture(path: Path, size: tuple[int, int], mode: str) -> Path:
    page = Image.new("RGB", size, (230, 230, 230))
    ImageDraw.Draw(page).ellipse((30, 15, 65, 50), fill=(214, 40, 40))
    page = page.convert(mode)
    if mode == "RGBA":
        page.putalpha(180)
    page.save(path)
    return path


@pytest.mark.parametrize(
    "text",
    ["Hello", "tell me a story", "what's 3.14 \u2014 naïve 日本語 🙂?", "don\u2019t  go\n\n there<|eos|>", "e\u0301"],
)
def test_the_same_answer(text: str, program: Path, nano: OmniModel) -> None:
    assert said(program, NANO, "chat", text) == nano.chat(text)


@pytest.mark.parametrize(
    ("name", "size", "mode"),
    [
        ("wide.png", (300, 64), "RGB"), ("tall.png", (90, 333), "RGBA"), ("gray.png", (75, 75), "L"),
        ("wide.jpg", (400, 200), "RGB"), ("colors.png", (90, 64), "P"),
    ],
)  # fmt: skip
def test_the_same_answer_about_a_picture(
    name: str, size: tuple[int, int], mode: str, program: Path, nano: OmniModel, whole: Whole, tmp_path: Path
) -> None:
    path = picture(tmp_path / name, size, mode)
    assert said(program, NANO, "chat", "what is this?", "--image", path) == nano.chat("what is this?", image=str(path))
    with load(str(whole.bundle)) as model:
        expected = model.chat("hi", image=str(path), temperature=0)
    assert said(program, whole.bundle, "chat", "hi", "--image", path) == expected


def test_the_same_answer_about_a_recording(program: Path, nano: OmniModel, whole: Whole, tmp_path: Path) -> None:
    samples, rate = nano.speak("yes.")
    soundfile.write(tmp_path / "yes.wav", samples, rate, subtype="PCM_16")
    expected = nano.chat("what is said?", audio=str(tmp_path / "yes.wav"))
    assert said(program, NANO, "chat", "what is said?", "--audio", tmp_path / "yes.wav") == expected
    long = np.concatenate([samples, samples[::-1], samples, samples[::-1], samples])
    soundfile.write(tmp_path / "long.wav", long, rate, subtype="PCM_16")
    answer = done(program, whole.bundle, "chat", "hi", "--audio", tmp_path / "long.wav")
    with load(str(whole.bundle)) as model:
        expected = model.chat("hi", audio=str(tmp_path / "long.wav"), temperature=0)
    assert answer.stdout.decode(errors="replace").removesuffix("\n") == expected
    assert answer.stderr.startswith(b"used: the first 48 of ")


def test_the_same_speech(program: Path, whole: Whole, tmp_path: Path) -> None:
    assert said(program, whole.bundle, "tts", SENTENCES, tmp_path / "said.wav") == ""
    written, rate = soundfile.read(tmp_path / "said.wav", dtype="float32")
    with load(str(whole.bundle)) as model:
        samples, expected_rate = model.speak(SENTENCES)
    assert rate == expected_rate
    np.testing.assert_allclose(written, samples.clip(-1, 1), atol=1e-3)


def test_the_same_speech_as_in_python(program: Path, tmp_path: Path) -> None:
    """In int8, a sentence that is read in one go, as both samples do, is rounded otherwise than word by word."""
    assert said(program, NANO, "tts", SENTENCES, tmp_path / "cpp.wav") == ""
    words = [sys.executable, SAMPLES / "python_min" / "muomni_min.py", "tts", NANO, SENTENCES, tmp_path / "python.wav"]
    subprocess.run(words, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    written, rate = soundfile.read(tmp_path / "cpp.wav", dtype="int16")
    expected, expected_rate = soundfile.read(tmp_path / "python.wav", dtype="int16")
    assert rate == expected_rate
    np.testing.assert_allclose(written.astype(int), expected, atol=1)


@pytest.mark.parametrize("gain", [1.0, 0.005])
def test_the_same_words(gain: float, program: Path, nano: OmniModel, tmp_path: Path) -> None:
    """Of a recording that is longer than a window, with pauses, and of a faint one."""
    samples, rate = nano.speak("yes. no. one two three.")
    once = np.concatenate([samples, np.zeros(rate, np.float32)])
    soundfile.write(tmp_path / "said.wav", np.tile(once, 10) * gain, rate, subtype="PCM_16")
    words = [word.text for word in nano.words(str(tmp_path / "said.wav"))]
    assert said(program, NANO, "listen", tmp_path / "said.wav").split() == words
    assert len(words) > 10


def test_what_is_not_spoken_is_told(program: Path, tmp_path: Path) -> None:
    answer = done(program, NANO, "tts", "yes 日 2", tmp_path / "said.wav")
    assert (answer.returncode, answer.stderr.decode()) == (0, "not spoken: 日2\n")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["{tmp}", "chat", "hello"], "there is no bundle in "),
        ([NANO, "chat", "hello", "--image", "{tmp}/fast.wav"], "{tmp}/fast.wav is not a picture that can be read"),
        ([NANO, "chat", "hello", "--audio", "{tmp}/fast.wav"], "{tmp}/fast.wav is not of 16 bits, one channel and 16"),
        ([NANO, "listen", "{tmp}/none.wav"], "{tmp}/none.wav cannot be read"),
        ([NANO, "tts", "12", "{tmp}/out.wav"], "there is nothing to say"),
    ],
)
def test_an_error_says_what_to_do(words: list[object], what: str, program: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "fast.wav", np.zeros(1000), 44100)
    answer = done(program, *(str(word).format(tmp=tmp_path) for word in words))
    first, second = answer.stderr.decode().splitlines()
    assert answer.returncode == 2
    assert first.startswith("error: " + what.format(tmp=tmp_path))
    assert second.startswith("  fix: ")


def test_other_words_are_answered_with_the_usage(program: Path) -> None:
    answer = done(program, NANO, "sing")
    assert answer.returncode == 2
    assert answer.stderr.startswith(b"usage: muomni_min BUNDLE chat TEXT")
