"""A model as a library, a run or a bundle: what the commands give, silently, from several threads, alike from both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from PIL import Image

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

from muomni_cli import Model, RequestError, app, load
from muomni_cli.api import Word
from muomni_cli.contract.speech import SpeechReport
from muomni_cli.inference.transcription import subtitles

if TYPE_CHECKING:
    from tests.tiny_model import Whole

ROOT = Path(__file__).resolve().parents[2]
QUESTION = "what is this?"


@pytest.fixture(scope="module", params=["bundle", "run"])
def place(request: pytest.FixtureRequest, whole: Whole) -> Path:
    """The folder of the model, run by ONNX Runtime or by PyTorch."""
    folder: Path = getattr(whole, request.param)
    return folder


@pytest.fixture(scope="module")
def model(place: Path) -> Iterator[Model]:
    with load(place, threads=1) as opened:
        yield opened


class Told:
    """``told("chat", "hello")`` gives stdout of a command on the model."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._place, self._capsys = place, capsys

    def __call__(self, *words: Any) -> str:
        with pytest.raises(SystemExit) as left:
            app.main([*map(str, words), "-m", str(self._place), "--threads", "1"])
        assert left.value.code == 0
        return self._capsys.readouterr().out


@pytest.fixture
def told(place: Path, capsys: pytest.CaptureFixture[str]) -> Told:
    return Told(place, capsys)


def test_answers_are_those_of_the_command(model: Model, whole: Whole, told: Told) -> None:
    media = ("--image", whole.picture, "--audio", whole.sound)
    asked = model.chat(QUESTION, image=whole.picture, audio=str(whole.sound))
    assert asked == told("chat", QUESTION, *media)[:-1]
    assert asked != model.chat(QUESTION), "what is shown is seen"
    drawn = {"temperature": 1.5, "top_k": 40, "seed": 7, "max_tokens": 9}
    words = [word for name, value in drawn.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert model.chat(QUESTION, **drawn) == told("chat", QUESTION, *words)[:-1]  # type: ignore[arg-type]


def test_pieces_are_the_answer_and_may_be_left_off(model: Model) -> None:
    pieces = list(model.chat_stream(QUESTION, max_tokens=12, loop_guard=False))
    assert len(pieces) > 1
    assert "".join(pieces) == model.chat(QUESTION, max_tokens=12, loop_guard=False)
    guarded = list(model.chat_stream(QUESTION, max_tokens=12))
    assert "".join(guarded) == model.chat(QUESTION, max_tokens=12)
    stream = model.chat_stream(QUESTION, max_tokens=12, loop_guard=False)
    assert next(stream) == pieces[0]
    stream.close()  # type: ignore[attr-defined]


def test_speech_is_that_of_the_command(model: Model, told: Told, tmp_path: Path) -> None:
    text = "hello there, you. how are you?"
    samples, rate = model.speak(text, voice="bob", speed=0.8, seed=3, temperature=0.7)
    options = ("--voice", "bob", "--speed", 0.8, "--seed", 3, "--temperature", 0.7)
    told("tts", text, *options, "-o", tmp_path / "out.wav")
    written, expected = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert (samples.dtype, rate) == (np.float32, expected)
    np.testing.assert_allclose(samples, written, atol=1 / 32000)
    assert model.voices == ["ann", "bob"]
    assert 0.01 < np.abs(samples).max() < 1
    chunks = list(model.speak_stream(iter([*text]), voice="bob", speed=0.8, seed=3, temperature=0.7))
    assert len(chunks) > 1
    np.testing.assert_array_equal(np.concatenate(chunks), samples)
    assert model.speak(text, max_seconds=0.05)[0].size == rate // 20


def test_times_of_speech_are_those_of_the_command(model: Model, told: Told, tmp_path: Path) -> None:
    text = "hello there, you. it is 5 km to Dr. Who — Мир!"
    report = SpeechReport()
    samples, rate = model.speak(text, speed=0.6, report=report)
    chunks = list(model.speak_words(iter([*text]), speed=0.6))
    np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in chunks]), samples)
    assert [word for chunk in chunks for word in chunk.words] == report.words
    heard = 0
    for chunk in chunks:
        heard += chunk.samples.size
        assert all(word.end <= heard / rate for word in chunk.words)
    files = ("-o", tmp_path / "out.wav", "--srt", tmp_path / "out.srt")
    made = json.loads(told("tts", text, "--speed", 0.6, "--json", *files))
    assert [Word(**word) for word in made["words"]] == report.words
    assert [word.text for word in report.words] == [
        "hello",
        "there,",
        "you.",
        "it",
        "is",
        "5 km",
        "to",
        "Dr.",
        "Who — !",
    ]
    assert made["skipped"] == ["Мир"]
    shown = (tmp_path / "out.srt").read_text(encoding="utf-8")
    assert shown == "".join(subtitles(report.words))
    cut = SpeechReport()
    limit = report.words[4].start + 0.01
    model.speak(text, speed=0.6, max_seconds=limit, report=cut)
    assert [word.text for word in cut.words] == ["hello", "there,", "you.", "it", "is"]
    assert cut.words[-1].end <= limit


