# ruff: noqa: RUF001 (ambiguous characters are intended)
"""The package muomni-web under Node: what it computes is what Python computes, and what the bundle has saved."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image, ImageDraw

from muomni_cli import load
from muomni_cli.audio.io import read_samples
from muomni_cli.contract.speech import TextChunk, VoiceSettings
from muomni_onnx.bundle import open_bundle
from muomni_onnx.golden import Greedy
from muomni_onnx.runtime import OnnxModel
from muomni_onnx.web_form import in_web_form
from muomni_talker.text_frontend import pronounceable
from muomni_vit.plugin import VitConfig
from muomni_vit.preprocessing import to_input
from tests.tiny_model import Whole
from tests.web.conftest import PACKAGE, run

pytestmark = pytest.mark.external

NANO = Path(__file__).resolve().parents[2] / "plugins" / "muomni_nano" / "bundle"
TEXTS = (
    "Dr. Smith paid $5.50 on May 3, 2024, i.e. 20% of 1,234.5 km.",
    "NASA's USB hub costs €3 million; call 555-123-4567 (or see https://example.com/a?b=1).",
    "# Title\n\n- one\n- 2nd item at 10:30\n1. 3/4 of H2O, naïve café — 5–10 °C",
    "<p>Henry VIII &amp; co.</p> <break time='1s'/> B. u s b, 'quoted.' 日本 x",
    "No.",
)
SENTENCES = ("the quick brown fox jumps over the lazy dog, and then it sleeps.", "what is red and round?")
FITS = ("pad", "extend", "crop", "stretch")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nano in the precision that sites have."""
    return in_web_form(open_bundle(NANO), tmp_path_factory.mktemp("bundle") / "nano")


def pictures(folder: Path) -> dict[str, Path]:
    """PNG files of several sizes and modes."""
    random = np.random.default_rng(3)
    found = {}
    for name, (mode, width, height) in {
        "small": ("RGB", 40, 30), "wide": ("RGB", 300, 90), "tall": ("RGBA", 70, 220), "gray": ("L", 100, 64),
        "palette": ("P", 64, 90), "bits": ("1", 80, 50),
    }.items():  # fmt: skip
        page = Image.new("RGB", (width, height), (230, 230, 225))
        ImageDraw.Draw(page).ellipse((width // 3, height // 3, 2 * width // 3, 2 * height // 3), fill=(214, 40, 40))
        pixels = np.asarray(page) + random.integers(0, 9, (height, width, 3), np.uint8)
        image = Image.fromarray(pixels)
        if mode == "RGBA":
            image.putalpha(Image.fromarray(random.integers(0, 256, (height, width), np.uint8)))
        image.convert(mode).save(folder / f"{name}.png")
        found[name] = folder / f"{name}.png"
    return found


def sounds(folder: Path, speech: np.ndarray[Any, Any], rate: int) -> list[Path]:
    """Speech at its own rate, at another in two channels, and with silence around it."""
    padded = np.pad(speech, (2 * rate, rate))
    soundfile.write(folder / "speech.wav", speech, rate, subtype="PCM_16")
    soundfile.write(folder / "padded.wav", padded, rate, subtype="FLOAT")
    stereo = np.stack([speech, 0.5 * speech], axis=1)
    soundfile.write(folder / "stereo.wav", stereo, 44_100, subtype="PCM_24")
    return [folder / name for name in ("speech.wav", "padded.wav", "stereo.wav")]


def expected(bundle: Path, folder: Path) -> dict[str, Any]:
    """What Python computes, for test/parity.test.mjs."""
    engine = OnnxModel(open_bundle(bundle), "cpu", 1)
    vit = engine.parts["image"]["config"]
    shown = pictures(folder)
    squares = []
    for path in shown.values():
        for fit in FITS:
            config = VitConfig.model_validate({**vit, "fit": fit})
            with Image.open(path) as image:
                squares.append({"path": str(path), "fit": fit, "values": to_input(config, image).ravel().tolist()})
    codes = []
    for sentence in SENTENCES:
        made = engine.talker().speak([TextChunk(sentence)], VoiceSettings(), Greedy())
        codes.append({"text": sentence, "codes": np.concatenate(list(made)).tolist()})
    with load(str(bundle)) as model:
        speech, rate = model.speak(SENTENCES[0])
        fast, _ = model.speak(SENTENCES[1], speed=1.6)
        paths = sounds(folder, speech, rate)
        heard = []
        for path in paths:
            words = [{"text": one.text, "start": one.start, "end": one.end} for one in model.words(str(path))]
            heard.append({"path": str(path), "words": words})
        answers = [
            {"text": "what is this?", "image": str(path), "answer": str(model.chat("what is this?", image=str(path)))}
            for path in shown.values()
        ]
        answers.append({"text": "tell me a story", "answer": str(model.chat("tell me a story"))})
        asked = model.chat("what is said?", audio=str(paths[0]))
        answers.append({"text": "what is said?", "audio": str(paths[0]), "answer": str(asked)})
    with (folder / "stereo.wav").open("rb") as file:
        wave, wave_rate = read_samples(io.BytesIO(file.read()), "stereo.wav", 60)
    return {
        "texts": [[text, pronounceable(text)] for text in TEXTS],
        "tokens": [[text, engine.tokenizer().encode(text)] for text in TEXTS],
        "squares": squares,
        "codes": codes,
        "speech": {"text": SENTENCES[0], "rate": rate, "samples": speech.tolist()},
        "fast": {"text": SENTENCES[1], "speed": 1.6, "samples": fast.tolist()},
        "heard": heard,
        "answers": answers,
        "mono": {"path": str(folder / "stereo.wav"), "rate": wave_rate, "samples": wave[:2000].tolist()},
    }


def checked(package: Path, bundle: Path, folder: Path, runtime: str, *tests: str) -> None:
    """The tests in Node on a bundle, of which none may be skipped."""
    file = folder / "expected.json"
    file.write_text(json.dumps(expected(bundle, folder)), encoding="utf-8")
    told = {"MUOMNI_BUNDLE": str(bundle), "MUOMNI_EXPECTED": str(file), "MUOMNI_ORT": runtime}
    done = run(["node", "--test", *(f"test/{name}.test.mjs" for name in tests)], package, **told)
    wrong = [part for part in done.stdout.split("# Subtest: ") if "\nnot ok" in part]
    assert done.returncode == 0, "".join(wrong)[:6000]
    assert "# skipped 0" in done.stdout


@pytest.mark.parametrize("runtime", ["node", "web"])
def test_in_full_precision_all_is_as_in_python_and_as_it_was_saved(
    package: Path, whole: Whole, tmp_path: Path, runtime: str
) -> None:
    checked(package, whole.bundle, tmp_path, runtime, "reference", "parity")


def test_nano_does_what_it_does_in_python(package: Path, bundle: Path, tmp_path: Path) -> None:
    checked(package, bundle, tmp_path, "node", "reference", "parity")


def test_nano_gives_in_webassembly_what_was_saved(package: Path, bundle: Path, tmp_path: Path) -> None:
    """In 8 bits, other kernels round the activations of its recognizer to other numbers now and then."""
    checked(package, bundle, tmp_path, "web", "reference")


def test_the_commands_chat_speak_and_listen(package: Path, bundle: Path, tmp_path: Path) -> None:
    picture, output = pictures(tmp_path)["wide"], tmp_path / "said.wav"
    command = ["node", "dist/cli.js"]
    asked = run([*command, "chat", str(bundle), "what is this?", "--image", str(picture)], package)
    with load(str(bundle)) as model:
        assert asked.stdout.strip() == str(model.chat("what is this?", image=str(picture)))
        said = run([*command, "tts", str(bundle), SENTENCES[0], "-o", str(output)], package)
        assert said.returncode == 0, said.stderr
        samples, rate = model.speak(SENTENCES[0])
        written, _ = soundfile.read(output, dtype="float32")
        np.testing.assert_allclose(written, samples, atol=0.03)
        heard = run([*command, "listen", str(bundle), str(output)], package)
        assert heard.stdout.split() == [word.text for word in model.words((written, rate))]
    wrong = run([*command, "chat", str(bundle), "hello", "--image", str(output)], package)
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 2)


def test_the_scripts_of_the_site_are_those_of_the_sources(package: Path, tmp_path: Path) -> None:
    done = run(["node", "build.mjs", str(tmp_path)], package)
    assert done.returncode == 0, done.stderr
    static = PACKAGE.parent / "static"
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in static.glob("*.js")}
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (static / path.name).read_bytes(), f"{path.name}: run npm run site in {PACKAGE}"