def test_words_are_those_of_the_command(model: Model, whole: Whole, told: Told) -> None:
    words = list(model.words(whole.sound, beam=4))
    (report,) = json.loads(told("listen", whole.sound, "--beam", 4, "--json"))
    assert words == [Word(**word) for word in report["words"]]
    assert words
    assert model.transcribe(whole.sound, beam=4) == report["text"]


def test_media_may_be_files_bytes_arrays_and_pictures(model: Model, whole: Whole) -> None:
    expected = model.chat(QUESTION, image=whole.picture, audio=whole.sound)
    picture = Image.open(whole.picture)
    samples, rate = soundfile.read(whole.sound, dtype="int16")
    for image in (whole.picture.read_bytes(), picture, np.asarray(picture), [np.asarray(picture)]):
        for audio in (whole.sound.read_bytes(), (samples, rate), (samples / np.float32(2**15), rate)):
            assert model.chat(QUESTION, image=image, audio=audio) == expected
    assert model.chat(QUESTION, attach={"image": picture, "audio": whole.sound}) == expected
    assert model.transcribe((np.stack([samples, samples], 1), rate)) == model.transcribe(whole.sound)
    turned = Image.fromarray(np.asarray(picture)[::-1, ::-1])
    turned.getexif()[0x0112] = 3  # by half a turn
    assert model.chat(QUESTION, image=turned, audio=whole.sound) == expected


def test_a_conversation_knows_its_turns(model: Model, whole: Whole) -> None:
    example = model.session(system="be brief", max_tokens=6)
    first = example.ask("hello", image=whole.picture)
    assert first == model.chat("hello", image=whole.picture, system="be brief", max_tokens=6)
    with pytest.raises(RequestError, match="empty"):
        example.ask(" ")
    with pytest.raises(RequestError, match="nowhere"):
        example.ask("again", image="nowhere.png")
    assert example.turns == [("hello", first)]
    second = example.ask("and you?")
    assert example.turns == [("hello", first), ("and you?", second)]
    assert second != model.chat("and you?", system="be brief", max_tokens=6), "what was said before is known"
    for number in range(20):
        example.ask(f"more {number}")
    assert example.turns[-1][0] == "more 19"
    assert 2 <= len(example.turns) < 22, "the oldest are forgotten"


def test_an_answer_that_was_left_off_is_remembered_as_far_as_it_was_heard(model: Model) -> None:
    example = model.session(max_tokens=12, loop_guard=False)
    stream = example.stream("hello")
    heard = next(stream) + next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert example.turns == [("hello", heard)]
    assert example.ask("go on")


def test_threads_get_what_each_gets_alone(model: Model, whole: Whole) -> None:
    def work(number: int) -> tuple[Any, ...]:
        said = model.chat(f"question {number}", image=whole.picture, temperature=1.0, seed=number)
        samples, _ = model.speak(f"number {number} of nine", voice=("ann", "bob")[number % 2])
        return said, samples.tobytes(), tuple(model.words(whole.sound)), model.session(max_tokens=4).ask(str(number))

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(work, range(9)))
    assert together == [work(number) for number in range(9)]
    assert len(set(together)) == 9


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda model: model.chat(""), "empty"),
        (lambda model: model.chat_stream("x" * 999), "context holds"),
        (lambda model: model.chat_stream("hi", temperature=-1), "temperature"),
        (lambda model: model.chat("hi", image=b""), "empty"),
        (lambda model: model.chat("hi", image=b"no picture"), "picture"),
        (lambda model: model.chat("hi", image=3), "int"),
        (lambda model: model.chat("hi", image=np.zeros((4, 4, 3), complex)), "complex128"),
        (lambda model: model.chat("hi", audio=(np.zeros(9, np.float32), 0)), "invalid sample rate: 0"),
        (lambda model: model.chat("hi", audio=(np.zeros((2, 2, 2), np.float32), 8000)), "3-D array"),
        (lambda model: model.chat("hi", attach={"smell": "rose.txt"}), "no encoder for smell"),
        (lambda model: model.speak_stream("hi", voice="bo"), "did you mean 'bob'|no voice 'bo'"),
        (lambda model: model.speak("hi", speed=9), "speed is 9"),
        (lambda model: model.speak("..."), "nothing in the text"),
        (lambda model: model.transcribe("nowhere.wav"), "nowhere.wav"),
        (lambda model: model.words("nowhere.wav", beam=-1), "beam"),
    ],
)
def test_mistakes_are_raised_with_what_to_do(model: Model, ask: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said) as raised:
        ask(model)
    assert raised.value.fix
    assert raised.value.__notes__ == [f"fix: {raised.value.fix}"]


def test_what_is_no_model_or_closed_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="there is no model"):
        load(tmp_path)
    with load(place, device="cpu") as model:
        assert set(model.modalities) == {"image", "audio"}
        assert model.capabilities == {"image", "audio", "chat", "speak", "transcribe"}
        assert str(place) in model.label
        stream = model.chat_stream("hello")
    assert "".join(stream), "what was begun goes on"
    with pytest.raises(RequestError, match="closed"):
        model.chat("hello")


def test_both_engines_answer_alike(whole: Whole) -> None:
    with load(whole.run, threads=1) as torch, load(whole.bundle, threads=1) as onnx:
        media = {"image": whole.picture, "audio": whole.sound}
        assert torch.chat(QUESTION, **media) == onnx.chat(QUESTION, **media)  # type: ignore[arg-type]
        assert torch.transcribe(whole.sound) == onnx.transcribe(whole.sound)
        (ours, rate), (theirs, other) = torch.speak("hello there"), onnx.speak("hello there")
        assert (rate, torch.voices, torch.modalities) == (other, onnx.voices, onnx.modalities)
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
        for modality, path in media.items():
            np.testing.assert_allclose(torch.encode(modality, path), onnx.encode(modality, path), atol=1e-4)


def test_the_library_says_nothing_and_is_imported_when_it_is_used(whole: Whole) -> None:
    script = f"""
import sys
import muomni_cli
import muomni_onnx.plugin
assert not {{"numpy", "onnxruntime", "PIL"}} & set(sys.modules)
with muomni_cli.load({str(whole.bundle)!r}) as model:
    model.chat("hi", image={str(whole.picture)!r}, audio={str(whole.sound)!r})
    model.session().ask("hi")
    model.transcribe(model.speak("hello there, you"))
assert not {{"torch", "onnx", "matplotlib", "psutil"}} & set(sys.modules)
try:
    muomni_cli.Nobody
except AttributeError:
    pass
"""
    roots = os.pathsep.join(str(ROOT / folder) for folder in (".", "plugins", "exports"))
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": roots},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
